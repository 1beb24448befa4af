"""The non-negative fit against exhaustive search, and the thinned tail against the full one."""

import itertools

import numpy as np
import pytest

from dropscope.spectrum import fit as fit_file
from dropscope.spectrum.fit import OrderFit
from dropscope.spectrum.grouping import occupancy


@pytest.fixture
def rng(seed):
    return np.random.default_rng(seed)


def noisy(spectrum, rng, cubes=400):
    """Heavy-tailed variances per group order whose mean follows `spectrum`."""
    groups = min(len(spectrum), 6)
    mean = occupancy(len(spectrum), groups) @ np.asarray(spectrum)
    return mean * rng.lognormal(-0.5, 1, (cubes, 1)) * rng.lognormal(-0.5, 1, (cubes, groups))


def misfit(fit, spectrum):
    return np.square(fit._misfit @ spectrum).sum()


def simplex(steps):
    """All spectra over three orders on a fine grid."""
    pairs = [(i, j) for i, j in itertools.product(range(steps + 1), repeat=2) if i + j <= steps]
    first, second = np.array(pairs).T / steps
    return np.stack([first, second, 1 - first - second], axis=1)


@pytest.mark.parametrize("spectrum", [[0.6, 0.3, 0.1], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.02, 0.03, 0.95]])
def test_intervals_match_exhaustive_search(spectrum, rng):
    fit = OrderFit(noisy(spectrum, rng), 3)
    steps = 1200
    grid = simplex(steps)
    misfits = np.square(grid @ fit._misfit.T).sum(axis=1)
    inside = grid[misfits <= misfits.min() + fit._cutoff]

    for functional in (np.eye(3)[0], np.eye(3)[1], np.array([0.0, 1, 1]), np.array([1.0, 2, 3])):
        found = fit.interval(functional)
        assert found[0] == pytest.approx((inside @ functional).min(), abs=6 / steps)
        assert found[1] == pytest.approx((inside @ functional).max(), abs=6 / steps)


@pytest.mark.parametrize("blocks", [3, 8, 12, 25, 60])
def test_no_spectrum_misses_less_than_the_nonnegative_one(blocks, rng):
    fit = OrderFit(noisy(rng.dirichlet(np.full(blocks, 0.3)), rng), blocks)
    best = fit.nonnegative()

    assert best.min() >= 0
    assert best.sum() == pytest.approx(1)
    others = np.vstack([rng.dirichlet(np.full(blocks, 0.2), 500), np.eye(blocks)])
    others = np.vstack([others, 0.99 * best + 0.01 * others])
    assert all(misfit(fit, other) >= misfit(fit, best) - 1e-9 for other in others)


@pytest.mark.parametrize("blocks", [12, 25, 60, 200])
def test_smooth_bends_less_at_the_price_of_one_unit_of_misfit(blocks, rng):
    fit = OrderFit(noisy(0.5 ** np.arange(blocks), rng), blocks)
    best, smooth = fit.nonnegative(), fit.smooth()

    assert smooth.min() >= 0
    assert smooth.sum() == pytest.approx(1)
    assert misfit(fit, smooth) <= misfit(fit, best) + 1.05
    assert np.square(np.diff(smooth, 2)).sum() <= np.square(np.diff(best, 2)).sum()


@pytest.mark.parametrize("blocks", [4, 25, 100])
def test_intervals_hold_both_point_estimates(blocks, rng):
    order = np.arange(1, blocks + 1)
    for _ in range(10):
        fit = OrderFit(noisy(rng.dirichlet(np.full(blocks, 0.2)), rng, cubes=60), blocks)
        for functional in (order == 1, order == 2, order > 2, order):
            low, high = fit.interval(functional.astype(float))
            slack = 1e-3 * np.ptp(functional.astype(float))
            assert low - slack <= functional @ fit.nonnegative() <= high + slack
            assert low - slack <= functional @ fit.smooth() <= high + 0.05 * (high - low) + slack


def test_a_functional_of_no_order_has_the_interval_zero(rng):
    assert OrderFit(noisy([0.5, 0.5], rng), 2).interval(np.zeros(2)) == (0, 0)


def test_thinning_the_tail_leaves_low_orders_as_they_are(rng, monkeypatch):
    variances = noisy(0.5 ** np.arange(90), rng, cubes=2000)
    order = np.arange(1, 91)
    functionals = [(order == 1) * 1.0, (order == 2) * 1.0, (order == 3) * 1.0, (order > 3) * 1.0]

    thinned = [OrderFit(variances, 90).interval(row) for row in functionals]
    monkeypatch.setattr(fit_file, "_nodes", lambda blocks: np.arange(1, blocks + 1))
    full = [OrderFit(variances, 90).interval(row) for row in functionals]

    widths = np.diff(full)
    assert (np.abs(np.subtract(thinned, full)) <= 0.05 * widths + 1e-3).all()


def test_the_scale_of_the_output_cancels(rng):
    variances = noisy([0.5, 0.3, 0.2], rng)
    one, other = OrderFit(variances, 3), OrderFit(variances * 2.0**40, 3)
    assert (one.ratio == other.ratio).all()
    assert (one.nonnegative() == other.nonnegative()).all()
    assert other.total == one.total * 2.0**40
