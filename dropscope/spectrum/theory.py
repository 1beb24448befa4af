"""What masks do to interactions, in closed form: how many survive, and what a zero mask leaks downwards.

Throughout, `p` is the probability of dropping an input and `q = 1 - p` of keeping it.
"""

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "expected_count",
    "gradient_slope",
    "masked_effect",
    "masked_variance_ratios",
    "product_variances",
    "survival_factor",
]

Array = NDArray[np.float64]


def survival_factor(order: int, p: float) -> float:
    """Chance that an interaction of `order` inputs keeps all of them: `(1 - p)^order`.

    Resampling dropped inputs and averaging multiplies a pure effect of that order by exactly this factor, and its
    variance by the square. Zeroing them does so only where an effect vanishes at a zeroed input; see `masked_effect`.

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


def product_variances(means: Sequence[float], variances: Sequence[float]) -> Array:
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
) -> Array:
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


def masked_effect(effect: ArrayLike, at_zero: Sequence[int], p: float) -> tuple[Array, Array]:
    """What is left of an effect whose inputs are zeroed at random, averaged over masks: the shrunk effect and its leak.

    For plain 0/1 masks M and any effect `f_u` of the inputs u, `E_M f_u(X * M) = q^|u| f_u(X) + a_u(X)` with the leak
    `a_u(X) = sum over v strictly inside u of p^(|u| - |v|) q^|v| f_u(X_v, 0)`, where v are the inputs kept. Every term
    of the leak depends on fewer inputs: the interaction feeds lower orders. Summed over the effects of a function, both
    parts give the function averaged over masks.

    Args:
        effect: values of the effect on a grid, one dimension per input.
        at_zero: index of the input zero along each dimension.
        p: probability of zeroing each input.

    Returns:
        `q^|u| f_u` and `a_u`, both on the grid.

    Raises:
        ValueError: there is not one index per dimension.

    Example:
        >>> shrunk, leak = masked_effect([[1.0, 0.0], [0.0, 4.0]], at_zero=(0, 0), p=0.5)
        >>> shrunk
        array([[0.25, 0.  ],
               [0.  , 1.  ]])
        >>> leak
        array([[0.75, 0.5 ],
               [0.5 , 0.25]])

    Reference:
        Theorem 1 of Lengerich, Xing, Caruana, 2022, arXiv:2007.00823, with kept and dropped inputs in their places.
    """
    values = np.asarray(effect, dtype=float)
    if len(at_zero) != values.ndim:
        raise ValueError(f"`at_zero` must hold {values.ndim} indices, one per dimension, got {len(at_zero)}.")

    averaged = values
    for axis, zero in enumerate(at_zero):
        averaged = (1 - p) * averaged + p * averaged.take([zero], axis=axis)

    shrunk = (1 - p) ** values.ndim * values
    return shrunk, averaged - shrunk


def gradient_slope(masked: ArrayLike, plain: ArrayLike) -> float:
    """Part of a gradient that masks leave: the slope of the masked gradient on the plain one.

    `<g_p, g_0> / <g_0, g_0>`, with `g_p` the gradient of `E[y f(X masked)]`, through which the squared loss learns y.
    When dropped inputs are resampled and y is a pure effect of order k, `g_p = q^k g_0` for every model: the slope is
    `survival_factor(k, p)`. The same holds for the units of a hidden layer, seen as the inputs of the layers above.
    Under zero masks the slope also holds what leaks into y's order from higher ones.

    Args:
        masked: expected gradient with masks, of any shape.
        plain: the gradient without masks, of the same shape, not all zero.

    Returns:
        The slope, 1 when masks change nothing.

    Raises:
        ValueError: the shapes differ, or the plain gradient is zero.

    Example:
        >>> gradient_slope([0.5, 1.0], [2.0, 4.0])
        0.25

    Reference:
        Corollaries 1.2 and 1.3 of Lengerich, Xing, Caruana, 2022, arXiv:2007.00823.
    """
    with_masks, without = np.asarray(masked, dtype=float), np.asarray(plain, dtype=float)
    if with_masks.shape != without.shape or not without.any():
        raise ValueError("`masked` and `plain` must have the same shape, and `plain` must not be zero.")

    return float((with_masks * without).sum() / (without**2).sum())
