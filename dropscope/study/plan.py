"""Plan a study: which trials share a chunk, and how many epochs fit the time that was asked for."""

import time
from bisect import bisect_right
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import cast

from dropscope import stack
from dropscope.stack.shape import Activation
from dropscope.study.chunk import Chunk, Recipe, final_spectra, train
from dropscope.study.options import Options
from dropscope.study.problem import Problem, SeedData
from dropscope.study.trial import Trial

__all__ = [
    "DEFAULT_SECONDS", "FEWEST", "MOST_STEPS", "STACK_BYTES", "chunks", "epoch_steps", "plan_epochs", "recipe_of",
    "study_steps",
]  # fmt: skip

STACK_BYTES = 1 << 30
DEFAULT_SECONDS = 180.0
FEWEST, MOST = 10, 500
TIMED, TIMED_ROWS = 5, 1280  # epochs, and stop rows of each
# On a small table a pass is a few updates: 15 of them would end training on the noise of a high rate, long before it
# has learned.
FEWEST_STEPS, PATIENCE, PATIENT_STEPS = 10, 15, 500
MOST_STEPS = 500  # on a large table a pass is so long that ten of them would take hours
# Share of the remaining time planned for training and spectra: references, the refit and the report need the rest.
PLANNED_SHARE = 0.8
EXTENSION = 1.3  # epochs trained by a stack in which some models go on beyond the plan, over planned epochs
MEASURED = 3  # networks whose spectra are timed


def recipe_of(problem: Problem, options: Options, epochs: int) -> Recipe:
    """Write down what all trials of a study share.

    Args:
        problem: the problem.
        options: the study's options.
        epochs: planned number of epochs.

    Returns:
        The recipe.
    """
    columns = problem.reference.columns
    shape = stack.Shape(
        columns, problem.target.outputs, options.width, options.depth, problem.target.loss,
        activation=cast(Activation, options.activation), quantile=problem.target.quantile,
    )  # fmt: skip
    blocks = tuple(map(tuple, problem.encoded_blocks())) if len(problem.blocks) > 1 else ()
    # One number of updates for all seeds, whose fit parts differ where groups are cut: that of the first.
    steps = study_steps(len(problem.cutter.cut(0).fit), options.batch_size)
    return Recipe(
        shape=shape,
        optimizer=options.optimizer,
        momentum=options.momentum,
        nesterov=options.nesterov,
        max_norm=options.max_norm,
        weight_decay=options.weight_decay,
        label_smoothing=options.label_smoothing,
        batch_size=options.batch_size,
        steps_per_epoch=steps,
        epochs=epochs,
        patience=options.patience or max(PATIENCE, -(-PATIENT_STEPS // steps)),
        device=options.device,
        blocks=blocks,
        max_order=min(options.max_order, max(1, len(blocks) - 1)),
        budget=options.budget,
        curve_budget=_curve_budget(len(blocks)),
        probe_epochs=tuple(2**k for k in range(16) if 2**k <= 2 * epochs),
    )


def epoch_steps(rows: int, batch_size: int) -> int:
    """Updates of an epoch: one pass over the fit rows, and at least 10."""
    return max(FEWEST_STEPS, rows // batch_size)


def study_steps(rows: int, batch_size: int) -> int:
    """Updates of a study's epoch: those of a pass over the fit rows, at least 10 and at most 500."""
    return min(MOST_STEPS, epoch_steps(rows, batch_size))


def _curve_budget(blocks: int) -> int:
    """Evaluations a network and epoch: 100 cubes of six groups, or the 50 larger ones that an exact cube needs."""
    return 100 * 64 + 64 if blocks > 8 or blocks <= 6 else 50 * 2**blocks + 64


def chunks(
    problem: Problem, data: list[SeedData], keyed: dict[str, Trial], recipe: Recipe, *, workers: int = 1,
    threads: int | None = None,
) -> list[Chunk]:  # fmt: skip
    """Divide trials into chunks of one seed each, small enough for memory and enough of them for the workers.

    Args:
        problem: the problem.
        data: the data of each seed.
        keyed: the trials still to run, by key.
        recipe: what all trials share.
        workers: how many chunks run at once.
        threads: torch threads of each worker; None leaves them as they are.

    Returns:
        The chunks, seed by seed.
    """
    by_seed: dict[int, list[str]] = {}
    for key, trial in keyed.items():
        by_seed.setdefault(trial.seed, []).append(key)
    fits = max(1, STACK_BYTES // workers // stack.memory_per_model(recipe.shape, recipe.batch_size))
    wanted = 1 if workers == 1 else -(-2 * workers // len(by_seed))
    made = []
    for seed, keys in by_seed.items():
        size = min(fits, -(-len(keys) // wanted))
        for part in (tuple(keys[i : i + size]) for i in range(0, len(keys), size)):
            trials = tuple(keyed[key] for key in part)
            made.append(Chunk(trials, part, data[seed], problem.scorer, problem.cutter.test, recipe, threads))
    return made


def plan_epochs(chunk: Chunk, count: float, seconds: float) -> int:
    """Time a few updates of one chunk and say how many epochs all of them may train.

    Args:
        chunk: one chunk of the study, timed and thrown away.
        count: how many such chunks run one after the other.
        seconds: time left for the whole study.

    Returns:
        A number of epochs from 10 to 500.
    """
    recipe = chunk.recipe
    steps = min(recipe.steps_per_epoch, 20)
    fitted, per_epoch = _timed(chunk, steps)
    stop = len(chunk.data.cut.stop)
    if recipe.steps_per_epoch > steps or stop > TIMED_ROWS:
        shortest = _timed(chunk, 1)[1]
        per_update = max(0.0, per_epoch - shortest) / (steps - 1)
        per_stop = max(0.0, shortest - per_update) / min(stop, TIMED_ROWS)
        per_epoch = per_update * recipe.steps_per_epoch + per_stop * stop
    start = time.perf_counter()
    final_spectra(chunk, fitted[:MEASURED])
    spectra = (time.perf_counter() - start) * len(fitted) / len(fitted[:MEASURED])

    def planned(epochs: int) -> float:
        probes = (2 * epochs).bit_length() * recipe.curve_budget / recipe.budget
        return count * (per_epoch * epochs * EXTENSION + spectra * (1 + probes))

    return bisect_right(range(MOST + 1), seconds * PLANNED_SHARE, lo=FEWEST + 1, key=planned) - 1


def _timed(chunk: Chunk, steps: int) -> tuple[list[stack.Fitted], float]:
    """Train a chunk for a few short epochs with few stop rows; return its networks and the seconds of an epoch."""
    recipe = replace(chunk.recipe, steps_per_epoch=steps, epochs=1 + TIMED, patience=1 + TIMED)
    cut = replace(chunk.data.cut, stop=chunk.data.cut.stop[:TIMED_ROWS])
    brief = replace(chunk, recipe=recipe, data=replace(chunk.data, cut=cut))
    ends: list[float] = []
    fitted = train(brief, extend=False, on_epoch=lambda *_: ends.append(time.perf_counter()))
    # The first epoch also pays for what is allocated and started once.
    return fitted, median(b - a for a, b in pairwise(ends))
