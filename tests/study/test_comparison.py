"""Two studies compared: the statistics against scipy's, and what is said of tables, options and rows."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dropscope import study
from dropscope.study.contrasts import contrast
from dropscope.study.opening import fingerprint_of

SMALL = {"p_input": 0.1, "p_hidden": 0.5, "seeds": 3, "epochs": 4, "width": 4, "depth": 1, "budget": 13_000}


@pytest.fixture(scope="module")
def table():
    polars = pytest.importorskip("polars")
    x = np.random.default_rng(0).normal(size=(90, 3))
    return polars.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": x[:, 0] * x[:, 1] + x[:, 2]})


@pytest.fixture(scope="module")
def studied(table, tmp_path_factory):
    """Run a small study with some options changed; its folder."""
    folder = tmp_path_factory.mktemp("studies")

    def run(name, frame=table, target="y", **changed):
        study.run(frame, target, out=folder / name, name="small", lr=1e-3, **{**SMALL, **changed})
        return folder / name

    return run


@pytest.fixture(scope="module")
def first(studied):
    return studied("first")


@pytest.fixture(scope="module")
def wider(studied):
    return studied("wider", width=8, seeds=2, p_hidden=(0.5, 0.75))


class TestStatistics:
    def test_without_shared_rows_the_paired_interval_is_that_of_scipy(self, seed):
        a, b = np.random.default_rng(seed).normal(size=(2, 6))
        found = contrast(dict(enumerate(a)), dict(enumerate(b)), ratio=0.0, paired=True)
        wanted = stats.ttest_rel(b, a)
        assert found.difference / found.error == pytest.approx(wanted.statistic)
        assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval(0.95)))

    def test_apart_it_is_welchs(self, seed):
        generator = np.random.default_rng(seed)
        a, b = generator.normal(size=4), generator.normal(scale=3.0, size=7)
        found = contrast(dict(enumerate(a)), dict(enumerate(b)), ratio=0.0, paired=False)
        wanted = stats.ttest_ind(b, a, equal_var=False)
        assert found.difference / found.error == pytest.approx(wanted.statistic)
        assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval(0.95)))

    def test_shared_rows_widen_the_error_as_nadeau_and_bengio_say(self):
        a, b = {0: 1.0, 1: 2.0, 2: 4.0}, {0: 2.0, 1: 4.0, 2: 4.0}
        spread = np.var([1.0, 2.0, 0.0], ddof=1)
        assert contrast(a, b, ratio=0.5, paired=True).error == pytest.approx((spread * (1 / 3 + 0.5)) ** 0.5)

    def test_paired_losses_meet_by_seed_whatever_their_order(self):
        found = contrast({2: 4.0, 0: 1.0, 5: 9.0}, {0: 2.0, 2: 5.0}, ratio=0.3, paired=True)
        assert (found.a, found.b, found.difference, found.error) == (2.5, 3.5, 1.0, 0.0)

    def test_a_single_seed_has_no_error(self):
        assert np.isnan(contrast({0: 1.0}, {0: 2.0}, ratio=0.3, paired=True).error)


def test_a_study_is_the_same_as_itself(first):
    found = study.compare(first, first)
    assert found.paired
    assert found.table == found.options == ()
    assert all(arm.difference == arm.error == 0 for arm in found.arms)
    assert found.only == ((), ())
    assert "Table and options are the same." in found.describe()


def test_arms_in_both_are_paired_over_the_seeds_of_both(first, wider):
    found = study.compare(first, wider)
    a, b = (study.load_result(folder) for folder in (first, wider))
    assert (found.paired, found.seeds) == (True, (0, 1))
    assert [arm.rates for arm in found.arms] == [arm.rates for arm in a.arms]
    assert found.only == ((), ((0.0, 0.75),))

    for arm in found.arms:
        losses = [
            np.array([t["select"]["rmse"] for t in one.trials if (t["p_input"], t["p_hidden"]) == arm.rates][:2])
            for one in (a, b)
        ]
        apart = losses[1] - losses[0]
        ratio = a.rows["select"] / a.rows["fit"]
        assert arm.difference == pytest.approx(apart.mean())
        assert arm.error == pytest.approx((apart.var(ddof=1) * (1 / 2 + ratio)) ** 0.5)


def test_options_that_differ_are_listed_and_no_others(first, wider):
    changed = {name: values for name, *values in study.compare(first, wider).options}
    assert changed == {"p hidden": ["0.5", "0.5, 0.75"], "seeds": ["3", "2"], "width": ["4", "8"]}


def test_an_option_that_an_older_study_did_not_know_has_its_default(first):
    result = study.load_result(first)
    older = replace(result, options={name: v for name, v in result.options.items() if name != "activation"})
    assert study.compare(result, older).options == ()


def test_other_columns_of_the_same_rows_are_paired(first, studied):
    found = study.compare(first, studied("dropped", drop="b"))
    assert found.paired
    assert ("columns of its own", "b", "none") in found.table
    assert "so rows and cuts are the same" in found.why


def test_other_cuts_and_other_rows_are_not_paired(first, studied, table):
    moved = study.compare(first, studied("moved", study_seed=1))
    assert not moved.paired
    assert "cut differently (`study_seed`)" in moved.why

    turned = study.compare(first, studied("turned", frame=table[::-1]))
    assert not turned.paired
    assert "nothing tells for certain" in turned.why
    assert [name for name, *_ in turned.table] == ["values, or how they are read"]


def test_labels_are_paired_only_by_the_table_in_the_store(studied, table):
    polars = pytest.importorskip("polars")
    labelled = table.with_columns(
        polars.when(polars.col("y") > 0).then(polars.lit("yes")).otherwise(polars.lit("no")).alias("y")
    )
    one, other = studied("labels", frame=labelled), studied("fewer labels", frame=labelled, drop="b")
    assert study.compare(one, one).paired
    assert not study.compare(one, other).paired
    assert not study.compare(*(study.load_result(one) for _ in range(2))).paired


def shifted(result, by, rates=None):
    """The study with its selection losses moved, at some rates or all."""
    trials = tuple(
        {**t, "select": {**t["select"], "rmse": t["select"]["rmse"] + by + 0.001 * t["seed"]}}
        if rates in (None, (t["p_input"], t["p_hidden"])) else t
        for t in result.trials
    )  # fmt: skip
    return replace(result, trials=trials)


def settled(result):
    return replace(result, arms=tuple(replace(arm, converged=True) for arm in result.arms))


def test_the_verdict_names_the_better_study_or_says_that_none_can_be_told(first):
    result = settled(study.load_result(first))
    assert study.compare(result, shifted(result, -0.5)).verdict().startswith("B is better: the mean RMSE over the 5")
    assert study.compare(result, shifted(result, 0.5)).verdict().startswith("A is better")
    assert study.compare(result, shifted(result, -0.001)).verdict().startswith("No difference can be told")
    assert "the same, number by number" in study.compare(result, result).verdict()


def test_an_arm_that_did_not_train_to_its_end_is_shown_but_not_in_the_mean(first):
    result = settled(study.load_result(first))
    bad = replace(result.arms[2], converged=False)
    other = replace(shifted(result, 100.0, bad.rates), arms=(*result.arms[:2], bad, *result.arms[3:]))
    found = study.compare(result, other)
    assert [arm.sound for arm in found.arms] == [True, True, False, True, True]
    assert found.arms[2].difference == pytest.approx(100.0, abs=0.01)
    assert found.mean.difference == 0
    assert "left out of the mean" in found.describe()


def test_studies_of_other_targets_metrics_or_classes_are_refused(first):
    result = study.load_result(first)
    with pytest.raises(ValueError, match="must share target and metric to be compared, got `y` by RMSE and `y` by MAE"):
        study.compare(result, replace(result, metric="mae"))
    with pytest.raises(ValueError, match="got `y` by RMSE and `z` by RMSE"):
        study.compare(result, replace(result, target="z"))
    with pytest.raises(ValueError, match="must share the classes of `y`"):
        study.compare(result, replace(result, classes=("no", "yes")))
    quantiles = [replace(result, metric="pinball", options={**result.options, "quantile": q}) for q in (0.1, 0.9)]
    with pytest.raises(ValueError, match=r"of quantile 0\.1 and `y` by pinball loss of quantile 0\.9"):
        study.compare(*quantiles)
    weighted = replace(result, options={**result.options, "weight_column": "n"})
    with pytest.raises(ValueError, match=r"got `y` by RMSE and `y` by RMSE, weighted \(weight_column=n\)"):
        study.compare(result, weighted)


def test_everything_can_be_written_as_json(first, wider):
    result = study.load_result(first)
    broken = replace(result, trials=tuple({**t, "select": {**t["select"], "rmse": None}} for t in result.trials))
    for found in (study.compare(first, wider), study.compare(result, broken)):
        kept = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert {"arms", "mean", "advice", "paired", "why", "options", "table", "verdict"} <= set(kept)
        assert len(kept["arms"]) == len(found.arms)


def test_a_store_speaks_of_the_table_only_if_it_holds_the_trials_of_the_result(first, wider, tmp_path):
    result = study.load_result(first)
    assert fingerprint_of(first, result) == fingerprint_of(wider, study.load_result(wider))
    assert fingerprint_of(wider, result) is None
    assert fingerprint_of(tmp_path, result) is None
