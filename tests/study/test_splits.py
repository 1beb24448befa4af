"""The cuts: test rows fixed for the study, parts disjoint, groups whole, time forward, classes in proportion."""

import numpy as np
import pytest

from dropscope.errors import BadTable
from dropscope.study import Options
from dropscope.study.splits import PARTS, Cutter

OPTIONS = Options()


def parts(cutter, seed):
    cut = cutter.cut(seed)
    return [getattr(cut, part) for part in PARTS]


def assert_disjoint(cutter, seed):
    rows = np.concatenate([*parts(cutter, seed), cutter.test])
    assert len(rows) == len(set(rows.tolist()))


def test_shares_are_as_asked():
    cutter = Cutter(1000, OPTIONS)
    assert len(cutter.test) == 200
    assert [len(rows) for rows in parts(cutter, 3)] == [480, 160, 160]


@pytest.mark.parametrize("seed", range(3))
def test_parts_are_disjoint_and_complete(seed):
    cutter = Cutter(1003, OPTIONS)
    assert_disjoint(cutter, seed)
    assert sum(map(len, parts(cutter, seed))) + len(cutter.test) == 1003


def test_the_test_rows_depend_on_the_study_seed_alone():
    one, two = Cutter(500, OPTIONS), Cutter(500, Options(seeds=9, width=7))
    assert np.array_equal(one.test, two.test)
    assert not np.array_equal(one.test, Cutter(500, Options(study_seed=1)).test)


def test_seeds_cut_differently_and_repeatably():
    cutter = Cutter(500, OPTIONS)
    assert np.array_equal(cutter.cut(1).fit, cutter.cut(1).fit)
    assert not np.array_equal(cutter.cut(1).fit, cutter.cut(2).fit)


def test_groups_are_never_divided(seed):
    groups = np.random.default_rng(seed).integers(0, 60, 900)
    cutter = Cutter(900, OPTIONS, groups=groups)
    assert_disjoint(cutter, 0)
    seen = [set(groups[rows].tolist()) for rows in [*parts(cutter, 0), cutter.test]]
    assert sum(map(len, seen)) == len(set.union(*seen))
    assert 0.1 < len(cutter.test) / 900 < 0.3


@pytest.mark.parametrize("trial", range(4))
def test_time_only_runs_forward(seed, trial):
    times = np.random.default_rng(seed).integers(0, 200, 900)
    cutter = Cutter(900, OPTIONS, times=times)
    fit, stop, select = (times[rows] for rows in parts(cutter, trial))
    assert fit.max() < stop.min()
    assert stop.max() < select.min()
    assert select.max() < times[cutter.test].min()


def test_classes_keep_their_shares(seed):
    classes = (np.random.default_rng(seed).random(1000) < 0.1).astype(int)
    cutter = Cutter(1000, OPTIONS, classes=classes)
    for rows in [*parts(cutter, 0), cutter.test]:
        assert abs(classes[rows].sum() - classes.mean() * len(rows)) <= 2


def test_classes_keep_their_shares_in_groups_of_one_row(seed):
    generator = np.random.default_rng(seed)
    classes = (generator.random(1000) < 0.1).astype(int)
    cutter = Cutter(1000, OPTIONS, classes=classes, groups=generator.permutation(1000))
    assert abs(classes[cutter.test].sum() - classes.mean() * 200) <= 2


def test_a_given_split_is_obeyed():
    given = np.resize(["train", "train", "test"], 300)
    cutter = Cutter(300, OPTIONS, given=given)
    assert np.array_equal(cutter.test, np.flatnonzero(given == "test"))
    assert_disjoint(cutter, 0)
    full = np.resize(["fit", "stop", "select", "test"], 300)
    assert np.array_equal(Cutter(300, OPTIONS, given=full).cut(5).select, np.flatnonzero(full == "select"))


def test_other_words_in_the_split_column_are_refused():
    with pytest.raises(BadTable, match="must hold `train` and `test`"):
        Cutter(4, OPTIONS, given=np.array(["train", "valid", "test", "test"]))


def test_a_part_without_rows_is_refused():
    with pytest.raises(BadTable, match="rows must be two or more"):
        Cutter(100, OPTIONS, groups=np.zeros(100, int))
