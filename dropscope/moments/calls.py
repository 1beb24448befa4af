"""A model together with its inputs, as a whole and as its first row alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["Call"]


@dataclass(frozen=True, eq=False)
class Call:
    """A model with its inputs.

    Attributes:
        model: the model.
        inputs: what it gets: a tensor, a tuple of arguments, or a dict of keyword arguments.
        output: what takes the tensor of interest out of what the model gives.
    """

    model: nn.Module
    inputs: Any
    output: Callable[[Any], Any]

    def __call__(self, run: Callable[..., Any] | None = None) -> Tensor:
        """Run the model, or another function in its place, and take out the output.

        Raises:
            TypeError: the output is no floating-point tensor.
        """
        x, run = self.inputs, run or self.model
        y = self.output(run(**x) if isinstance(x, dict) else run(*x) if isinstance(x, tuple) else run(x))
        if not isinstance(y, Tensor) or not y.is_floating_point():
            raise TypeError(
                f"the model's output must be a floating-point tensor, got {type(y).__name__}: "
                "pass output=, a function that picks one."
            )
        return y

    @property
    def rows(self) -> int:
        """The number of rows: the size of the first axis of the first tensor."""
        tensors = [leaf for leaf in tree_leaves(self.inputs) if isinstance(leaf, Tensor) and leaf.dim() > 0]
        if not tensors or len(tensors[0]) == 0:
            raise ValueError("`x` must be a tensor with at least one row, on axis 0, or hold one: got none.")
        return tensors[0].shape[0]

    def first_row(self) -> "Call":
        """Give the call with the first row alone."""
        return self._part(slice(0, 1))

    def split(self, size: int) -> "list[Call]":
        """Give calls with so many rows at a time."""
        return [self._part(slice(start, start + size)) for start in range(0, self.rows, size)]

    def _part(self, which: slice) -> "Call":
        rows = self.rows

        def picked(leaf: Any) -> Any:
            return leaf[which] if isinstance(leaf, Tensor) and leaf.dim() > 0 and len(leaf) == rows else leaf

        return replace(self, inputs=tree_map(picked, self.inputs))
