"""Rules of linear maps: matrices, convolutions, normalisation, averages."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropscope.layers.parameters import linear_map
from dropscope.moments.noise import unsupported
from dropscope.moments.rules import register
from dropscope.moments.values import Uncertain

__all__ = ["weighted"]

LinearMap = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # (x, weight, bias) -> y


def weighted(value: Uncertain, apply: LinearMap, weight: Tensor, bias: Tensor | None) -> Uncertain:
    """Apply a map that is linear in its input and in its weight: `m -> W m + b`, `v -> (W∘W) v`."""
    if isinstance(weight, Uncertain):
        raise unsupported("a linear map", "", "with weights that dropout has touched has no rule")
    return value.mapped(
        lambda x: apply(x, weight, None),
        affine=lambda x: apply(x, weight, bias),
        squared=lambda v: apply(v, weight.square(), None),
    )


def _weighted_module(module: Any, value: Uncertain) -> Uncertain:
    return weighted(value, linear_map(module), module.weight, module.bias)


def _batch_norm(module: Any, value: Uncertain) -> Uncertain:
    """In eval: a factor and a shift for each channel."""
    if module.running_var is None:
        raise unsupported(module, "", "normalises by the batch: its rows depend on one another")
    shape = (-1, *[1] * (value.mean.dim() - 2))
    factor = (module.running_var + module.eps).rsqrt() * (1 if module.weight is None else module.weight)
    return value.mapped(
        lambda x: x * factor.view(shape), affine=module, squared=lambda v: v * factor.square().view(shape)
    )


def _layer_norm(module: nn.LayerNorm, value: Uncertain) -> Uncertain:
    """To first order at the mean of the input: with `n` features and `z` the normalised mean,

    `J = γ/σ (I - (1 + z zᵀ)/n)`; without covariances `Σ_j J_ij² v_j` is summed in closed form.
    """
    axes = tuple(range(-len(module.normalized_shape), 0))
    m = value.mean
    n = torch.Size(module.normalized_shape).numel()
    spread = (m.var(axes, correction=0, keepdim=True) + module.eps).sqrt()
    z = (m - m.mean(axes, keepdim=True)) / spread
    factor = (1 if module.weight is None else module.weight) / spread

    def linear(x: Tensor) -> Tensor:
        return factor * (x - x.mean(axes, keepdim=True) - z * (z * x).mean(axes, keepdim=True))

    def squared(v: Tensor) -> Tensor:
        s0, s1, s2 = (((z**k) * v).sum(axes, keepdim=True) for k in range(3))
        return factor**2 * (v * (1 - 2 * (1 + z**2) / n) + (s0 + 2 * z * s1 + z**2 * s2) / n**2)

    return value.mapped(linear, affine=module, squared=squared)


def _averaged(pool: Callable[[Tensor], Tensor], value: Uncertain) -> Uncertain:
    """Average over windows whose elements weigh alike: `(A∘A) v = a · A v` with the weight `a` in each window."""
    image = value.mean.new_zeros(1, 1, *value.mean.shape[2:])
    weights = torch.func.jacrev(pool)(image).reshape(*pool(image).shape[2:], -1).amax(-1)
    return value.mapped(pool, squared=lambda v: pool(v) * weights)


def _averaged_by(function: Callable[..., Tensor]) -> Callable[..., Uncertain]:
    return lambda value, *args, **kwargs: _averaged(lambda x: function(x, *args, **kwargs), value)


Axes = int | tuple[int, ...] | None


def _sum(value: Uncertain, dim: Axes = None, keepdim: bool = False) -> Uncertain:
    axes = _inner_axes(value.mean, dim)
    return value.mapped(lambda x: x.sum(axes, keepdim=keepdim))


def _mean(value: Uncertain, dim: Axes = None, keepdim: bool = False) -> Uncertain:
    axes = _inner_axes(value.mean, dim)
    count = torch.Size(value.mean.shape[axis] for axis in axes).numel()
    return value.mapped(
        lambda x: x.mean(axes, keepdim=keepdim), squared=lambda v: v.mean(axes, keepdim=keepdim) / count
    )


def _inner_axes(x: Tensor, dim: Axes) -> list[int]:
    axes = [axis % x.dim() for axis in ((dim,) if isinstance(dim, int) else dim or (0,))]
    if 0 in axes:
        raise unsupported("a sum or mean", "", "over the rows mixes them")
    return axes


def _linear(value: Uncertain, weight: Tensor, bias: Tensor | None = None) -> Uncertain:
    return weighted(value, F.linear, weight, bias)


def _convolution(function: Callable[..., Tensor]) -> Callable[..., Uncertain]:
    def rule(input: Uncertain, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any) -> Uncertain:
        return weighted(input, lambda x, w, b: function(x, w, b, *args, **kwargs), weight, bias)

    return rule


WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMALISED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
AVERAGED = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
AVERAGES: tuple[Any, ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
AVERAGES += (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)

for kinds, rule in ((WEIGHTED, _weighted_module), (NORMALISED, _batch_norm), (AVERAGED + ADAPTIVE, _averaged)):
    for kind in kinds:
        register(kind, rule)
for average in AVERAGES:
    register(average, _averaged_by(average))
for convolution in (F.conv1d, F.conv2d, F.conv3d):
    register(convolution, _convolution(convolution))
register(nn.LayerNorm, _layer_norm)
register(F.linear, _linear)
register(torch.mean, _mean)
register(torch.sum, _sum)
