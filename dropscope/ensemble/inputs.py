"""The arguments of one call of a model: whichever of their tensors have a row per sample, they can be cut by rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only
from torch.utils.data import DataLoader

from dropscope.moments.calls import kind_of

__all__ = ["Call", "batches", "call_of", "tensors_in", "version"]


@dataclass(frozen=True, eq=False)
class Call:
    """Arguments of one call of the model.

    Attributes:
        args: positional ones.
        kwargs: keyword arguments.
        n_rows: number of samples: the size of axis 0 of the first tensor. Tensors whose axis 0 has another size, and
            whatever is no tensor, belong to the batch as a whole.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    n_rows: int

    def __call__(self, model: Callable[..., Any]) -> Any:
        """Call the model."""
        return model(*self.args, **self.kwargs)

    def changed(self, change: Callable[[Tensor], Tensor], n_rows: int) -> "Call":
        """Change every tensor that has a row per sample."""

        def apply(value: Any) -> Any:
            if isinstance(value, Tensor):
                return change(value) if value.dim() and len(value) == self.n_rows else value
            return tree_map_only(Tensor, apply, value)

        return Call(tuple(map(apply, self.args)), {name: apply(item) for name, item in self.kwargs.items()}, n_rows)

    def few(self, count: int) -> "Call":
        """Take the first so many rows; where there are fewer begin again, a little smaller, for no two to be alike."""
        rounds, rows = divmod(np.arange(count), self.n_rows)

        def taken(tensor: Tensor) -> Tensor:
            few = tensor[torch.from_numpy(rows).to(tensor.device)]
            if count <= self.n_rows or not few.is_floating_point():
                return few
            return few * few.new_tensor(0.9**rounds).view(-1, *[1] * (few.dim() - 1))

        return self.changed(taken, count)

    def repeated(self, times: int) -> "Call":
        """Put the rows so many times one after the other."""
        if times == 1:
            return self
        return self.changed(lambda tensor: tensor.repeat(times, *[1] * (tensor.dim() - 1)), times * self.n_rows)

    def split(self, size: int) -> "Iterator[Call]":
        """Cut into batches of at most so many rows."""
        if size >= self.n_rows:
            yield self
            return
        for first in range(0, self.n_rows, size):
            end = min(first + size, self.n_rows)
            yield self.changed(lambda tensor, part=slice(first, end): tensor[part], end - first)  # type: ignore[misc]

    def copied(self) -> "Call":
        """Copy the tensors, for a model that writes into them."""
        args, kwargs = tree_map_only(Tensor, torch.clone, (self.args, dict(self.kwargs)))
        return Call(args, kwargs, self.n_rows)

    def versions(self) -> list[int]:
        """How often each tensor has been written into."""
        return [version(tensor) for tensor in tensors_in((self.args, dict(self.kwargs)))]


def tensors_in(value: Any) -> list[Tensor]:
    """List the tensors in a structure, the commonest of which, one tensor and one argument, take no search."""
    if isinstance(value, tuple) and len(value) == 1:
        (value,) = value
    return [value] if isinstance(value, Tensor) else [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def version(tensor: Tensor) -> int:
    """How often a tensor has been written into: inference tensors do not say, and outside of their mode cannot be."""
    return 0 if tensor.is_inference() else tensor._version


def call_of(x: Any, model: nn.Module) -> Call:
    """Read what a user passes as inputs: one tensor, a tuple or list of arguments, or a mapping of keyword arguments.

    Raises:
        TypeError: it holds no tensor with rows.
        ValueError: there are no rows.
    """
    devices = list({tensor.device for tensor in model.parameters()})

    def moved(leaf: Any) -> Any:
        return leaf.to(devices[0]) if isinstance(leaf, Tensor) and len(devices) == 1 else leaf

    args = tuple(x) if isinstance(x, list | tuple) else () if isinstance(x, Mapping) else (x,)
    args, kwargs = tree_map(moved, (args, dict(x) if isinstance(x, Mapping) else {}))
    tensors = [tensor for tensor in tensors_in((args, kwargs)) if tensor.dim() > 0]
    if not tensors:
        raise TypeError(
            f"`x` must be a tensor with rows, or a tuple or dict that holds one, or a DataLoader, got {kind_of(x)}."
        )
    if len(tensors[0]) == 0:
        raise ValueError("`x` must have at least one row, got none.")
    return Call(args, kwargs, len(tensors[0]))


def batches(x: Any, model: nn.Module) -> tuple[Iterable[Call], int | None]:
    """Give the batches of a data loader, or the one batch that `x` is, and their number if it is known.

    Of a loader's batches that are tuples or lists the first item is the model's input: the others are targets.
    """
    if not isinstance(x, DataLoader):
        return [call_of(x, model)], 1
    first = (batch[0] if isinstance(batch, Sequence) else batch for batch in x)
    return (call_of(batch, model) for batch in first), len(x) if hasattr(x.dataset, "__len__") else None
