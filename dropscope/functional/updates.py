"""Keep old values of a recurrent state at random instead of its updates."""

import torch
from torch import Tensor

from dropscope import masks
from dropscope.functional.arguments import check_input, check_rate

__all__ = ["zoneout"]


def zoneout(
    new: Tensor,
    old: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Drop updates of a recurrent state: each unit keeps its old value with probability `p`.

    In training `y = old` where dropped, else `new`, bit for bit; otherwise the expectation of that,
    `y = p · old + q · new`, `q = 1 - p`. Nothing is scaled, for a unit is held and not zeroed.

    Args:
        new: state after the step, of any shape.
        old: state before it, of the same shape.
        p: probability of keeping the old value, in [0, 1]. A 0-dimensional tensor changes without recompiling traced
            code.
        training: whether to choose at random; if not, the expectation is returned.
        generator: source of randomness; None: torch's own stream.

    Returns:
        The state to go on with, like `new`.

    Raises:
        TypeError: `new` or `old` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], or the shapes differ.

    Example:
        >>> zoneout(torch.ones(2), torch.zeros(2), 0.25, training=False)
        tensor([0.7500, 0.7500])

    Reference:
        Krueger et al., 2017, arXiv:1606.01305.
    """
    check_input(new, "new")
    check_input(old, "old")
    p = check_rate(p)
    if new.shape != old.shape:
        raise ValueError(f"`old` must have the shape of `new`, {tuple(new.shape)}, got {tuple(old.shape)}.")

    if training:
        updated = masks.keep(new.shape, p, device=new.device, generator=generator)
        return torch.where(updated, new, old).to(new.dtype)
    if not isinstance(p, Tensor) and p in (0, 1):
        return old.to(new.dtype) if p else new  # the other side may be infinite, and 0 · inf is nan
    wide = torch.promote_types(new.dtype, torch.float32)  # half types are rounded once, at the end
    return (p * old.to(wide) + (1 - p) * new.to(wide)).to(new.dtype)
