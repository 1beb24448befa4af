"""Rules of activations: exact where there is a closed form, quadrature elsewhere."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropscope.moments.gaussian import clipped, elu_mean, gelu_mean, leaky, smooth
from dropscope.moments.rules import activation, register
from dropscope.moments.values import Uncertain

__all__: list[str] = []


def _clip(value: Uncertain, low: float = 0.0, high: float = torch.inf) -> Uncertain:
    return value.bent(*clipped(value.mean, value.variance, low, high))


def _leaky(value: Uncertain, slope: float | Tensor = 0.01) -> Uncertain:
    return value.bent(*leaky(value.mean, value.variance, slope))


def _prelu(module: nn.PReLU, value: Uncertain) -> Uncertain:
    shape = (-1, *[1] * (value.mean.dim() - 2))
    return _leaky(value, module.weight.view(shape) if module.num_parameters > 1 else module.weight)


def _elu(value: Uncertain, alpha: float = 1.0, scale: float = 1.0) -> Uncertain:
    """The mean exactly, variance and slope by quadrature."""
    _, variance, slope = smooth(partial(F.elu, alpha=alpha), value.mean, value.variance)
    return value.bent(scale * elu_mean(value.mean, value.variance, alpha), scale**2 * variance, scale * slope)


def _gelu(value: Uncertain, approximate: str = "none") -> Uncertain:
    """The mean exactly, unless GELU itself is approximated; variance and slope by quadrature."""
    mean, variance, slope = smooth(partial(F.gelu, approximate=approximate), value.mean, value.variance)
    return value.bent(gelu_mean(value.mean, value.variance) if approximate == "none" else mean, variance, slope)


def _by_quadrature(function: Callable[..., Tensor]) -> Callable[..., Uncertain]:
    return lambda value, *args, **kwargs: activation(lambda x: function(x, *args, **kwargs), value)


def _without_inplace(rule: Callable[..., Uncertain]) -> Callable[..., Uncertain]:
    def called(value: Uncertain, *args: Any, inplace: bool = False, **kwargs: Any) -> Uncertain:
        return rule(value, *args, **kwargs)

    return called


SMOOTH_MODULES = (nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.LogSigmoid, nn.Softsign, nn.Tanhshrink)
SMOOTH_FUNCTIONS = (F.silu, F.mish, torch.tanh, F.tanh, torch.sigmoid, F.sigmoid, F.softplus, F.logsigmoid, F.softsign)
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

for kind in SMOOTH_MODULES:
    register(kind, activation)
for function in (*SMOOTH_FUNCTIONS, torch.exp, torch.sin, torch.cos, torch.square):
    register(function, _without_inplace(_by_quadrature(function)))

register(nn.ReLU, lambda module, value: _clip(value))
register(nn.ReLU6, lambda module, value: _clip(value, 0.0, 6.0))
register(nn.Hardtanh, lambda module, value: _clip(value, module.min_val, module.max_val))
register(nn.LeakyReLU, lambda module, value: _leaky(value, module.negative_slope))
register(nn.PReLU, _prelu)
register(nn.ELU, lambda module, value: _elu(value, module.alpha))
register(nn.SELU, lambda module, value: _elu(value, SELU_ALPHA, SELU_SCALE))
register(nn.GELU, lambda module, value: _gelu(value, module.approximate))
for function in (F.relu, torch.relu):
    register(function, _without_inplace(_clip))
register(F.relu6, _without_inplace(partial(_clip, high=6.0)))
register(F.hardtanh, _without_inplace(lambda value, min_val=-1.0, max_val=1.0: _clip(value, min_val, max_val)))
register(F.leaky_relu, _without_inplace(lambda value, negative_slope=0.01: _leaky(value, negative_slope)))
register(F.elu, _without_inplace(_elu))
register(F.selu, _without_inplace(lambda value: _elu(value, SELU_ALPHA, SELU_SCALE)))
register(F.gelu, _gelu)
