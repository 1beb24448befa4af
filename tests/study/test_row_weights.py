"""Sample weights and class weights: equal ones change nothing, whole ones are rows repeated, bad ones are refused."""

import numpy as np
import polars
import pytest
from sklearn import metrics
from sklearn.utils.class_weight import compute_sample_weight

from dropscope import study
from dropscope.errors import BadTable
from dropscope.study import Options
from dropscope.study.metrics import score
from dropscope.study.problem import pose
from dropscope.study.weights import class_weights

SMALL = {"p_input": (), "p_hidden": (0.3,), "pair": (), "seeds": 2, "epochs": 4, "width": 8, "depth": 1,
         "budget": 13_000, "batch_size": 20, "lr": 0.01}  # fmt: skip
TIMINGS = {"seconds", "pid"}


def table(seed=0, rows=200):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 3))
    return polars.DataFrame({**{f"x{j}": x[:, j] for j in range(3)}, "y": x[:, 0] + 0.5 * generator.normal(size=rows)})


def untimed(result):
    return [{name: value for name, value in trial.items() if name not in TIMINGS} for trial in result.trials]


@pytest.mark.parametrize("level", [1, 0.1, 3e8])
@pytest.mark.parametrize("target", ["numbers", "classes"])
def test_equal_weights_reproduce_the_plain_study_bitwise(level, target):
    frame = table()
    if target == "classes":
        frame = frame.with_columns(y=polars.when(polars.col("y") > 0).then(polars.lit("u")).otherwise(polars.lit("v")))
    plain = study.run(frame, "y", **SMALL)
    weighted = study.run(frame.with_columns(w=polars.lit(level)), "y", weight_column="w", **SMALL)
    assert untimed(weighted) == untimed(plain)  # keys too, and by them the masks
    assert weighted.references == plain.references
    assert weighted.refit == plain.refit


def test_weights_beside_a_table_are_those_of_a_column(seed):
    counts = np.random.default_rng(seed).random(200)
    column = study.run(table().with_columns(w=counts), "y", weight_column="w", **SMALL)
    beside = study.run(table(), "y", weights=counts, **SMALL)
    assert untimed(column) == untimed(beside)
    assert column.features == beside.features == ("x0", "x1", "x2")
    assert untimed(column) != untimed(study.run(table(), "y", **SMALL))


def test_halving_trains_those_that_stay_alike(tmp_path):
    counts = np.random.default_rng(1).random(200)
    plain = study.run(table(), "y", weights=counts, **SMALL)
    halved = study.run(table(), "y", weights=counts, halving=True, **SMALL)
    for one, other in zip(untimed(plain), untimed(halved), strict=True):
        if other["left_at"] is None:
            assert one == other


class TestScores:
    @pytest.mark.parametrize("task", ["regression", "classification"])
    def test_whole_weights_are_rows_repeated(self, task, seed):
        generator = np.random.default_rng(seed)
        counts = generator.integers(1, 5, 60)
        y, outputs = generator.normal(size=60), generator.normal(size=60)
        if task == "classification":
            y, outputs = generator.integers(0, 3, 60), generator.normal(size=(60, 3))
        weighted = score(task, outputs, y, weights=counts)
        repeated = score(task, np.repeat(outputs, counts, 0), np.repeat(y, counts))
        assert weighted == pytest.approx(repeated)

    def test_they_are_those_of_scikit_learn(self, seed):
        generator = np.random.default_rng(seed)
        y, outputs, counts = generator.normal(size=50), generator.normal(size=50), generator.random(50)
        found = score("regression", outputs, y, weights=counts)
        assert found["r2"] == pytest.approx(metrics.r2_score(y, outputs, sample_weight=counts))
        assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, outputs, sample_weight=counts))


class TestProblem:
    def test_targets_are_scaled_by_weighted_rows(self, seed):
        counts = np.random.default_rng(seed).integers(1, 9, 200)
        frame = table().with_columns(w=counts)
        data = pose(frame, "y", Options(weight_column="w")).seed_data(0)
        repeated = np.repeat(frame["y"].to_numpy()[data.cut.fit], counts[data.cut.fit])
        assert (data.mean, data.scale) == pytest.approx((repeated.mean(), repeated.std()))

    def test_rows_of_weight_zero_are_left_out(self):
        kept = np.arange(200) % 4 > 0
        frame = table().with_columns(w=polars.Series(kept.astype(float)))
        y = np.where(kept, frame["y"].to_numpy(), 1e9)
        weighted = pose(frame.with_columns(y=y), "y", Options(weight_column="w"))
        assert "50 rows of weight 0 were left out." in weighted.notes
        assert np.array_equal(weighted.y, frame["y"].to_numpy()[kept])
        assert weighted.weights is None  # the others are alike
        assert weighted.fingerprint == pose(frame.drop("w").filter(kept), "y", Options()).fingerprint

    def test_other_weights_are_another_study(self):
        one, two = (
            pose(table().with_columns(w=np.random.default_rng(s).random(200)), "y", Options(weight_column="w"))
            for s in (0, 1)
        )
        assert one.fingerprint != two.fingerprint

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([-1.0, *[1.0] * 199], "must not be negative, got -1"),
            ([float("nan"), *[1.0] * 199], "must have a finite number in each"),
            ([float("inf"), *[1.0] * 199], "must have a finite number in each"),
            ([None, *[1.0] * 199], "must have a finite number in each"),
            ([0.0] * 200, "got zeros alone"),
            (["a", "b"] * 100, "must hold numbers, got String"),
            ([0.0] * 160 + [1.0] * 40, "at least 50 rows, got 40"),
        ],
    )
    def test_what_is_no_weight_is_refused(self, values, message):
        with pytest.raises(BadTable, match=message):
            pose(table().with_columns(w=polars.Series(values)), "y", Options(weight_column="w"))

    def test_weights_of_another_length_or_twice_are_refused(self):
        with pytest.raises(ValueError, match="`weights` must be one number for each of 200 rows"):
            study.run(table(), "y", weights=np.ones(3), **SMALL)
        with pytest.raises(ValueError, match="`weights` and `weight_column` say the same thing"):
            study.run(table(), "y", weights=np.ones(200), weight_column="x0", **SMALL)

    def test_the_target_cannot_weigh(self):
        with pytest.raises(BadTable, match="`y` is the target"):
            pose(table().with_columns(y=polars.col("y").abs()), "y", Options(weight_column="y"))


class TestClasses:
    @staticmethod
    def labelled(seed=0, share=0.02, rows=1000):
        rare = np.arange(rows) < share * rows
        x = np.random.default_rng(seed).normal(size=(rows, 2)) + rare[:, None]
        return polars.DataFrame({"x0": x[:, 0], "x1": x[:, 1], "y": np.where(rare, "rare", "usual")})

    def test_classes_weigh_as_scikit_learn_says(self, seed):
        y = np.random.default_rng(seed).choice(3, 300, p=[0.1, 0.2, 0.7])
        y[:3] = [0, 1, 2]
        every = np.arange(300)
        assert np.allclose(class_weights(y, None, every), compute_sample_weight("balanced", y))
        counts = np.random.default_rng(seed).integers(1, 4, 300)
        repeated = compute_sample_weight("balanced", np.repeat(y, counts))[np.cumsum(counts) - 1]
        assert np.allclose(class_weights(y, counts.astype(float), every), repeated)

    def test_a_class_that_does_not_fit_counts_one(self):
        assert class_weights(np.array([0, 0, 1, 2]), None, np.array([0, 1, 2])).tolist() == [0.75, 0.75, 1.5, 1]

    def test_weights_are_learned_on_fit_rows(self):
        data = pose(self.labelled(), "y", Options(class_weight="balanced")).seed_data(0)
        y = self.labelled()["y"].to_numpy()
        assert np.allclose(data.weights[data.cut.fit], compute_sample_weight("balanced", y[data.cut.fit]))

    def test_balanced_classes_are_all_found(self):
        result = study.run(self.labelled(share=0.06), "y", class_weight="balanced", **{**SMALL, "epochs": 20})
        plain = study.run(self.labelled(share=0.06), "y", **{**SMALL, "epochs": 20})
        assert result.references[0]["select"][0]["log_loss"] == pytest.approx(np.log(2), abs=0.02)
        balanced, usual = (np.mean([t["select"]["balanced_error"] for t in one.trials]) for one in (result, plain))
        assert balanced < usual - 0.05

    def test_a_rare_class_is_said(self):
        said = "`rare` is the rarest class of `y`, 2 % of the rows"
        assert any(said in note for note in pose(self.labelled(), "y", Options()).notes)
        for options, share in (({"class_weight": "balanced"}, 0.02), ({}, 0.2)):
            assert not any(
                said[:20] in note for note in pose(self.labelled(share=share), "y", Options(**options)).notes
            )

    def test_many_classes_of_equal_size_are_not_rare(self):
        frame = self.labelled().with_columns(y=polars.Series([f"c{i % 40:02d}" for i in range(1000)]))
        assert not any("rarest" in note for note in pose(frame, "y", Options()).notes)
