"""Plans: chunks hold one seed, fit memory and workers, and never change what a trial is."""

import math
from dataclasses import replace

import numpy as np
import polars
import pytest

from dropscope import stack
from dropscope.study import Options
from dropscope.study import plan as planning
from dropscope.study.chunk import train
from dropscope.study.plan import chunks, epoch_steps, plan_epochs, recipe_of, study_steps
from dropscope.study.problem import pose
from dropscope.study.trial import trials


@pytest.fixture(scope="module")
def setting():
    x = np.random.default_rng(0).normal(size=(400, 4))
    table = polars.DataFrame({**{f"x{j}": x[:, j] for j in range(4)}, "y": x[:, 0] * x[:, 1]})
    options = Options(seeds=3, width=16, depth=2)
    problem = pose(table, "y", options)
    data = [problem.seed_data(seed) for seed in range(3)]
    keyed = {trial.key("s"): trial for trial in trials(options.arms(), (1e-3,), options.seeds)}
    return problem, options, data, keyed


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_trial_is_in_one_chunk_of_its_seed(setting, workers):
    problem, options, data, keyed = setting
    made = chunks(problem, data, keyed, recipe_of(problem, options, 5), workers=workers)
    assert [key for chunk in made for key in chunk.keys] == list(keyed)
    assert all(len({trial.seed for trial in chunk.trials}) == 1 for chunk in made)
    assert len(made) >= min(len(keyed), 2 * workers if workers > 1 else 1)


def test_a_chunk_fits_in_memory(setting, monkeypatch):
    problem, options, data, keyed = setting
    recipe = recipe_of(problem, options, 5)
    monkeypatch.setattr(planning, "STACK_BYTES", 4 * stack.memory_per_model(recipe.shape, recipe.batch_size))
    made = chunks(problem, data, keyed, recipe)
    assert max(len(chunk.trials) for chunk in made) == 4
    assert len(made) == len(data) * math.ceil(len(options.arms()) / 4)


@pytest.mark.parametrize(("rows", "steps"), [(50, 10), (999, 10), (1000, 10), (4150, 41)])
def test_an_epoch_is_a_pass_and_at_least_ten_updates(rows, steps):
    assert epoch_steps(rows, 100) == steps


@pytest.mark.parametrize(("rows", "steps"), [(50, 10), (4150, 41), (50_099, 500), (50_100, 500), (480_000, 500)])
def test_an_epoch_of_a_study_is_no_longer_than_500_updates(rows, steps):
    assert study_steps(rows, 100) == steps


def test_stop_rows_are_paid_once_an_epoch_in_the_plan(setting, monkeypatch):
    """A clock by which an update takes 1 second and the stop rows 100: 20 epochs of 50 updates take 3,000 seconds.

    The same clock on half of the stop rows: all of them take 200.
    """
    problem, options, data, keyed = setting
    [chunk, *_] = chunks(problem, data, keyed, replace(recipe_of(problem, options, 5), steps_per_epoch=50))
    monkeypatch.setattr(planning, "_timed", lambda chunk, steps: ([None], steps + 100.0))
    monkeypatch.setattr(planning, "final_spectra", lambda chunk, fitted: [])
    for rows, stop in ((len(chunk.data.cut.stop), 100), (len(chunk.data.cut.stop) // 2, 200)):
        monkeypatch.setattr(planning, "TIMED_ROWS", rows)
        enough = 20 * (50 + stop) * planning.EXTENSION / planning.PLANNED_SHARE
        assert plan_epochs(chunk, 1, enough * 1.01) == 20
        assert plan_epochs(chunk, 1, enough * 0.99) == 19


def test_patience_covers_500_updates_unless_it_is_given(setting):
    problem, _, _, _ = setting
    assert recipe_of(problem, Options(batch_size=2), 5).patience == 15
    assert recipe_of(problem, Options(), 5).patience == 50
    assert recipe_of(problem, Options(patience=3), 5).patience == 3


def test_planned_epochs_grow_with_the_time_within_limits(setting):
    problem, options, data, keyed = setting
    [chunk, *_] = chunks(problem, data, keyed, recipe_of(problem, options, 5))
    assert plan_epochs(chunk, 3, seconds=-5) == planning.FEWEST
    assert plan_epochs(chunk, 3, seconds=1e6) == planning.MOST


def test_input_masks_follow_table_columns():
    x = np.random.default_rng(0).normal(size=100)
    table = polars.DataFrame({"x": x, "c": list("abcda") * 20, "y": x**2})
    problem = pose(table, "y", Options())
    recipe = recipe_of(problem, Options(), 5)
    assert recipe.shape.columns == (0, 1, 1, 1, 1)
    assert recipe.blocks == ((0,), (1, 2, 3, 4))


def test_arms_of_a_seed_share_everything_but_masks(setting, monkeypatch):
    problem, options, data, keyed = setting
    seen = []
    monkeypatch.setattr(stack, "train", lambda x, y, members, shape, **_: seen.append(members))
    for chunk in chunks(problem, data, keyed, recipe_of(problem, options, 5)):
        train(chunk)
    assert all(len({member.seed for member in members}) == 1 for members in seen)
    assert all(len({tuple(member.fit.tolist()) for member in members}) == 1 for members in seen)
    assert len({member.mask_seed for members in seen for member in members}) == len(keyed)
