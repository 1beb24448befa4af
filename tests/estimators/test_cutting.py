"""Rows are cut into parts of the right sizes, at random where that is promised."""

import numpy as np
import pytest

from dropscope.estimators.cutting import cut_rows


@pytest.mark.parametrize("rows", [2, 3, 7, 20, 101])
@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.4, 0.4), (0.1, 0.0), (0.0, 0.3)])
@pytest.mark.parametrize("many", [False, True])
def test_every_row_is_in_one_part(rows, shares, many, seed):
    random = np.random.RandomState(seed)
    classes = random.randint(3, size=rows) if many else None
    cut = cut_rows(rows, *shares, random, classes)
    parts = cut.fit, cut.validation, cut.calibration
    assert sorted(np.concatenate(parts)) == list(range(rows))
    assert len(cut.fit) > 0
    assert len(cut.validation) == (max(1, round(shares[0] * rows)) if shares[0] else 0)
    assert len(cut.calibration) == int(shares[1] * rows)
    assert all((np.diff(part) > 0).all() for part in parts)


def test_validation_rows_keep_the_shares_of_the_classes(seed):
    classes = np.repeat([0, 1, 2], [600, 300, 100])
    cut = cut_rows(1000, 0.1, 0.0, np.random.RandomState(seed), classes)
    assert np.abs(np.bincount(classes[cut.validation]) - [60, 30, 10]).max() <= 1


def test_the_last_row_of_a_class_is_never_a_validation_row(seed):
    random = np.random.RandomState(seed)
    for _ in range(50):
        classes = np.array([0] * 30 + [1, 2, 2])
        cut = cut_rows(33, 0.4, 0.0, random, classes)
        assert set(classes[cut.fit]) == {0, 1, 2}


def test_all_rows_calibrate_alike_whatever_their_class(seed):
    random, repeats = np.random.RandomState(seed), 4000
    classes = np.array([0] * 15 + [1] * 4 + [2])
    chosen = np.concatenate([cut_rows(20, 0.2, 0.25, random, classes).calibration for _ in range(repeats)])
    error = np.sqrt(repeats * 0.25 * 0.75)
    assert np.abs(np.bincount(chosen, minlength=20) - 0.25 * repeats).max() < 5 * error
