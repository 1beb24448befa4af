"""Rates of dropping as an arm has them: one for all hidden layers, or one for each (a profile over depth)."""

from typing import Any

import numpy as np

__all__ = ["PROFILES", "HiddenRate", "Rates", "largest", "middle", "profile", "rate_of", "rate_text"]

HiddenRate = float | tuple[float, ...]
Rates = tuple[float, HiddenRate]  # (input p, hidden p)

PROFILES = {"rising": (0.5, 1.5), "falling": (1.5, 0.5)}  # first and last layer, in parts of the mean


def profile(name: str, p: float, depth: int) -> HiddenRate:
    """Spread a mean rate over the hidden layers, from p/2 to 3p/2 in equal steps, or back.

    Args:
        name: rising or falling.
        p: mean rate.
        depth: number of hidden layers, two or more.

    Returns:
        One rate a layer.

    Example:
        >>> profile("rising", 0.25, 3)
        (0.125, 0.25, 0.375)

    Reference:
        Huang, Sun, Liu, Sedra & Weinberger 2016, arXiv:1603.09382 (rising, for depth).
    """
    return tuple(round(float(rate), 6) for rate in p * np.linspace(*PROFILES[name], depth))


def rate_of(kept: Any) -> HiddenRate:
    """Read a rate from a record: JSON has lists where arms have tuples.

    Args:
        kept: a number, or numbers.

    Returns:
        The rate.
    """
    return tuple(kept) if isinstance(kept, list | tuple) else kept


def largest(p_hidden: HiddenRate) -> float:
    """Return the largest rate of any layer."""
    return max(p_hidden) if isinstance(p_hidden, tuple) else p_hidden


def middle(p_hidden: HiddenRate) -> float:
    """Return the mean rate over layers: where an arm stands on an axis of p."""
    return sum(p_hidden) / len(p_hidden) if isinstance(p_hidden, tuple) else p_hidden


def rate_text(p_hidden: HiddenRate, form: str = "g") -> str:
    """Write a rate, the layers of a profile joined by slashes.

    Args:
        p_hidden: the rate.
        form: the format of a number.

    Returns:
        Such as "0.25" or "0.125/0.25/0.375".
    """
    return "/".join(format(p, form) for p in p_hidden) if isinstance(p_hidden, tuple) else format(p_hidden, form)
