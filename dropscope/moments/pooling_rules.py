"""Rules of max pooling, by Clark's moments of the larger of two normal variables."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropscope.moments.gaussian import clipped
from dropscope.moments.noise import unsupported
from dropscope.moments.rules import register
from dropscope.moments.values import Uncertain

__all__: list[str] = []


def _pooled(
    value: Uncertain,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    axes: int,
) -> Uncertain:
    """Take the largest of each window, its elements one after the other."""
    if ceil_mode or return_indices or _each(dilation, axes) != (1,) * axes:
        raise unsupported(F.max_pool2d, "", "has moments only without dilation, ceil_mode and return_indices")
    kernel, strides = _each(kernel_size, axes), _each(stride or kernel_size, axes)
    below = float(value.mean.amin() - 10 * value.variance.amax().sqrt() - 1)  # padding that is never the largest

    def windows(x: Tensor, fill: float = 0.0) -> Tensor:
        x = F.pad(x, [side for size in reversed(_each(padding, axes)) for side in (size, size)], value=fill)
        first = x.dim() - axes
        for axis, (size, step) in enumerate(zip(kernel, strides, strict=True)):
            x = x.unfold(first + axis, size, step)
        return x.flatten(-axes).movedim(-1, 0)

    mean, variance = windows(value.mean, below), windows(value.variance)
    if value.factors is None:
        factors: Any = [None] * len(mean)
    else:
        factors = windows(value.factors)
    candidates = [Uncertain(*each, value.sources) for each in zip(mean, variance, factors, strict=True)]
    largest = reduce(_larger, candidates)
    if largest.factors is None:
        return largest
    rest = (largest.variance - largest.factors.square().sum(0)).clamp(min=0)
    return largest.noisier(rest.sqrt())


def _larger(x: Uncertain, y: Uncertain) -> Uncertain:
    """Give the larger of two, element by element; where there are factors, they leave a rest of the variance open.

    `max(x, y) = x + ReLU(y - x)` where `x` has the larger mean, so that nothing cancels. The result counts as normal,
    which for more than two is an approximation.

    Reference:
        Clark, 1961, Operations Research 9(2):145-162.
    """
    swap = y.mean > x.mean
    mean, less = torch.where(swap, y.mean, x.mean), torch.where(swap, x.mean, y.mean)
    own, other = torch.where(swap, y.variance, x.variance), torch.where(swap, x.variance, y.variance)
    shared = torch.zeros_like(own) if x.factors is None or y.factors is None else (x.factors * y.factors).sum(0)

    added, spread, chance = clipped(less - mean, (own + other - 2 * shared).clamp(min=0))
    variance = (own + spread + 2 * chance * (shared - own)).clamp(min=0)
    if x.factors is None or y.factors is None:
        return replace(x, mean=mean + added, variance=variance)
    factors = torch.where(swap, y.factors, x.factors) * (1 - chance) + torch.where(swap, x.factors, y.factors) * chance
    return replace(x, mean=mean + added, variance=variance, factors=factors)


def _each(size: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    return (size,) * axes if isinstance(size, int) else tuple(size) * (axes if len(size) == 1 else 1)


def _module(axes: int) -> Callable[..., Uncertain]:
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    return lambda module, value: _pooled(value, **{name: getattr(module, name) for name in names}, axes=axes)


for number, kind in enumerate((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), 1):
    register(kind, _module(number))
for number, function in enumerate((F.max_pool1d, F.max_pool2d, F.max_pool3d), 1):
    register(function, partial(_pooled, axes=number))
