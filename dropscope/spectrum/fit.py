"""The non-negative fit over all orders: point estimates and profile intervals from group-order variances.

Write p for the observed shares per group order, M for the occupancy matrix and L for a whitening of p's covariance.
A spectrum z (shares of all orders: z >= 0, sum z = 1) misses the observation by `Q(z) = |L (M z - p)|^2`. As z sums to
one, `M z - p = (M - p 1') z`: Q(z) is the squared distance from the origin to a point of the convex hull of the columns
of `L (M - p 1')`, and every question asked here is a nearest-point problem in that small space.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, nnls
from scipy.stats import f as f_law
from scipy.stats import t as student

from dropscope.spectrum.grouping import occupancy

__all__ = ["OrderFit"]

Array = NDArray[np.float64]

# Part of the diagonal mixed into the correlations, which a few hundred heavy-tailed cubes determine poorly.
SHRINK = 0.1
# Orders up to here are all fitted; beyond, a few nodes stand for their neighbours (see `_nodes`).
DENSE = 32
LEVEL = 0.95
# Cubes that must share the variance before single blocks are believed: rare interactions escape their few rows.
ENOUGH = 200
# Part of one typical cube's share of the variance that orders may hold unseen, as a standard error.
MISSED = 0.5
# No standard error is believed below this.
LEAST = 1e-7
# Misfit that the smooth spectrum may add to the least one.
SLACK = 0.5


class OrderFit:
    """All spectra compatible with the group-order variances of one model.

    Args:
        variances: group-order variances of shape (cubes, groups), one row per cube.
        blocks: number of blocks.
        totals: sum of all total indices, of shape (cubes,), where it was measured.
        unknown: part of the variance that is known from the cubes alone.

    Attributes:
        total: variance of the model's output.
        ratio: observed share of each group order, then the part of the mean order where it is used.
        standard_error: delta-method standard error of each ratio.
        effective: number of cubes that would hold the variance if each held as much.
    """

    def __init__(self, variances: Array, blocks: int, totals: Array | None = None, unknown: float = 1.0) -> None:
        cubes, groups = variances.shape
        whole = variances.sum(axis=1)
        self.total = float(whole.mean())
        self.effective = float(whole.sum() ** 2 / np.square(whole).sum())

        matrix = occupancy(blocks, groups)
        if totals is not None and self.effective >= ENOUGH:
            # A part of the mean order, so that it is a share like the others.
            variances = np.column_stack([variances, totals / blocks])
            matrix = np.vstack([matrix, np.arange(1, blocks + 1) / blocks])
        self.ratio = variances.mean(axis=0) / self.total

        # The influence of one cube on the ratios (delta method); einsum, as BLAS's last bit depends on its threads.
        influence = (variances - whole[:, None] * self.ratio) / self.total
        covariance = np.einsum("ci,cj->ij", influence, influence) / (cubes * (cubes - 1))
        self.standard_error = np.sqrt(np.diag(covariance))

        self.blocks = blocks
        self.exact = blocks == groups
        self.nodes = _nodes(blocks)
        misses = matrix - self.ratio[:, None]

        # An order that never varies (a product's orders above its own) is known, but not infinitely well.
        known = max(1e-4 * self.standard_error.max(), LEAST)
        self._misfit = _whiten(covariance, np.full(len(misses), known)) @ misses
        self._points = self._misfit[:, self.nodes - 1]
        self._best, self._least = self._nearest(self._points)

        # Intervals trust neither short standard errors nor zeros: what few cubes hold all the variance may have missed.
        missed = np.full(len(misses), max(MISSED * unknown / self.effective, LEAST))
        missed[groups:] *= self.ratio[groups:]
        heavy = _heaviness(influence)
        self._wide = (_whiten(covariance * np.outer(heavy, heavy), missed) @ misses)[:, self.nodes - 1]
        self._wide_least = self._nearest(self._wide)[1]

        # Profile cut-off, with the small-sample factor of Hotelling's statistic.
        freedom = cubes - groups
        self._cutoff = float(f_law.ppf(LEVEL, 1, freedom)) * (cubes - 1) / freedom

    def nonnegative(self) -> Array:
        """The spectrum that misses the observation least; its mass tends to sit on a few orders."""
        orders = np.zeros(self.blocks)
        orders[self.nodes - 1] = self._best
        return orders

    def smooth(self) -> Array:
        """The spectrum z whose `k z_k` changes least from order to order, among those with `Q <= min Q + 1/2`.

        On products and networks, what order k adds to the mean order varies more slowly than its share.
        """
        spread, changes = _hats(self.blocks)
        points = self._misfit @ spread

        def excess(log_weight: float) -> float:
            return self._smooth_weights(points, changes, log_weight)[1] - self._least - SLACK

        low, high = -6.0, 6.0
        if excess(high) <= 0:
            log_weight = high
        elif excess(low) >= 0:
            log_weight = low
        else:
            log_weight = brentq(excess, low, high, xtol=0.01)

        return spread @ self._smooth_weights(points, changes, log_weight)[0]

    def interval(self, functional: Array) -> tuple[float, float]:
        """Smallest and largest value of a linear functional over the spectra with `Q <= min Q + cut-off`, Q wide.

        Args:
            functional: one coefficient per order.

        Returns:
            The two ends of the 95 % profile interval.
        """
        values = functional[self.nodes - 1]
        return -self._largest(-values), self._largest(values)

    def _largest(self, values: Array) -> float:
        """Largest `values . z` in reach of the cut-off, by a root search along the frontier of `values . z` and Q."""
        top = values.max()
        limit = self._wide_least + self._cutoff

        at_top = values == top
        if self._nearest(self._wide[:, at_top])[1] <= limit:
            return float(top)

        # Pulling z towards a target beyond reach with growing force walks along the frontier.
        reach = values - top - np.ptp(values)

        def excess(log_force: float) -> float:
            weights = self._pulled(reach, log_force)
            return np.sqrt(max(_square(self._wide @ weights) - self._wide_least, 0.0)) - np.sqrt(self._cutoff)

        low, high = -3.0, 3.0
        while excess(low) > 0:
            low -= 3.0
        while excess(high) < 0:
            high += 3.0

        log_force = brentq(excess, low, high, xtol=1e-3)
        return float(values @ self._pulled(reach, log_force))

    def _pulled(self, reach: Array, log_force: float) -> Array:
        return self._nearest(np.vstack([self._wide, 10**log_force * reach]))[0]

    def _smooth_weights(self, points: Array, changes: Array, log_weight: float) -> tuple[Array, float]:
        weights, _ = self._nearest(np.vstack([points, 10**log_weight * changes]))
        return weights, _square(points @ weights)

    @staticmethod
    def _nearest(points: Array) -> tuple[Array, float]:
        """Convex weights of the hull's point nearest to the origin, and its squared distance.

        Minimising `|P u|^2 + (1'u - 1)^2` over u >= 0 finds it up to scale: for a fixed direction the best scale leaves
        `d^2 / (1 + d^2)`, which grows with the distance d.
        """
        system = np.vstack([points, np.ones(points.shape[1])])
        target = np.zeros(len(system))
        target[-1] = 1.0

        weights = nnls(system, target, maxiter=100 * points.shape[1])[0]
        weights /= weights.sum()
        return weights, _square(points @ weights)


def _square(vector: Array) -> float:
    return float(vector @ vector)


def _heaviness(influence: Array) -> Array:
    """Factors by which standard errors are too short: heavy tails leave them few degrees of freedom."""
    cubes = len(influence)
    second, fourth = (influence**2).mean(axis=0), (influence**4).mean(axis=0)
    kurtosis = np.divide(fourth, second**2, out=np.full_like(second, 3.0), where=second > 0)

    freedom = np.clip(2 * cubes / np.maximum(kurtosis - 1, 1e-9), 2, cubes - 1)
    ends = (1 + LEVEL) / 2
    return student.ppf(ends, freedom) / student.ppf(ends, cubes - 1)


def _whiten(covariance: Array, least: Array) -> Array:
    """Matrix that turns the covariance into the identity, with deviations of `least` or more, shrunk correlations."""
    deviation = np.maximum(np.sqrt(np.diag(covariance)), least)

    correlation = covariance / np.outer(deviation, deviation)
    np.fill_diagonal(correlation, 1.0)
    correlation = (1 - SHRINK) * correlation + SHRINK * np.eye(len(correlation))
    return np.linalg.inv(np.linalg.cholesky(correlation)) / deviation


@cache
def _nodes(blocks: int) -> NDArray[np.int64]:
    """Orders that carry mass in a fit: all up to `DENSE`, then geometrically spaced ones up to `blocks`.

    An interaction of more than `DENSE` blocks almost surely occupies all groups, so its column of the occupancy matrix
    is the same as its neighbours' to within .02: more nodes would only make the fit slower.
    """
    nodes = np.arange(1, min(blocks, DENSE) + 1)
    if blocks <= DENSE:
        return nodes
    return np.union1d(nodes, np.geomspace(DENSE, blocks, 13).round().astype(np.int64))


@cache
def _hats(blocks: int) -> tuple[Array, Array]:
    """Spectra that are linear between nodes: their basis, each of sum one, and a root of k z_k's squared changes."""
    nodes = _nodes(blocks)
    orders = np.arange(1, blocks + 1)

    hats = np.stack([np.interp(orders, nodes, corner) for corner in np.eye(len(nodes))], axis=1)
    hats /= hats.sum(axis=0)

    changes = np.diff(orders[:, None] * hats, axis=0)
    return hats, np.linalg.qr(changes)[1]
