"""The difference of two mean losses over seeds, with its standard error: paired, or of two studies apart."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Difference", "contrast"]

CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Difference:
    """Mean losses `a` and `b`; `difference` is b - a, `error` its standard error, [low, high] its 95 % interval."""

    a: float
    b: float
    difference: float
    error: float
    low: float
    high: float


def contrast(a: dict[int, float], b: dict[int, float], *, ratio: float, paired: bool) -> Difference:
    """Compare two sets of losses.

    Paired, with d the n differences over the seeds common to both, `error² = var(d) * (1/n + ratio)`; else
    `error² = var(a) * (1/n_a + ratio) + var(b) * (1/n_b + ratio)`. `ratio` allows for fit rows that seeds share.

    Args:
        a: losses by seed.
        b: losses by seed.
        ratio: selection rows / fit rows.
        paired: compare seed by seed.

    Returns:
        The difference; its interval is that of Student's t, by Welch where it is not paired; nan for a single seed.

    Example:
        >>> contrast({0: 1.0, 1: 2.0}, {0: 2.0, 1: 3.0}, ratio=1 / 3, paired=True).error
        0.0

    Reference:
        Nadeau & Bengio 2003, doi:10.1023/A:1024068626366.
    """
    common = a.keys() & b.keys()
    first, second = (np.array([one[seed] for seed in sorted(common if paired else one)]) for one in (a, b))
    parts = [second - first] if paired else [first, second]
    difference = float(second.mean() - first.mean())
    if min(map(len, parts)) < 2:
        return Difference(float(first.mean()), float(second.mean()), difference, math.nan, math.nan, math.nan)

    squares = [float(part.var(ddof=1)) * (1 / len(part) + ratio) for part in parts]
    error = math.sqrt(sum(squares))
    # Welch and Satterthwaite; of one part its own degrees of freedom.
    below = sum(square**2 / (len(part) - 1) for square, part in zip(squares, parts, strict=True))
    freedom = sum(squares) ** 2 / below if below else 1.0
    reach = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    return Difference(
        float(first.mean()), float(second.mean()), difference, error, difference - reach, difference + reach
    )
