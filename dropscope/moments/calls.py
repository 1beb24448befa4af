"""A model together with its inputs, as a whole and by rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves, tree_map

from dropscope.sites.streams import Streams

__all__ = ["Call", "call_of", "check_model", "kind_of"]


@dataclass(frozen=True, eq=False)
class Call:
    """A model with its inputs.

    Attributes:
        model: the model.
        args: its positional arguments.
        kwargs: its keyword arguments.
        output: what takes the tensor of interest out of what the model gives.
    """

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Callable[[Any], Any]

    def __call__(self) -> Tensor:
        """Run the model and take out the output.

        Raises:
            TypeError: the output is no floating-point tensor.
            ValueError: it is empty.
        """
        y = self.output(self.run())
        if not isinstance(y, Tensor) or not y.is_floating_point():
            raise TypeError(
                f"the model's output must be a floating-point tensor, got {type(y).__name__}: "
                "pass output=, a function that picks one."
            )
        if y.numel() == 0:
            raise ValueError(f"the model's output must have at least one element, got shape {tuple(y.shape)}.")
        return y

    def run(self) -> Any:
        """Run the model on copies of its inputs."""
        args, kwargs = self.copies()
        return self.model(*args, **kwargs)

    def copies(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Copy the inputs: models may write into them, and autograd refuses what was made in inference mode."""
        return tree_map(lambda leaf: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf, self._inputs)

    @property
    def rows(self) -> int:
        """The number of rows: the size of the first axis of the first tensor."""
        tensors = [leaf for leaf in tree_leaves(self._inputs) if isinstance(leaf, Tensor) and leaf.dim() > 0]
        if not tensors:
            kinds = ", ".join(map(kind_of, (*self.args, *self.kwargs.values())))
            raise TypeError(f"`x` must be a tensor with rows, or a tuple or dict that holds one, got {kinds}.")
        if len(tensors[0]) == 0:
            raise ValueError("`x` must have at least one row, on axis 0, got none.")
        return tensors[0].shape[0]

    def row(self, index: int) -> "Call":
        """Give the call with one row alone."""
        return self._part(slice(index, index + 1))

    def split(self, size: int) -> "list[Call]":
        """Give calls with so many rows at a time."""
        return [self._part(slice(start, start + size)) for start in range(0, self.rows, size)]

    @property
    def streams(self) -> Streams:
        """The streams of random numbers that the model may draw from."""
        return Streams(self.model, self._inputs)

    @property
    def _inputs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self.args, self.kwargs

    def _part(self, which: slice) -> "Call":
        rows = self.rows

        def picked(leaf: Any) -> Any:
            return leaf[which] if isinstance(leaf, Tensor) and leaf.dim() > 0 and len(leaf) == rows else leaf

        args, kwargs = tree_map(picked, self._inputs)
        return replace(self, args=args, kwargs=kwargs)


def call_of(model: nn.Module, x: Any, output: Callable[[Any], Any] | None) -> Call:
    """Read what a user passes as inputs: a tensor, a tuple or list of arguments, or a mapping of keyword arguments.

    Raises:
        TypeError: the model is no module.
        ValueError: the model is lazy.
    """
    check_model(model)
    if any(map(is_lazy, model.parameters())):
        raise ValueError("`model` must have run once: it has lazy modules.")
    args, kwargs = (
        ((), dict(x)) if isinstance(x, Mapping) else (tuple(x), {}) if isinstance(x, tuple | list) else ((x,), {})
    )
    return Call(model, args, kwargs, output or (lambda given: given))


def check_model(model: Any) -> None:
    """Refuse what is no module: its dropout cannot be found."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` must be a torch.nn.Module, got {kind_of(model)}.")


def kind_of(value: Any) -> str:
    """Say what a value is that should be something else, and how to make that of it."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return "a numpy array: make a tensor of it, as by torch.as_tensor(x, dtype=torch.float32)"
    if isinstance(value, type):
        return f"the class {value.__name__} instead of an instance"
    return type(value).__name__
