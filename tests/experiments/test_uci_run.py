"""The UCI experiment as a whole, on a small table, and the rule by which it is judged."""

import json

import numpy as np
import pytest
import small_yacht

from dropscope.data import UciResults
from dropscope.errors import MissingData
from dropscope.experiments import EXPERIMENTS, uci
from dropscope.experiments.uci_comparison import Outcome


@pytest.fixture
def small(monkeypatch):
    """Yacht is small; the other tables cannot be had."""
    small_yacht.put_in_place(monkeypatch)


def run(**options):
    return uci.run(**({"sets": ["yacht"], "n_samples": 5, "splits": 3} | options))


def numbers(result):
    return np.array(list(vars(result.outcomes[0].ours).values()))


def test_every_measure_has_a_number_for_each_cut_beside_the_authors(small):
    (outcome,) = run().outcomes
    assert (outcome.name, outcome.n_seeds) == ("yacht", 2)
    for measure, values in vars(outcome.theirs).items():
        assert np.array_equal(values, getattr(small_yacht.results(), measure)[:3])
        assert np.isfinite(getattr(outcome.ours, measure)).all()


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(small):
    assert np.array_equal(numbers(run(seed=3)), numbers(run(seed=3)))
    assert not np.isin(numbers(run(seed=3)), numbers(run(seed=5))).any()


def test_a_cut_does_not_depend_on_how_many_cuts_there_are(small):
    assert np.array_equal(numbers(run(splits=2)), numbers(run(splits=4))[:, :2])


def test_several_networks_are_averaged(small):
    alone = [numbers(run(n_seeds=1, seed=seed)) for seed in (3, 4)]
    assert np.allclose(numbers(run(n_seeds=2, seed=3)), np.mean(alone, 0), rtol=1e-12)


def test_more_passes_are_measured_on_the_same_networks(small):
    few, many = numbers(run(n_samples=5)), numbers(run(n_samples=6))
    assert np.array_equal(few[0], many[0])  # dropout off
    assert not np.isin(few[1:], many[1:]).any()


def test_small_and_full_choose_tables_and_passes(monkeypatch):
    asked = []
    monkeypatch.setattr(uci, "uci", lambda name: None)
    monkeypatch.setattr(uci, "reproduced", lambda *arguments: asked.append(arguments[:4]))
    uci.run()
    uci.run(full=True, seed=4, splits=7)
    assert [name for name, *_ in asked[:4]] == ["boston", "concrete", "energy", "yacht"]
    assert {(splits, n_samples, seeds[0]) for _, splits, n_samples, seeds in asked[:4]} == {(20, 2_000, 0)}
    assert len(asked[4:]) == 9
    assert {(splits, n_samples, seeds[0]) for _, splits, n_samples, seeds in asked[4:]} == {(7, 10_000, 4)}


def test_missing_data_is_said_before_anything_is_trained(small, monkeypatch):
    def only_yacht(name):
        if name != "yacht":
            raise MissingData(f"no {name}")
        return small_yacht.splits()

    monkeypatch.setattr(uci, "uci", only_yacht)
    monkeypatch.setattr(uci, "trained", lambda *_: pytest.fail("something was trained"))
    with pytest.raises(MissingData, match="no energy"):
        run(sets=["yacht", "energy"])


def test_without_the_authors_results_their_means_are_shown_and_nothing_is_judged(small, monkeypatch):
    def missing(name):
        raise MissingData("none")

    monkeypatch.setattr(uci, "uci_results", missing)
    result = run()
    (row,) = result.rows()
    assert (row["authors"], row["authors'"], row["verdict"]) == ("1.109±0.085", "-1.554±0.027", "not compared")
    assert result.outcomes[0].rmse is None
    assert "could not be had" in result.describe()
    json.dumps(result.to_dict())


def test_progress_is_reported(small):
    said = []
    run(n_seeds=1, progress=lambda *arguments: said.append(arguments))
    assert ("yacht", "training", 2, 2) in said
    assert ("yacht", "passes", 2, 3) in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sets": ["yatch"]}, "did you mean `yacht`"),
        ({"sets": []}, "`sets` must name at least one table"),
        ({"splits": 1}, "`splits` must be in 2 to 20, got 1"),
        ({"splits": 21}, "`splits` must be in 2 to 20, got 21"),
        ({"n_samples": 1}, "`n_samples` must be at least 2, got 1"),
        ({"n_seeds": 0}, "`n_seeds` must be at least 1, got 0"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def outcome(name="energy", *, shift=0.0, noise=0.01, likelihood=0.0):
    """An outcome whose RMSEs are those published times (1 + shift), give or take some noise."""
    wobble = np.tile([1.0, -1.0], 10)
    theirs = UciResults(*(np.linspace(1, 2, 20) for _ in range(3)))
    rmse = theirs.rmse * (1 + shift) + noise * wobble
    ours = UciResults(rmse, rmse, theirs.log_likelihood + likelihood + 0.01 * wobble)
    return Outcome(name, 1, ours, theirs, 1.0, 2.0)


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (outcome(), "agrees"),
        (outcome(shift=0.002, noise=0.1), "agrees"),
        (outcome(noise=0.3), "undecided"),  # the interval is wider than 5 %, but not than 10 %
        (outcome(shift=-0.04, noise=0.1), "undecided"),  # on one side
        (outcome(shift=0.04, noise=0.1), "undecided"),
        (outcome("boston", noise=0.3), "agrees"),
        (outcome("yacht", noise=0.3), "agrees"),
        (outcome("yacht", noise=0.6), "undecided"),
        (outcome(shift=0.02, noise=0.01), "differs"),  # within 5 %, but t is large
        (outcome(likelihood=-0.02), "differs"),
        (outcome(shift=0.5, noise=1.0), "differs"),
    ],
)
def test_the_verdict(made, verdict):
    assert made.verdict == verdict
    assert made.row()["verdict"] == verdict
    assert made.to_dict()["verdict"] == verdict


def test_the_cases_of_the_verdict_are_what_they_say():
    assert outcome(shift=0.02).rmse.t > 3.4
    assert outcome(likelihood=-0.02).log_likelihood.t < -3.4
    assert 1.05 < outcome(noise=0.3).rmse.high < 1.1
    assert outcome(shift=0.5, noise=1.0).rmse.low > 1.05


def test_numbers_are_printed_to_their_errors():
    row = outcome(noise=0.3).row()
    assert row["RMSE"] == "1.500±0.094"
    assert row["authors"] == "1.500±0.070"
    assert row["networks"] == "20×1"
    assert row["s"] == "3"


def test_every_experiment_can_be_loaded():
    for name, experiment in EXPERIMENTS.items():
        assert experiment.name == name
        assert callable(experiment.load().run)
