"""Sample weights: rows of weight 0 are not there, and all that is measured is weighted."""

import numpy as np
import pytest
from small_models import classifier, product, regressor, words


@pytest.mark.parametrize("make", [regressor, classifier])
def test_a_row_of_weight_zero_is_not_there(make, seed):
    x, y = product(seed)
    y = words(y) if make is classifier else y
    weights = np.random.default_rng(seed).integers(0, 3, len(y)) * 0.7
    kept = weights > 0
    model = make().fit(x, y, sample_weight=weights)
    without = make().fit(x[kept], y[kept], sample_weight=weights[kept])
    assert (model.predict(x) == without.predict(x)).all()
    assert (model.calibration_scores_ == without.calibration_scores_).all()


def test_equal_weights_are_no_weights(seed):
    x, y = product(seed)
    plain, weighted = regressor().fit(x, y), regressor().fit(x, y, sample_weight=np.full(120, 4.0))
    np.testing.assert_allclose(weighted.predict_interval(x, 0.2), plain.predict_interval(x, 0.2), rtol=1e-9)


def test_noise_is_the_weighted_mean_on_the_validation_rows(seed):
    x, y = product(seed, noise=1.0)
    weights = np.random.default_rng(seed).uniform(0.1, 5, 120)
    model = regressor(p=0, calibration_fraction=0).fit(x, y, sample_weight=weights)
    random = np.random.RandomState(0)
    random.randint(2**31 - 1)
    held = random.permutation(120)[:12]
    expected = np.average(np.square(y[held] - model.predict(x[held])), weights=weights[held])
    np.testing.assert_allclose(model.noise_variance_, [expected], rtol=1e-12)


def test_rows_that_weigh_more_are_fitted_better(seed):
    x, _ = product(seed, rows=400)
    half = np.arange(400) < 200
    y = np.where(half, x[:, 0], -x[:, 0])  # no network can fit both halves
    model = regressor(p=0, max_iter=20).fit(x, y, sample_weight=np.where(half, 20.0, 1.0))
    errors = np.square(model.predict(x) - y)
    assert errors[half].mean() < 0.2 * errors[~half].mean()


def test_intervals_cover_by_weight(seed):
    # Rows of little weight are far off: they hardly widen the interval.
    x, y = product(seed, rows=300)
    off = np.random.default_rng(seed).random(300) < 0.3
    y = y + 100 * off * np.random.default_rng(seed).choice([-1, 1], 300)
    model = regressor(calibration_fraction=0.3, p=0).fit(x, y, sample_weight=np.where(off, 1e-3, 1.0))
    assert np.diff(model.predict_interval(x, 0.2)).max() < 30
    equal = regressor(calibration_fraction=0.3, p=0).fit(x, y)
    assert np.diff(equal.predict_interval(x, 0.2)).min() > 30


def test_the_score_takes_weights(seed):
    x, y = product(seed)
    model = regressor().fit(x, y)
    kept = np.arange(120) < 60
    assert model.score(x, y, sample_weight=kept) == pytest.approx(model.score(x[kept], y[kept]))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(120), "weights must contain at least one non-zero number"),
        (np.eye(120)[0], "`X` must have two rows or more of positive weight"),
        (np.full(120, -1.0), "[Nn]egative values"),
        (np.full(120, np.nan), "contains NaN"),
        (np.ones(119), "sample_weight.shape"),
    ],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        regressor().fit(*product(0), sample_weight=weights)
