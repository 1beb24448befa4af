"""Rules of dropout itself, on inputs that are already uncertain."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropscope import layers, masks
from dropscope.layers.parameters import linear_map
from dropscope.layers.variational import VariationalLayer
from dropscope.moments.linear_rules import LinearMap, weighted
from dropscope.moments.noise import FUNCTIONS, LAWS, Noise, noise_of, unsupported
from dropscope.moments.rules import register
from dropscope.moments.values import Uncertain

__all__ = ["through_noise"]


def through_noise(value: Uncertain, noise: Noise) -> Uncertain:
    """Multiply by independent draws: `v -> v + r (v + m²)` for elements that draw by themselves.

    Elements that share a draw get the covariance `r m_i m_j` it gives them; the part `r Cov(x_i, x_j)` of those that
    were uncertain before is kept for each element with itself alone.
    """
    amplitude = noise.amplitude(value.mean).to(value.mean.dtype)
    kept = value.mapped(lambda x: noise.gain * x, affine=noise.mean, squared=lambda v: noise.gain**2 * v)
    again = noise.variance * kept.variance
    if noise.draws(value.mean) == tuple(value.mean.shape):
        return kept.noisier((amplitude.square() + again).sqrt())
    return kept.noisier(amplitude, noise.draws(value.mean)).noisier(again.sqrt())


def _layer(module: nn.Module, value: Uncertain) -> Uncertain:
    return through_noise(value, noise_of(module, value.mean))


def _function(noise: Callable[[Tensor, float], Noise], default: bool) -> Callable[..., Uncertain | Tensor]:
    """The rule of one of torch's dropout functions, whose `training` is by default as given."""

    def rule(input: Uncertain, p: float = 0.5, training: bool = default, inplace: bool = False) -> Uncertain | Tensor:
        return through_noise(input, noise(input.mean, p)) if training else input

    return rule


def _connections(module: layers.DropConnect, value: Uncertain) -> Uncertain:
    """Weights of variance `p/q · W²`, one mask for each output: those of a convolution are taken as independent."""
    if module.per is not None or isinstance(module.module, nn.RNNBase):
        raise unsupported(module, "", "has moments only around linear and convolutional modules, with per=None")
    inner: Any = module.module
    variances = masks.Bernoulli(module.p).variance * inner.weight.square()
    return _random_weights(value, linear_map(inner), inner.weight, variances, inner.bias)


def _variational(module: VariationalLayer, value: Uncertain) -> Uncertain:
    return _random_weights(value, module._linear, module.weight, module.log_variance.exp(), module.bias)


def _random_weights(
    value: Uncertain, apply: LinearMap, weight: Tensor, variances: Tensor, bias: Tensor | None
) -> Uncertain:
    squares = value.mean.square() + value.variance
    return weighted(value, apply, weight, bias).noisier(apply(squares, variances, None).clamp(min=0).sqrt())


for kind in LAWS:
    register(kind, _layer, random=True)
for function, law in FUNCTIONS.items():
    register(function, _function(*law), random=True)
register(torch.dropout, lambda input, p, train: _function(*FUNCTIONS[F.dropout])(input, p, train), random=True)
register(layers.DropConnect, _connections, random=True)
register(VariationalLayer, _variational, random=True)
