"""What a claim is, how its verdict is written down, and the intervals that claims are judged by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import t as student

__all__ = ["CLAIMS", "Claim", "Finding", "claim", "interval", "slopes", "verdict"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one claim.

    Attributes:
        verdict: holds, holds in part, differs (the statement is off, the right form is beside it) or fails.
        measured: lines for people, every number with its interval, standard error or largest deviation.
        data: the same for figures, plain lists and numbers.
    """

    verdict: str
    measured: list[str]
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """A claim of the source paper, with the rule of judgement that was fixed before anything was measured."""

    name: str
    says: str
    rule: str
    measure: Callable[[], Finding]


CLAIMS: dict[str, Claim] = {}


def claim(name: str, says: str, rule: str) -> Callable[[Callable[[], Finding]], Callable[[], Finding]]:
    """Register the decorated function as the measurement of a claim."""

    def register(measure: Callable[[], Finding]) -> Callable[[], Finding]:
        CLAIMS[name] = Claim(name, says, rule, measure)
        return measure

    return register


def verdict(*parts: bool) -> str:
    """All parts hold, none does, or some do."""
    if all(parts):
        return "holds"
    return "holds in part" if any(parts) else "fails"


def interval(sample: Sequence[float] | np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of a sample with Student's interval for it: mean, low, high."""
    values = np.asarray(sample, dtype=float)
    half = student.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def slopes(x: Sequence[float], samples: np.ndarray) -> np.ndarray:
    """Least-squares slope on x of each row of a sample; entries that are nan are left out."""
    fits = []
    for row in samples:
        there = np.isfinite(row)
        fits.append(np.polyfit(np.asarray(x)[there], row[there], 1)[0])
    return np.array(fits)
