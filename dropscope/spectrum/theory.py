"""What masks do to interactions, in closed form: how many survive, and what a zero mask leaks downwards.

Throughout, `p` is the probability of dropping an input and `q = 1 - p` of keeping it.
"""

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray

__all__ = ["expected_count", "masked_variance_ratios", "product_variances", "survival_factor"]


def survival_factor(order: int, p: float) -> float:
    """Chance that an interaction of `order` inputs keeps all of them: `(1 - p)^order`.

    Args:
        order: number of inputs in the interaction.
        p: probability of dropping each input.

    Returns:
        The chance, in [0, 1].

    Example:
        >>> survival_factor(3, 0.5)
        0.125

    Reference:
        Lengerich, Xing, Caruana, "Dropout as a regularizer of interaction effects", 2022, arXiv:2007.00823.
    """
    return (1 - p) ** order


def expected_count(inputs: int, order: int, p: float) -> float:
    """Expected number of intact interactions of one order: `(1 - p)^order * C(inputs, order)`.

    Args:
        inputs: number of inputs.
        order: number of inputs in each interaction.
        p: probability of dropping each input.

    Returns:
        The expected number; without masks it is C(inputs, order).

    Example:
        >>> expected_count(25, 2, 0.5)
        75.0
    """
    return survival_factor(order, p) * comb(inputs, order)


def product_variances(means: Sequence[float], variances: Sequence[float]) -> NDArray[np.float64]:
    """Variance per interaction order of a product of independent factors, one per input.

    `W_k` is the coefficient of `z^k` in `prod_i (mean_i^2 + variance_i z)`.

    Args:
        means: mean of each factor.
        variances: variance of each factor.

    Returns:
        `W_1 ... W_n`, one per order.

    Raises:
        ValueError: the two sequences differ in length.

    Example:
        >>> product_variances([0.0, 1.0], [1.0, 0.5])  # x0 * (1 + x1 / sqrt(2))
        array([1. , 0.5])

    Reference:
        Sobol', "Theorems and examples on high dimensional model representation", 2003.
    """
    polynomial = np.ones(1)

    for mean, variance in zip(means, variances, strict=True):
        polynomial = np.convolve(polynomial, [mean**2, variance])

    return polynomial[1:]


def masked_variance_ratios(
    means: Sequence[float], variances: Sequence[float], at_zero: Sequence[float], p: float
) -> NDArray[np.float64]:
    """Ratio `W_k(masked) / W_k` for a product of factors whose inputs are zeroed at random and averaged over masks.

    The average over plain 0/1 masks turns each factor `g(x)` into `q g(x) + p g(0)`. Its variance shrinks by `q^2`, so
    order k would shrink by `q^(2k)` if inputs were *resampled* (`g(0)` replaced by the factor's mean). Zeroing keeps
    `p g(0)` in place of the dropped factor, and so high orders leak into low ones: the ratios of low orders are larger.

    Args:
        means: mean of each factor.
        variances: variance of each factor.
        at_zero: each factor's value at a zeroed input; give `means` for resampling.
        p: probability of zeroing each input.

    Returns:
        One ratio per order, nan where the product has no variance of that order.

    Example:
        >>> masked_variance_ratios([0.0, 0.0], [1.0, 1.0], at_zero=[0.0, 0.0], p=0.5)
        array([   nan, 0.0625])

    Reference:
        Theorem 1 of Lengerich, Xing, Caruana, 2022, arXiv:2007.00823, with its leak term written out.
    """
    masked_means = [(1 - p) * mean + p * zero for mean, zero in zip(means, at_zero, strict=True)]
    masked_variances = [(1 - p) ** 2 * variance for variance in variances]

    before = product_variances(means, variances)
    after = product_variances(masked_means, masked_variances)

    return np.divide(after, before, out=np.full_like(before, np.nan), where=before > 0)
