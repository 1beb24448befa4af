"""Several targets, labels and quantiles: closed forms of their scores, whole studies, and what is refused."""

import json

import numpy as np
import pandas
import polars
import pytest
from sklearn import metrics

from dropscope import study
from dropscope.errors import BadTable
from dropscope.study import Options
from dropscope.study.metrics import Scorer, score
from dropscope.study.problem import pose
from dropscope.study.table import as_frame
from dropscope.study.targets import Target

SMALL = {"p_input": (), "p_hidden": (0.3,), "pair": (), "seeds": 2, "epochs": 30, "width": 16, "depth": 1,
         "budget": 13_000, "batch_size": 20, "lr": 0.01}  # fmt: skip


def table(seed=0, rows=240):
    generator = np.random.default_rng(seed)
    x, noise = generator.normal(size=(rows, 3)), 0.3 * generator.normal(size=(rows, 2))
    return polars.DataFrame(
        {
            **{f"x{j}": x[:, j] for j in range(3)},
            "long": 1000 * (x[:, 0] + noise[:, 0]) + 5000,
            "short": 0.01 * (x[:, 1] * x[:, 2] + x[:, 1] + noise[:, 1]),
            "ill": np.where(x[:, 0] + noise[:, 0] > 0, "yes", "no"),
            "old": (x[:, 1] + noise[:, 1] > 1).astype(int),
        }
    )


SIGMAS = 5
NUMBERS, LABELS = table().drop("ill", "old"), table().drop("long", "short")


class TestReading:
    @pytest.mark.parametrize("target", ["long,short", "long, short", ["long", "short"], ("long,short",)])
    def test_several_names_are_given_in_any_way(self, target):
        assert as_frame(NUMBERS, target)[1] == ("long", "short")

    def test_a_column_may_have_a_comma_in_its_name(self):
        assert as_frame(NUMBERS.rename({"long": "long, mm"}), "long, mm")[1] == ("long, mm",)

    @pytest.mark.parametrize("kind", [np.array, pandas.DataFrame, polars.DataFrame])
    def test_targets_may_be_a_table_of_their_own(self, kind):
        y = NUMBERS.select("long", "short").to_numpy()
        names = ("target0", "target1")
        frame, targets = as_frame(
            NUMBERS.select("x0"), kind(y) if kind is np.array else kind({n: y[:, j] for j, n in enumerate(names)})
        )
        assert targets == names
        assert np.array_equal(frame.select(names).to_numpy(), y)

    def test_a_list_of_words_as_long_as_the_table_holds_classes(self):
        frame, targets = as_frame(LABELS.drop("ill", "old"), LABELS["ill"].to_list())
        assert targets == ("target",)
        assert frame["target"].to_list() == LABELS["ill"].to_list()

    @pytest.mark.parametrize(
        ("options", "loss", "outputs"),
        [({}, "multilabel", 2), ({"task": "classification"}, "multilabel", 2)],
    )
    def test_two_valued_targets_are_labels(self, options, loss, outputs):
        problem = pose(LABELS, ("ill", "old"), Options(**options))
        assert (problem.target.loss, problem.target.outputs) == (loss, outputs)
        assert problem.target.levels == (("no", "yes"), ("0", "1"))
        data = problem.seed_data(0)
        assert np.array_equal(data.y[:, 0] == 1, LABELS["ill"].to_numpy() == "yes")
        assert np.array_equal(data.y[:, 1], LABELS["old"].to_numpy())

    def test_every_target_is_standardised_by_the_fit_rows(self):
        data = pose(NUMBERS, ("long", "short"), Options()).seed_data(1)
        assert data.y.dtype == np.float32
        assert data.y[data.cut.fit].mean(0) == pytest.approx([0, 0], abs=1e-6)
        assert data.y[data.cut.fit].std(0) == pytest.approx([1, 1], abs=1e-6)
        assert data.mean == pytest.approx(NUMBERS.select("long", "short").to_numpy()[data.cut.fit].mean(0))

    def test_a_target_survives_json(self):
        for target in (
            Target(("a",), "regression"),
            Target(("a", "b"), "regression", quantile=0.9),
            Target(("a",), "classification", (("u", "v", "w"),)),
            Target(("a", "b"), "classification", (("u", "v"), ("0", "1"))),
        ):
            assert Target.from_dict(json.loads(json.dumps(target.to_dict()))) == target


class TestScores:
    def test_errors_are_averaged_in_standard_deviations(self, seed):
        generator = np.random.default_rng(seed)
        y, outputs, units = generator.normal(size=(50, 2)), generator.normal(size=(50, 2)), np.array([2.0, 0.1])
        scorer = Scorer(Target(("a", "b"), "regression"), y, units)
        each = scorer.each(outputs, np.arange(50))
        overall = scorer.overall(each)
        assert overall["rmse"] == pytest.approx(np.square((outputs - y) / units).mean() ** 0.5)
        assert overall["mae"] == pytest.approx(np.abs((outputs - y) / units).mean())
        assert overall["r2"] == pytest.approx(metrics.r2_score(y, outputs))
        assert each["b"]["rmse"] == pytest.approx(metrics.root_mean_squared_error(y[:, 1], outputs[:, 1]))

    def test_labels_are_averaged(self, seed):
        generator = np.random.default_rng(seed)
        y, logits = generator.integers(0, 2, (60, 3)), 3 * generator.normal(size=(60, 3))
        y[:2] = [[0, 0, 0], [1, 1, 1]]
        scorer = Scorer(Target(tuple("abc"), "classification", (("0", "1"),) * 3), y, np.ones(1))
        overall = scorer.overall(scorer.each(logits, np.arange(60)))
        chances = 1 / (1 + np.exp(-logits))
        losses = [metrics.log_loss(y[:, j], chances[:, j]) for j in range(3)]
        assert overall["log_loss"] == pytest.approx(np.mean(losses))
        assert overall["error"] == pytest.approx(metrics.hamming_loss(y, logits > 0))

    @pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
    def test_the_pinball_loss_is_that_of_scikit_learn(self, quantile, seed):
        generator = np.random.default_rng(seed)
        y, outputs, weights = generator.normal(size=(3, 40))
        for counts in (None, np.exp(weights)):
            found = score("regression", outputs, y, weights=counts, quantile=quantile)
            expected = metrics.mean_pinball_loss(y, outputs, alpha=quantile, sample_weight=counts)
            assert found["pinball"] == pytest.approx(expected)
            assert found["coverage"] == pytest.approx(np.average(y <= outputs, weights=counts))


class TestStudies:
    def test_numbers_are_predicted_in_their_own_units(self, tmp_path):
        result = study.run(NUMBERS, "long,short", out=tmp_path, **SMALL)
        assert (result.target, result.targets, result.metric) == ("long, short", ("long", "short"), "rmse")
        kept = study.load_model(tmp_path)
        predicted = kept.predict(NUMBERS.drop("long", "short"))
        assert kept.targets == ("long", "short")
        assert predicted.shape == (240, 2)
        for j, name in enumerate(kept.targets):
            assert metrics.r2_score(NUMBERS[name], predicted[:, j]) > 0.5
        test = pose(NUMBERS, ("long", "short"), Options.of(**SMALL)).cutter.test
        for j, name in enumerate(kept.targets):
            found = metrics.root_mean_squared_error(NUMBERS[name].to_numpy()[test], predicted[test, j])
            assert result.refit["by_target"][name]["rmse"] == pytest.approx(found)

    def test_scores_by_target_are_kept_and_make_the_whole(self, tmp_path):
        result = study.run(NUMBERS, ["long", "short"], out=tmp_path, **SMALL)
        problem = pose(NUMBERS, ("long", "short"), Options.of(**SMALL))
        units = problem.y[problem.cutter.rest].std(0)
        for row in (*result.trials, *({"select": r["select"][0], "by_target": {"select": r["by_target"]["select"][0]}}
                                      for r in result.references)):  # fmt: skip
            each = [row["by_target"]["select"][name]["rmse"] for name in ("long", "short")]
            assert row["select"]["rmse"] == pytest.approx(np.square(each / units).mean() ** 0.5)
        assert 0.9 < result.references[0]["select"][0]["rmse"] < 1.1  # the mean errs by a standard deviation
        again = study.StudyResult.load(tmp_path / "result.json")
        assert again.targets == result.targets
        more = study.run(NUMBERS, ["long", "short"], out=tmp_path, **SMALL)
        assert more.trials == result.trials  # timings too: they were read

    def test_a_target_alone_has_the_scores_of_a_plain_study(self, tmp_path):
        one, two = (study.run(NUMBERS.drop("short"), name, **SMALL) for name in ("long", ["long"]))
        assert [t["select"] for t in one.trials] == [t["select"] for t in two.trials]
        assert "by_target" not in one.trials[0]

    def test_labels_are_predicted_by_name(self, tmp_path):
        result = study.run(LABELS, "ill,old", out=tmp_path, halving=True, **SMALL)
        assert (result.metric, result.task, result.classes) == ("log_loss", "classification", ())
        predicted = study.load_model(tmp_path).predict(LABELS)
        assert set(predicted[:, 0]) == {"no", "yes"}
        assert (predicted[:, 0] == LABELS["ill"].to_numpy()).mean() > 0.8
        assert (predicted[:, 1] == LABELS["old"].cast(str).to_numpy()).mean() > 0.8
        shares = LABELS.select((polars.col("ill") == "yes").mean(), polars.col("old").mean()).row(0)
        entropy = np.mean([-p * np.log(p) - (1 - p) * np.log(1 - p) for p in shares])
        constant = result.references[0]["select"][0]["log_loss"]
        assert constant == pytest.approx(entropy, rel=0.1)

    def test_a_quantile_covers_its_share(self, seed):
        frame = table(seed, 1500).drop("short", "ill", "old")
        high, middle = (study.run(frame, "long", quantile=q, **{**SMALL, "batch_size": 50}) for q in (0.9, 0.5))
        assert high.metric == "pinball"
        assert high.references[0]["label"] == "quantile of the target"
        # Shares of selection rows err by binomial errors, and so does the quantile of the fit rows.
        error = (1 / high.rows["select"] + 1 / high.rows["fit"]) ** 0.5
        for row in high.references[:2]:
            assert row["select"][0]["coverage"] == pytest.approx(0.9, abs=SIGMAS * 0.3 * error)
        for one, other in zip(high.trials, middle.trials, strict=True):
            assert one["select"]["coverage"] > other["select"]["coverage"] + SIGMAS * (0.3**2 + 0.5**2) ** 0.5 * error
            assert one["select"]["pinball"] < high.references[0]["select"][one["seed"]]["pinball"]

    def test_a_label_of_one_value_among_fit_rows_has_references(self):
        groups = np.repeat([0, 1, 2, 3, 4, 5, 6, 7], 30)
        frame = LABELS.with_columns(g=groups, old=polars.Series((groups == 3).astype(int)))
        result = study.run(frame, "ill,old", group_column="g", **{**SMALL, "epochs": 2, "seeds": 3})
        assert all(np.isfinite(s["log_loss"]) for row in result.references for s in row["select"])


class TestRefused:
    @pytest.mark.parametrize(
        ("target", "options", "message"),
        [
            ("long,long", {}, "`target` must name a column once, got `long` 2 times"),
            ("long,shore", {}, r"`target` must be a column of the table, got `shore`: did you mean `short`"),
            ("ill,long", {}, "several targets must be numbers, or all of two values, got neither in `ill`"),
            ("old,long", {"task": "classification"}, "each of several class targets must have two values, got 240"),
            ("ill,old", {"quantile": 0.5}, "`quantile` needs a target of numbers"),
            ("ill,old", {"class_weight": "balanced"}, "`class_weight` needs one target of classes, got several labels"),
            ("long", {"class_weight": "balanced"}, "`class_weight` needs one target of classes, got numbers"),
            ("long,short", {"label_smoothing": 0.1}, "`label_smoothing` needs labels"),
            ("long,short", {"metric": "log_loss"}, "`metric` must be one of rmse, mae for regression"),
            ("long,short", {"drop": "short"}, "`short` is the target"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, target, options, message, tmp_path):
        with pytest.raises(ValueError, match=message):
            study.run(table(), target, out=tmp_path / "new", **{**SMALL, **options})
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"quantile": 1.0}, r"`quantile` must be in \(0, 1\)"),
            ({"quantile": 0.5, "task": "classification"}, "`quantile` needs a target of numbers"),
            ({"quantile": 0.5, "metric": "rmse"}, "`metric` of a `quantile` must be pinball"),
            ({"metric": "pinball"}, "`metric` pinball is the loss of a quantile"),
            ({"class_weight": "odd"}, "`class_weight` must be balanced"),
            ({"class_weight": "balanced", "task": "regression"}, "`class_weight` needs classes"),
        ],
    )
    def test_options_that_make_no_sense_are_refused(self, given, message):
        with pytest.raises(ValueError, match=message):
            Options.of(**given)

    def test_a_column_that_gives_one_of_the_targets_is_named(self):
        with pytest.raises(BadTable, match="the target `short` can be computed from `copy`"):
            pose(NUMBERS.with_columns(copy=2 * polars.col("short")), ("long", "short"), Options())
