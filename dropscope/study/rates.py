"""Rates of dropping as an arm has them, one for all hidden layers or one for each, and where such an arm drops."""

from typing import Any

import numpy as np

__all__ = [
    "PLACES", "PROFILES", "SINGLE", "HiddenRate", "Rates", "largest", "middle", "place_of", "profile", "rate_of",
    "rate_text", "single",
]  # fmt: skip

HiddenRate = float | tuple[float, ...]
Rates = tuple[float, HiddenRate]  # (input p, hidden p)

PROFILES = {"rising": (0.5, 1.5), "falling": (1.5, 0.5)}  # first and last layer, in parts of the mean
SINGLE = {"first": 0, "last": -1}  # places that are one hidden layer, and which
PLACES = ("input", "hidden", "both", *SINGLE)


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


def single(place: str, p: float, depth: int) -> HiddenRate:
    """Drop after one hidden layer alone.

    Args:
        place: first or last.
        p: its rate.
        depth: number of hidden layers, two or more.

    Returns:
        One rate a layer.

    Example:
        >>> single("last", 0.5, 3)
        (0.0, 0.0, 0.5)
    """
    rates = [0.0] * depth
    rates[SINGLE[place]] = p
    return tuple(rates)


def place_of(arm: Rates) -> str:
    """Say where an arm drops.

    Args:
        arm: (input p, hidden p).

    Returns:
        none, input, hidden, both, first or last; rates that differ over hidden layers drop in `hidden` unless only the
        first or only the last of them is above 0.

    Example:
        >>> place_of((0.0, (0.5, 0.0, 0.0)))
        'first'
    """
    p_input, p_hidden = arm
    if not largest(p_hidden):
        return "input" if p_input else "none"
    if p_input:
        return "both"
    dropping = [layer for layer, p in enumerate(p_hidden) if p] if isinstance(p_hidden, tuple) else []
    if len(dropping) != 1 or not isinstance(p_hidden, tuple):
        return "hidden"
    return {0: "first", len(p_hidden) - 1: "last"}.get(dropping[0], "hidden")


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
