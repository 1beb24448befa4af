"""Categories of many levels: the closed forms of their effects, no target where it must not be, and what is gained."""

import json

import numpy as np
import polars
import pytest
from sklearn.linear_model import RidgeCV

from dropscope.study import Options
from dropscope.study.level_effects import as_targets, cross_fitted, level_effects
from dropscope.study.preprocess import Encoder
from dropscope.study.problem import pose
from dropscope.study.schema import MAX_ONE_HOT, with_levels

LEVELS = 2000


def table(seed, rows=20_000, classes=0):
    generator = np.random.default_rng(seed)
    effect, code = generator.normal(size=LEVELS), generator.integers(0, LEVELS, rows)
    x = generator.normal(size=rows)
    y = effect[code] + x + 0.5 * generator.normal(size=rows)
    target = y if not classes else [f"class{k}" for k in np.searchsorted([-1, 1][: classes - 1], y)]
    return polars.DataFrame({"x": x, "c": [f"v{k}" for k in code], "y": target})


class TestEffects:
    def test_balanced_levels_shrink_as_the_analysis_of_variance_says(self, seed):
        generator = np.random.default_rng(seed)
        codes = np.repeat(np.arange(30), 8)
        y = 2 * generator.normal(size=30)[codes] + generator.normal(size=240)
        means = y.reshape(30, 8).mean(1)
        within = y.reshape(30, 8).var(1, ddof=1).mean()
        between = means.var(ddof=1) - within / 8
        expected = (means - y.mean()) * between / (between + within / 8)
        assert np.allclose(level_effects(codes, y[:, None], 30)[:, 0], expected)

    def test_levels_that_say_nothing_are_zero(self):
        codes, y = np.repeat(np.arange(4), 2), np.array([[1.0], [-1.0]] * 4)
        assert (level_effects(codes, y, 4) == 0).all()
        assert (level_effects(np.arange(5), np.arange(5.0)[:, None], 5) == 0).all()  # one row each
        assert (level_effects(np.zeros(5, int), np.arange(5.0)[:, None], 2) == 0).all()  # one level

    def test_unknown_levels_are_left_out(self, seed):
        generator = np.random.default_rng(seed)
        codes, y = generator.integers(-1, 5, 100), generator.normal(size=(100, 2))
        known = codes >= 0
        assert np.array_equal(level_effects(codes, y, 5), level_effects(codes[known], y[known], 5))
        assert (cross_fitted(codes, y, 5)[~known] == 0).all()

    def test_no_row_enters_its_own_effect(self, seed):
        generator = np.random.default_rng(seed)
        codes = generator.integers(0, 9, 100)
        y = codes[:, None] + generator.normal(size=(100, 1))
        before = cross_fitted(codes, y, 9)
        for row in (0, 17, 99):
            other = y.copy()
            other[row] += 1
            assert cross_fitted(codes, other, 9)[row] == before[row]
            assert (cross_fitted(codes, other, 9) != before).any()

    def test_two_classes_are_one_column_and_more_are_one_each(self):
        assert as_targets(np.array([0, 1, 1]), 2).tolist() == [[0], [1], [1]]
        assert as_targets(np.array([0.5, 2]), 0).tolist() == [[0.5], [2]]
        assert as_targets(np.array([0, 2]), 3).tolist() == [[1, 0, 0], [0, 0, 1]]


class TestInputs:
    @pytest.mark.parametrize(("classes", "width"), [(0, 1), (2, 1), (3, 3)])
    def test_a_category_is_one_group_and_survives_json(self, seed, classes, width):
        frame = table(seed, 4000, classes)
        problem = pose(frame, "y", Options())
        data = problem.seed_data(0)
        assert problem.schema.by_target == ("c",)
        assert data.encoder.columns == (0, *[1] * width)
        kept = Encoder.from_dict(json.loads(json.dumps(data.encoder.to_dict())))
        new = np.setdiff1d(np.arange(4000), data.cut.fit)
        assert np.array_equal(kept.transform(kept.schema.raw(frame))[new], data.x[new])
        assert np.allclose(data.x[data.cut.fit, 1:].std(0), 1, atol=1e-4)

    def test_targets_of_rows_that_are_not_fitted_never_enter(self, seed):
        frame = table(seed, 4000)
        problem = pose(frame, "y", Options())
        data = problem.seed_data(1)
        y = frame["y"].to_numpy().copy()
        new = np.setdiff1d(np.arange(4000), data.cut.fit)
        y[new] = np.random.default_rng(seed).normal(size=len(new))
        assert np.array_equal(pose(frame.with_columns(y=y), "y", Options()).seed_data(1).x, data.x)

    def test_only_the_largest_categories_are_encoded_so(self, seed):
        frame = table(seed, 4000).with_columns(
            d=polars.Series([f"d{i % 400}" for i in range(4000)]), e=polars.Series([f"e{i % 100}" for i in range(4000)])
        )
        schema = pose(frame, "y", Options()).schema
        assert schema.by_target == ("c",)
        assert [len(schema.levels[name]) for name in "de"] == [400, 100]

    def test_without_targets_rare_levels_become_one(self, seed):
        schema = pose(table(seed, 4000), "y", Options()).schema
        notes = []
        capped = with_levels(schema, table(seed, 4000), notes)
        assert len(capped.levels["c"]) == MAX_ONE_HOT
        assert capped.levels["c"][-1] == "(other)"
        assert "rare levels became" in notes[0]

    def test_two_thousand_levels_say_more_than_the_most_frequent_of_them(self, seed):
        """The residual of a ridge fit falls from that of capping by more than a tenth."""
        frame = table(seed)
        problem = pose(frame, "y", Options())
        data = problem.seed_data(0)
        notes = []
        capped = with_levels(type(problem.schema)(problem.target, ("x",), {"c": ()}), frame[data.cut.fit], notes)
        raw = capped.raw(frame)
        one_hot = Encoder.fit(capped, raw[data.cut.fit], np.zeros(1, bool)).transform(raw)
        assert _error(data.x, problem.y, data.cut) < 0.9 * _error(one_hot, problem.y, data.cut)


def _error(x, y, cut):
    model = RidgeCV(np.logspace(-2, 4, 7)).fit(x[cut.fit], y[cut.fit])
    return np.sqrt(np.square(model.predict(x[cut.select]) - y[cut.select]).mean())
