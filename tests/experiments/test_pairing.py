"""Paired comparison: against scipy's own t test, by hand, and by its coverage."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_rel

from dropscope.experiments.pairing import paired


def test_t_is_that_of_scipy(seed):
    ours, theirs = np.random.default_rng(seed).normal(2, 1, size=(2, 20))
    pairs = paired(ours, theirs)
    assert math.isclose(pairs.t, ttest_rel(ours, theirs).statistic, rel_tol=1e-9)
    assert math.isclose(pairs.difference, ours.mean() - theirs.mean(), rel_tol=1e-9, abs_tol=1e-15)


def test_the_interval_by_hand():
    pairs = paired(np.array([1.0, 3.0]), np.array([1.0, 1.0]))  # ratio 2, residuals -1 and 1, standard error 1
    assert pairs.t == 1
    assert pairs.ratio == 2
    assert math.isclose(pairs.high - 2, 12.7062047, rel_tol=1e-8)  # Student's 97.5 % point with one degree of freedom
    assert math.isclose(2 - pairs.low, 12.7062047, rel_tol=1e-8)


def test_what_both_share_does_not_widen_the_interval():
    theirs = np.array([1.0, 5.0, 20.0])
    assert paired(1.1 * theirs, theirs).high == pytest.approx(1.1, abs=1e-12)


def test_equal_series_have_no_t():
    pairs = paired(np.ones(4), np.ones(4))
    assert (pairs.t, pairs.ratio, pairs.low, pairs.high) == (0, 1, 1, 1)


def test_the_interval_covers_the_ratio_as_often_as_it_says(seed):
    generator = np.random.default_rng(seed)
    draws = 2_000
    hits = 0
    for _ in range(draws):
        difficulty = generator.normal(10, 2, size=20)
        noise = generator.normal(0, 0.5, size=(2, 20))
        pairs = paired(1.2 * difficulty + noise[0], difficulty + noise[1])
        hits += pairs.low <= 1.2 <= pairs.high
    # The delta method itself is good to about a percent here.
    assert abs(hits / draws - 0.95) < 0.01 + 5 * math.sqrt(0.95 * 0.05 / draws)


@pytest.mark.parametrize(("ours", "theirs"), [(np.ones(3), np.ones(2)), (np.ones(1), np.ones(1))])
def test_series_must_match(ours, theirs):
    with pytest.raises(ValueError, match="equally long, at least 2"):
        paired(ours, theirs)
