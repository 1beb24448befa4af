"""What `p` and `per` may be: every law, function and layer checks them here, with the same words."""

from collections.abc import Sequence
from numbers import Real

__all__ = ["check_p", "draw_shape"]


def check_p(p: float, owner: str = "", *, below_one: bool = False) -> float:
    """Check a probability of dropping.

    Args:
        p: what the user gave.
        owner: name of the class it was given to, for the message.
        below_one: whether 1 is refused too, for laws whose variance `p / (1 - p)` must be finite.

    Returns:
        `p` as a Python float.

    Raises:
        TypeError: `p` is not a real number.
        ValueError: `p` is not a probability.

    Example:
        >>> check_p(1.2, "Dropout")
        Traceback (most recent call last):
        ValueError: Dropout: `p` must be in [0, 1], got 1.2.
    """
    prefix = f"{owner}: " if owner else ""
    interval = "[0, 1)" if below_one else "[0, 1]"
    if type(p) is not float and (isinstance(p, bool) or not isinstance(p, Real)):
        raise TypeError(f"{prefix}`p` must be a number in {interval}, got {p!r}.")
    if not 0 <= p <= 1 or (below_one and p == 1):
        raise ValueError(f"{prefix}`p` must be in {interval}, got {p!r}.")
    return float(p)


def draw_shape(shape: Sequence[int], per: Sequence[int] | None) -> tuple[int, ...]:
    """Find the shape of the draws: the axes in `per` keep their size, the others shrink to one.

    Args:
        shape: shape of the tensor that the mask will multiply.
        per: axes that get their own draw, negative ones counted from the end; None: every element.

    Returns:
        A shape that broadcasts against `shape`.

    Raises:
        TypeError: `per` is not a tuple or list of integers.
        ValueError: `per` names an axis that does not exist, or one axis twice.

    Example:
        >>> draw_shape((8, 3, 5, 5), per=(0, 1))
        (8, 3, 1, 1)
    """
    if per is None:
        return tuple(shape)
    check_axes(per)

    rank = len(shape)
    if not all(-rank <= axis < rank for axis in per):
        raise ValueError(f"`per` must name axes of a tensor with {rank} axes, got {tuple(per)}.")
    own = {axis % rank for axis in per}
    if len(own) < len(per):
        raise ValueError(f"`per` must name each axis once, got {tuple(per)}.")
    return tuple(size if axis in own else 1 for axis, size in enumerate(shape))


def check_axes(per: Sequence[int]) -> None:
    """Check what can be said of `per` before a tensor is seen."""
    if not isinstance(per, tuple | list) or not all(type(axis) is int for axis in per):
        raise TypeError(f"`per` must be None or a tuple of axes, got {per!r}.")
    if len(set(per)) < len(per):
        raise ValueError(f"`per` must name each axis once, got {tuple(per)}.")
