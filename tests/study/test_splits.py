"""The cuts: test rows fixed for the study, parts disjoint, groups whole, time forward, classes in proportion."""

import numpy as np
import pytest

from dropscope.errors import BadTable
from dropscope.study import Options, splits
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


def test_the_last_network_stops_on_the_newest_rows_and_fits_all_others(seed):
    times = np.random.default_rng(seed).integers(0, 200, 900)
    cutter = Cutter(900, OPTIONS, times=times)
    cut = cutter.last()
    assert times[cut.fit].max() < times[cut.stop].min()
    assert np.array_equal(np.sort(np.concatenate([cut.fit, cut.stop])), cutter.rest)
    assert not len(cut.select)


def test_the_last_network_also_fits_what_would_score():
    cutter = Cutter(900, OPTIONS)
    first, cut = cutter.cut(0), cutter.last()
    assert np.array_equal(cut.fit, np.sort(np.concatenate([first.fit, first.select])))
    assert np.array_equal(cut.stop, first.stop)


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


class TestManyRows:
    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch):
        monkeypatch.setattr(splits, "MOST_ROWS", 50)

    @pytest.mark.parametrize("use", ["plain", "classes", "groups", "times"])
    def test_scored_rows_are_drawn_from_those_of_a_smaller_study(self, seed, monkeypatch, use):
        values = np.random.default_rng(seed).integers(0, 120, 1000)
        key = {} if use == "plain" else {use: values % 3 if use == "classes" else values}
        few = Cutter(1000, OPTIONS, **key)
        monkeypatch.setattr(splits, "MOST_ROWS", 1000)
        every = Cutter(1000, OPTIONS, **key)
        assert (few.samples, every.samples) == (True, False)
        assert len(few.test) == 50
        assert set(few.test) < set(every.test)
        assert np.array_equal(few.rest, every.rest)
        expected = parts(every, 2)
        monkeypatch.setattr(splits, "MOST_ROWS", 50)
        fit, *scored = parts(few, 2)
        assert np.array_equal(fit, expected[0])
        for rows, whole in zip(scored, expected[1:], strict=True):
            assert len(rows) == 50
            assert set(rows) < set(whole)
            assert (np.diff(rows) > 0).all()

    def test_each_seed_draws_others_and_all_is_repeatable(self):
        cutter = Cutter(1000, OPTIONS)
        assert np.array_equal(cutter.cut(1).stop, Cutter(1000, OPTIONS).cut(1).stop)
        assert not np.array_equal(cutter.test, Cutter(1000, Options(study_seed=1)).test)

    def test_rows_that_the_table_names_are_all_kept(self):
        full = np.resize(["fit", "stop", "select", "test"], 1000)
        cutter = Cutter(1000, OPTIONS, given=full)
        assert not cutter.samples
        assert len(cutter.test) == len(cutter.cut(0).select) == 250
