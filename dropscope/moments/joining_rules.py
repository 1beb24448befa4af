"""Rules of functions that add, scale, join, cut and reshape tensors: residual blocks and what lies between layers."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from dropscope.moments.noise import unsupported
from dropscope.moments.rules import register
from dropscope.moments.values import Uncertain, aligned_factors, total

__all__: list[str] = []

Value = Uncertain | Tensor | float


def _add(x: Value, y: Value, *, alpha: float = 1.0) -> Uncertain:
    """A sum, such as that of a residual block; branches count as independent where covariances are not kept."""
    y = y if alpha == 1 else _scaled(y, alpha)
    return total(x, y) if isinstance(x, Uncertain) else total(cast(Uncertain, y), x)


def _subtract(x: Value, y: Value, *, alpha: float = 1.0) -> Uncertain:
    return _add(x, _scaled(y, -alpha))


def _multiply(x: Value, y: Value) -> Value:
    if isinstance(x, Uncertain) and isinstance(y, Uncertain):
        raise unsupported(torch.mul, "", "of two tensors that dropout has touched has no rule")
    return _scaled(x, y) if isinstance(x, Uncertain) else _scaled(y, x)


def _divide(x: Value, y: Value) -> Value:
    if isinstance(y, Uncertain):
        raise unsupported(torch.div, "", "by a tensor that dropout has touched has no rule")
    return _scaled(x, 1 / y)


def _scaled(x: Value, factor: Any) -> Any:
    if not isinstance(x, Uncertain):
        return x * factor
    return x.mapped(lambda m: m * factor, squared=lambda v: v * factor**2)


def _concatenate(tensors: Sequence[Uncertain | Tensor], dim: int = 0) -> Uncertain:
    example = next(each for each in tensors if isinstance(each, Uncertain))
    axis = dim % example.mean.dim()
    if axis == 0:
        raise unsupported(torch.cat, "", "over the rows has no rule")
    values = [each if isinstance(each, Uncertain) else Uncertain.known(each, example.sources) for each in tensors]
    mean, variance = (torch.cat([getattr(each, name) for each in values], axis) for name in ("mean", "variance"))
    factors = None if example.factors is None else torch.cat(aligned_factors(values), axis + 1)
    return replace(example, mean=mean, variance=variance, factors=factors)


def _moved(function: Callable[..., Tensor]) -> Callable[..., Uncertain]:
    """The rule of a function that only picks, moves or copies elements of each row."""

    def rule(value: Uncertain, *args: Any, **kwargs: Any) -> Uncertain:
        moved = value.mapped(lambda x: function(x, *args, **kwargs))
        if len(moved.mean) != len(value.mean):
            raise unsupported(function, "", "moves the rows away from axis 0, where no rule follows")
        return moved

    return rule


def _transpose(value: Uncertain, first: int, second: int) -> Uncertain:
    if 0 in (first % value.mean.dim(), second % value.mean.dim()):
        raise unsupported(torch.transpose, "", "moves the rows away from axis 0, where no rule follows")
    return value.mapped(lambda x: x.transpose(first, second))


def _permute(value: Uncertain, *axes: Any) -> Uncertain:
    order = axes[0] if isinstance(axes[0], tuple | list) else axes
    if order[0] != 0:
        raise unsupported(torch.permute, "", "moves the rows away from axis 0, where no rule follows")
    return value.mapped(lambda x: x.permute(order))


def _same(module: nn.Module, value: Uncertain) -> Uncertain:
    return value


for function in (operator.add, operator.iadd, torch.add):
    register(function, _add)
for function in (operator.sub, operator.isub, torch.sub):
    register(function, _subtract)
for function in (operator.mul, operator.imul, torch.mul):
    register(function, _multiply)
for function in (operator.truediv, operator.itruediv, torch.div):
    register(function, _divide)
register(operator.neg, lambda value: _scaled(value, -1))
for function in (torch.cat, torch.concat):
    register(function, _concatenate)

MOVES = (torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, torch.clone, torch.narrow)
METHODS = (torch.Tensor.view, torch.Tensor.contiguous, torch.Tensor.expand)
for move in (*MOVES, *METHODS):
    register(move, _moved(cast(Any, move)))
register(operator.getitem, lambda value, index: value[index])
register(torch.transpose, _transpose)
register(torch.permute, _permute)
for kind in (nn.Flatten, nn.Unflatten):
    register(kind, lambda module, value: _moved(module)(value))
register(nn.Identity, _same)
