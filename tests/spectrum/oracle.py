"""The exact spectrum of any function on a grid, by brute force."""

import itertools

import numpy as np


def anova(values, weights):
    """Variance per order of `values` on a grid whose axes are independent with the given weights."""
    variances = np.zeros(values.ndim + 1)

    for subset in itertools.product([False, True], repeat=values.ndim):
        effect = values
        for axis, inside in enumerate(subset):
            mean = np.average(effect, axis=axis, weights=weights[axis], keepdims=True)
            effect = effect - mean if inside else np.broadcast_to(mean, effect.shape)

        square = effect**2
        for axis_weights in reversed(weights):
            square = np.average(square, axis=-1, weights=axis_weights)
        variances[sum(subset)] += square

    return variances[1:]


def legendre(low, high, nodes=12):
    """Nodes and weights exact for polynomials on each half of the range (functions may have a kink in the middle)."""
    unit, weights = np.polynomial.legendre.leggauss(nodes)
    middle, quarter = (low + high) / 2, (high - low) / 4
    return np.r_[low + quarter * (1 + unit), middle + quarter * (1 + unit)], np.r_[weights, weights]
