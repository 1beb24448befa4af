"""Closed forms against enumeration of all masks on quadrature grids."""

import itertools

import numpy as np
import pytest
from oracle import anova, legendre

from dropscope.spectrum.theory import expected_count, masked_variance_ratios, product_variances, survival_factor

NODES, WEIGHTS = legendre(-1, 1)


def cosine(x):
    return np.cos(1.5 * x)


MEAN = np.average(cosine(NODES), weights=WEIGHTS)
VARIANCE = np.average((cosine(NODES) - MEAN) ** 2, weights=WEIGHTS)


def test_survival_factor_counts_masks_that_keep_a_whole_interaction():
    kept = sum(all(mask[:3]) for mask in itertools.product([0, 1], repeat=5)) / 2**5
    assert survival_factor(3, 0.5) == kept


def test_expected_count_is_the_mean_over_all_masks():
    p, n, order = 0.3, 5, 2
    expected = 0.0
    for mask in itertools.product([0, 1], repeat=n):
        kept = sum(mask)
        expected += (1 - p) ** kept * p ** (n - kept) * len(list(itertools.combinations(range(kept), order)))
    assert expected_count(n, order, p) == pytest.approx(expected, rel=1e-12)


def test_product_variances_match_the_brute_force_spectrum():
    grid = np.meshgrid(NODES, NODES, NODES, indexing="ij")
    values = cosine(grid[0]) * grid[1] * np.exp(grid[2])
    factors = [cosine(NODES), NODES, np.exp(NODES)]
    means = [np.average(f, weights=WEIGHTS) for f in factors]
    variances = [np.average((f - m) ** 2, weights=WEIGHTS) for f, m in zip(factors, means, strict=True)]

    assert product_variances(means, variances) == pytest.approx(anova(values, [WEIGHTS] * 3), rel=1e-10)


def test_zero_masks_leak_high_orders_into_low_ones():
    ratios = masked_variance_ratios([MEAN] * 3, [VARIANCE] * 3, at_zero=[1.0] * 3, p=0.5)
    assert ratios == pytest.approx([0.614, 0.098, 0.015625], abs=5e-4)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_masked_ratios_match_enumeration_of_all_masks(p):
    def f(x):
        return cosine(x[0]) * np.exp(x[1]) * (x[2] + 0.3)

    grid = np.stack(np.meshgrid(NODES, NODES, NODES, indexing="ij"))
    average = 0.0
    for mask in itertools.product([0, 1], repeat=3):
        chance = (1 - p) ** sum(mask) * p ** (3 - sum(mask))
        average = average + chance * f(grid * np.reshape(mask, (3, 1, 1, 1)))
    measured = anova(average, [WEIGHTS] * 3) / anova(f(grid), [WEIGHTS] * 3)

    factors = [cosine(NODES), np.exp(NODES), NODES + 0.3]
    means = [np.average(g, weights=WEIGHTS) for g in factors]
    variances = [np.average((g - m) ** 2, weights=WEIGHTS) for g, m in zip(factors, means, strict=True)]
    assert masked_variance_ratios(means, variances, at_zero=[1.0, 1.0, 0.3], p=p) == pytest.approx(measured, rel=1e-9)


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5])
def test_resampling_keeps_exactly_q_to_the_2k(p):
    ratios = masked_variance_ratios([MEAN] * 4, [VARIANCE] * 4, at_zero=[MEAN] * 4, p=p)
    assert ratios == pytest.approx([(1 - p) ** (2 * k) for k in range(1, 5)], rel=1e-12)


def test_factors_of_different_number_are_refused():
    with pytest.raises(ValueError, match="argument 2 is longer"):
        product_variances([0.0], [1.0, 1.0])
