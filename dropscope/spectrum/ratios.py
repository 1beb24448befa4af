"""Ratios of mean squares to a variance, with the intervals that heavy-tailed draws need."""

from dataclasses import dataclass
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

__all__ = ["RatioSums", "Ratios", "rounding"]

Array = NDArray[np.float64]

LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Ratios:
    """Shares of the variance of f with 95 % intervals.

    Attributes:
        share: ratio of each quantity to the variance, at most one.
        low: lower ends.
        high: upper ends.
        variance: variance of f.
    """

    share: Array
    low: Array
    high: Array
    variance: float


def rounding(dtype: torch.dtype) -> float:
    """Largest variance, relative to the mean square, that rounding alone leaves in outputs of a precision."""
    return (4 * torch.finfo(dtype).eps) ** 2


class RatioSums:
    """Quantities summed over independent draws, so that memory does not grow with the budget.

    Args:
        quantities: number of quantities of a draw; the first is an unbiased estimate of the variance.
        rounding: mean squares below this part of the outputs' own mean square are zero.
    """

    def __init__(self, quantities: int, rounding: float) -> None:
        self._rounding = rounding
        # For each k the sums of `a^i b^(k - i)`, i = 0 ... k: a are the quantities and b is the first of them.
        self._sums = {k: np.zeros((k + 1, quantities)) for k in (1, 2, 4)}
        self._level = 0.0
        self._draws = 0

    def add(self, quantities: Array, level: float) -> None:
        """Add some draws.

        Args:
            quantities: non-negative, of shape (quantities, draws).
            level: sum over the draws of one squared output, which tells rounding from variance.
        """
        for k, sums in self._sums.items():
            sums += [(quantities**i * quantities[0] ** (k - i)).sum(1) for i in range(k + 1)]
        self._level += level
        self._draws += quantities.shape[1]

    def ratios(self) -> Ratios:
        """Ratios of the quantities after the first to the first.

        The delta method sees every draw through its influence `a - ratio b`. Intervals are symmetric in the logarithm,
        with Student's t at the degrees of freedom that the influences' kurtosis leaves to their variance: products are
        heavy-tailed, and the plain count of draws covers too seldom.
        """
        draws, variance, first = self._draws, self._sums[1][0, 0], self._sums[1][1]
        if variance <= self._rounding * self._level:
            nothing = np.zeros(len(first) - 1)
            return Ratios(nothing, nothing, nothing, 0.0)

        ratio = np.where(first > self._rounding * self._level, first / variance, 0.0)
        second, fourth = self._influence(2, ratio), self._influence(4, ratio)

        kurtosis = np.divide(fourth * draws, second**2, out=np.full_like(ratio, 3.0), where=second > 0)
        freedom = np.clip(2 * draws / np.maximum(kurtosis - 1, 1e-9), 1, draws - 1)

        error = np.sqrt(second * draws / (draws - 1)) / variance
        relative = np.divide(error, ratio, out=np.zeros_like(ratio), where=ratio > 0)
        half = student.ppf((1 + LEVEL) / 2, freedom) * relative

        # No share is above one; an estimate that is keeps the width of its interval.
        share = np.minimum(ratio, 1.0)
        low, high = share * np.exp(-half), np.minimum(ratio * np.exp(half), 1.0)
        return Ratios(share[1:], low[1:], high[1:], float(variance / draws))

    def _influence(self, k: int, ratio: Array) -> Array:
        """Sum over the draws of `(a - ratio b)^k`, k even, by its binomial expansion."""
        terms = [comb(k, i) * (-ratio) ** (k - i) * self._sums[k][i] for i in range(k + 1)]
        return np.maximum(np.sum(terms, axis=0), 0.0)
