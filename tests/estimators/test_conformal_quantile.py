"""The conformal quantile against counts by hand."""

import math

import numpy as np
import pytest

from dropscope.estimators.conformal import conformal_quantile


@pytest.mark.parametrize("n", [9, 10, 19, 20, 99, 100, 101])
@pytest.mark.parametrize("percent", [10, 20, 25, 30, 45, 50, 70, 90])
def test_it_is_the_smallest_score_that_enough_are_below(n, percent, seed):
    scores = np.random.default_rng(seed).permutation(np.arange(1.0, n + 1))
    k = -(-(n + 1) * (100 - percent) // 100)  # ceil((n + 1)(1 - alpha)), in whole numbers
    assert k <= n
    assert conformal_quantile(scores[:, None], np.ones(n), percent / 100) == [k]


def test_every_output_has_its_own():
    scores = np.stack([np.arange(19.0), -np.arange(19.0)], axis=1)
    assert conformal_quantile(scores, np.ones(19), 0.1).tolist() == [17.0, -1.0]


def test_equal_weights_of_any_size_are_no_weights(seed):
    scores = np.random.default_rng(seed).normal(size=(37, 2))
    plain = conformal_quantile(scores, np.ones(37), 0.1)
    assert (conformal_quantile(scores, np.full(37, 0.1), 0.1) == plain).all()
    assert (conformal_quantile(scores, np.full(37, 1e9 / 3), 0.1) == plain).all()


def test_weights_count():
    # The sum is 10, a mean row 2: half of 12 is reached with 3 + 3.
    scores, weights = np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]), np.array([3.0, 3.0, 1.0, 1.0, 2.0])
    assert conformal_quantile(scores, weights, 0.5) == [2.0]
    assert conformal_quantile(scores, weights, 0.49) == [3.0]
    assert conformal_quantile(scores[::-1], weights[::-1], 0.5) == [2.0]


@pytest.mark.parametrize("n", [1, 8, 9, 19])
def test_too_few_rows_are_an_error_and_one_more_is_none(n):
    with pytest.raises(ValueError, match=rf"`alpha` must be at least .* with {n} held-out rows"):
        conformal_quantile(np.zeros((n, 1)), np.ones(n), 0.999 / (n + 1))
    assert conformal_quantile(np.arange(float(n))[:, None], np.ones(n), 1 / (n + 1)) == [n - 1]


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 2, math.nan])
def test_alpha_is_a_share(alpha):
    with pytest.raises(ValueError, match=r"`alpha` must be a number between 0 and 1"):
        conformal_quantile(np.zeros((9, 1)), np.ones(9), alpha)
