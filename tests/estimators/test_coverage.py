"""Intervals and sets hold what they promise, on data whose noise the network cannot know."""

import numpy as np
import pytest
from small_models import classifier, regressor

ROWS, NEW, REPEATS = 60, 40, 150


def coverage(model, draw, covers, alpha, seed):
    """The share of new rows that are covered, once for each of many models on rows of their own."""
    random = np.random.default_rng(seed)
    shares = []
    for repeat in range(REPEATS):
        x, y = draw(random, ROWS + NEW)
        fitted = model.set_params(random_state=repeat).fit(x[:ROWS], y[:ROWS])
        shares.append(covers(fitted, x[ROWS:], y[ROWS:], alpha).mean())
    return np.array(shares)


def skewed(random, rows):
    """Noise that is skewed and grows along one column."""
    x = random.normal(size=(rows, 2))
    return x, x[:, 0] + np.exp(x[:, 1]) * (random.exponential(size=rows) - 1)


def mixed_up(random, rows):
    """Four classes, one of them rare, that overlap."""
    y = random.choice(4, rows, p=[0.4, 0.3, 0.25, 0.05])
    return random.normal(size=(rows, 2)) + 1.5 * np.stack([y % 2, y // 2], axis=1), y


def in_interval(model, x, y, alpha):
    low, high = model.predict_interval(x, alpha).T
    return (low <= y) & (y <= high)


def in_set(model, x, y, alpha):
    # A class that no row of this small table had is in no set.
    places = np.searchsorted(model.classes_, y).clip(max=len(model.classes_) - 1)
    known = model.classes_[places] == y
    return known & model.predict_set(x, alpha)[np.arange(len(y)), places]


@pytest.mark.parametrize(("alpha", "n"), [(0.1, 18), (0.3, 18)])
def test_new_rows_lie_in_their_intervals_as_often_as_promised(alpha, n, seed):
    model = regressor(p=0.2, max_iter=2, calibration_fraction=n / ROWS)
    shares = coverage(model, skewed, in_interval, alpha, seed)
    # Exchangeable rows without ties: exactly k / (n + 1), within [1 - alpha, 1 - alpha + 1 / (n + 1)].
    expected = np.ceil((n + 1) * (1 - alpha) - 1e-9) / (n + 1)
    assert 1 - alpha <= expected <= 1 - alpha + 1 / (n + 1)
    assert abs(shares.mean() - expected) < 5 * shares.std() / np.sqrt(REPEATS)


def test_the_right_class_is_in_its_set_as_often_as_promised(seed):
    model = classifier(p=0.2, max_iter=2, calibration_fraction=0.3)
    shares = coverage(model, mixed_up, in_set, 0.2, seed)
    expected = 16 / 19  # ceil(19 · 0.8) of the 18 scores and the new one
    assert abs(shares.mean() - expected) < 5 * shares.std() / np.sqrt(REPEATS)
