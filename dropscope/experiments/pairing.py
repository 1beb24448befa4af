"""Two series of results on the same cuts of the data, compared cut by cut."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

__all__ = ["Pairs", "paired"]


@dataclass(frozen=True)
class Pairs:
    """How one series differs from another.

    Attributes:
        difference: mean of ours minus theirs.
        t: that difference over its own standard error.
        ratio: mean of ours over mean of theirs.
        low: lower end of the ratio's 95 % interval.
        high: upper end.
    """

    difference: float
    t: float
    ratio: float
    low: float
    high: float


def paired(ours: np.ndarray, theirs: np.ndarray) -> Pairs:
    """Compare two series pair by pair.

    With d = a - b: `t = mean(d) / se(d)`. The ratio R = mean(a) / mean(b) has, by the delta method, the standard error
    `se(a - R b) / |mean(b)|`; its interval is Student's with n - 1 degrees of freedom.

    Args:
        ours: a, one number for each cut.
        theirs: b, in the same order.

    Returns:
        The comparison; t is 0 where the series are equal.

    Raises:
        ValueError: the series differ in length or have fewer than two numbers.

    Example:
        >>> pairs = paired(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]))
        >>> pairs.ratio, pairs.low, pairs.high
        (2.0, 2.0, 2.0)
    """
    if len(ours) != len(theirs) or len(ours) < 2:
        raise ValueError(f"`ours` and `theirs` must be equally long, at least 2, got {len(ours)} and {len(theirs)}.")
    difference, error = _mean_and_error(ours - theirs)
    ratio = ours.mean() / theirs.mean()
    half = student.ppf(0.975, len(ours) - 1) * _mean_and_error(ours - ratio * theirs)[1] / abs(theirs.mean())
    t = 0.0 if difference == 0 else float(np.divide(difference, error))
    return Pairs(difference, t, float(ratio), float(ratio - half), float(ratio + half))


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)
