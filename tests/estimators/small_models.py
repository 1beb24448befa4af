"""Small data and small estimators: a fit takes a fraction of a second."""

import numpy as np

from dropscope.estimators import DropoutClassifier, DropoutRegressor

SMALL = {"width": 8, "depth": 1, "lr": 0.02, "batch_size": 16, "max_iter": 6, "n_samples": 8, "random_state": 0}


def regressor(**changed):
    return DropoutRegressor(**SMALL | changed)


def classifier(**changed):
    return DropoutClassifier(**SMALL | changed)


def product(seed, rows=120, noise=0.3):
    """Three columns and a target with an interaction and noise."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 3))
    return x, x[:, 0] * x[:, 1] + 2 * x[:, 2] + noise * random.normal(size=rows)


def words(y):
    """Three unequal classes of a target."""
    return np.array(["low", "middle", "high"])[np.digitize(y, [-1.0, 1.5])]
