"""The non-negative fit against exhaustive search, and the thinned tail against the full one."""

import itertools

import numpy as np
import pytest
from scipy.stats import t as student

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
    misfits = np.square(grid @ fit._wide.T).sum(axis=1)
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
def test_smooth_varies_less_at_the_price_of_half_a_unit_of_misfit(blocks, rng):
    fit = OrderFit(noisy(0.5 ** np.arange(blocks), rng), blocks)
    best, smooth = fit.nonnegative(), fit.smooth()

    assert smooth.min() >= 0
    assert smooth.sum() == pytest.approx(1)
    assert misfit(fit, smooth) == pytest.approx(misfit(fit, best) + 0.5, abs=0.03)
    order = np.arange(1, blocks + 1)
    assert np.square(np.diff(order * smooth)).sum() <= np.square(np.diff(order * best)).sum()


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


def test_what_is_seen_well_is_not_smoothed_away(rng):
    """Without noise to speak of, a spectrum with a step at low orders comes back."""
    truth = np.concatenate([[0.7, 0.0], np.full(10, 0.03)])
    mean = occupancy(12, 6) @ truth
    fit = OrderFit(mean * (1 + 1e-3 * rng.standard_normal((400, 6))), 12)
    assert fit.smooth()[:2] == pytest.approx(truth[:2], abs=2e-3)


@pytest.mark.parametrize("rows", [1, 3])
def test_what_a_few_cubes_hold_identifies_nothing(rows, rng):
    """Proportional cubes have no spread between them, however few they are: their agreement proves nothing."""
    variances = np.zeros((5000, 3))
    variances[:rows] = [0.1, 0.3, 0.6]
    fit = OrderFit(variances, 3)
    assert fit.effective == pytest.approx(rows)
    assert all(high - low > 0.3 for low, high in map(fit.interval, np.eye(3)))


def test_intervals_shrink_with_the_number_of_cubes_that_agree():
    widths = [np.ptp(OrderFit(np.tile([0.1, 0.3, 0.6], (cubes, 1)), 3).interval(np.eye(3)[0])) for cubes in (50, 5000)]
    assert widths[0] == pytest.approx(100 * widths[1], rel=0.1)


def test_heavy_tails_lengthen_intervals_by_students_factor(rng):
    """Of 1,000 influences of kurtosis 48, which one in fifty carries, 42 degrees of freedom are left."""
    rare = np.tile([7.0, *np.full(49, -1 / 7)], 20)
    freedom = 2000 / ((rare**4).mean() / (rare**2).mean() ** 2 - 1)
    factors = fit_file._heaviness(np.column_stack([rare, rng.choice([-1.0, 1.0], 1000)]))
    expected = student.ppf(0.975, freedom) / student.ppf(0.975, 999)
    assert factors == pytest.approx([expected, 1.0], abs=1e-9)
    assert expected > 1.02


def test_total_indices_settle_the_mean_order_of_many_blocks(rng):
    """A hundredth of the variance at order 300 is the same to six groups as at order 20, but not to the mean order."""
    blocks, order = 400, np.arange(1, 401)
    truth = 0.9 * (order == 1) + 0.09 * (order == 2) + 0.01 * (order == 20)
    variances = occupancy(blocks, 6) @ truth * rng.lognormal(-0.02, 0.2, (3000, 1))
    variances = variances * rng.lognormal(-0.02, 0.2, variances.shape)
    totals = truth @ order * rng.lognormal(-0.02, 0.2, 3000)

    plain, told = OrderFit(variances, blocks), OrderFit(variances, blocks, totals)
    wide, narrow = plain.interval(order * 1.0), told.interval(order * 1.0)
    assert np.ptp(narrow) < 0.02 * np.ptp(wide)
    assert narrow[0] - 0.05 < truth @ order < narrow[1] + 0.05
    assert narrow[0] <= order @ told.smooth() <= narrow[1]
