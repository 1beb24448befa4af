"""What every function checks before it draws: the tensor it drops from, and `p`."""

import torch
from torch import Tensor

from dropscope import masks

__all__ = ["check_input", "check_rate"]


def check_input(x: Tensor, name: str = "x") -> None:
    """Refuse what cannot be scaled by `1 / q` without loss: integers, booleans and complex numbers."""
    if not torch.is_floating_point(x):
        raise TypeError(
            f"`{name}` must be a real floating-point tensor, got {x.dtype}: convert it first, as by {name}.float()."
        )


def check_rate(p: float | Tensor, *, below_one: bool = False) -> float | Tensor:
    """Check `p`, and read it where it is a tensor whose value can be known now.

    Returns:
        A float; in traced code the 0-dimensional tensor itself, whose value is no part of the graph.
    """
    if not isinstance(p, Tensor):
        return masks.check_p(p, below_one=below_one)
    return p if masks.is_traced(p) else masks.check_p(p.item(), below_one=below_one)
