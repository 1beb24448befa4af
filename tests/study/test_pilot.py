"""The pilot: it chooses by stop rows and networks without dropout alone, and a study remembers what it chose."""

import json
from types import SimpleNamespace

import numpy as np
import polars
import pytest

from dropscope import study
from dropscope.study.pilot import pilot, pilot_chunks, pilot_rates
from dropscope.study.plan import chunks, recipe_of
from dropscope.study.problem import pose
from dropscope.study.trial import trials

SMALL = {"p_input": 0.1, "p_hidden": 0.5, "pair": (), "seeds": 3, "epochs": 4, "width": 8, "depth": 2, "budget": 13_000,
         "batch_size": 20, "max_order": 1}  # fmt: skip


@pytest.fixture(scope="module")
def table():
    x = np.random.default_rng(0).normal(size=(150, 3))
    return polars.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": x[:, 0] - x[:, 1] + 0.1 * x[:, 2] ** 3})


def chunks_of(table, **options):
    options = study.Options.of(**{**SMALL, **options})
    problem = pose(table, "y", options)
    keyed = {trial.key("s"): trial for trial in trials(options.arms(), (1e-3,), options.seeds)}
    data = [problem.seed_data(seed) for seed in range(options.seeds)]
    return chunks(problem, data, keyed, recipe_of(problem, options, options.epochs))


def test_a_pilot_is_networks_without_dropout_at_every_rate_on_two_seeds(table):
    flown = pilot_chunks(chunks_of(table))
    assert [[(*trial.arm, trial.lr, trial.seed) for trial in chunk.trials] for chunk in flown] == [
        [(0.0, 0.0, lr, seed) for lr in pilot_rates("adamw")] for seed in (0, 1)
    ]


def test_the_rate_that_learns_most_in_the_time_is_chosen(table):
    """Four epochs of ten updates are far too few for small steps."""
    assert pilot(pilot_chunks(chunks_of(table))) >= 1e-2
    assert pilot(pilot_chunks(chunks_of(table, optimizer="sgd"))) in pilot_rates("sgd")


def test_a_rate_that_diverges_on_one_seed_is_never_chosen(table, monkeypatch):
    flown = pilot_chunks(chunks_of(table))
    ends = {0: [3.0, 0.1, 0.5, 4.0], 1: [3.0, 5.5, 0.5, 4.0]}

    def train(chunk):
        seed = chunk.trials[0].seed
        return [
            SimpleNamespace(diverged=(seed, i) == (1, 2), best_epoch=1, stop_curve=[loss])
            for i, loss in enumerate(ends[seed])
        ]

    monkeypatch.setattr("dropscope.study.pilot.train", train)
    assert pilot(flown) == 3e-3  # .1 and 5.5 have the lowest mean of those that are left


def test_selection_and_test_rows_have_no_say(table):
    flown = pilot_chunks(chunks_of(table))
    before = pilot(flown)
    for chunk in flown:
        seen = np.concatenate([chunk.data.cut.fit, chunk.data.cut.stop])
        others = np.setdiff1d(np.arange(150), seen)
        chunk.data.y[others] = np.nan
        chunk.data.x[others] = np.nan
    assert pilot(flown) == before


def test_a_study_flies_one_pilot_says_so_and_remembers(table, tmp_path):
    first = study.run(table, "y", out=tmp_path, **SMALL)
    [lr] = first.options["lr"]
    assert {trial["lr"] for trial in first.trials} == {lr}
    assert any(f"the learning rate {lr:g} was chosen" in note for note in first.notes)

    path = tmp_path / "trials.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["lr"] for line in lines if line["kind"] == "pilot"] == [lr]
    again = study.run(table, "y", out=tmp_path, **{**SMALL, "seeds": 4})
    assert again.trials[: len(first.trials)] == first.trials
    assert sum(json.loads(line)["kind"] == "pilot" for line in path.read_text().splitlines()) == 1


def test_a_given_rate_needs_no_pilot(table, tmp_path):
    result = study.run(table, "y", out=tmp_path, lr=0.01, **SMALL)
    assert '"pilot"' not in (tmp_path / "trials.jsonl").read_text()
    assert not any("pilot" in note for note in result.notes)
