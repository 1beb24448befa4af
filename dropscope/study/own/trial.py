"""One trial of a user's own model, as an executor runs it: what is measured before, while and after it trains."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dropscope.study.own.data import bytes_digest, count_rows, joined, moved, unpacked
from dropscope.study.own.scores import answers
from dropscope.study.own.spectra import measured, why_none
from dropscope.study.own.training import OwnRecipe, OwnTraining
from dropscope.study.trial import Trial

__all__ = ["FitRows", "OwnTask", "read_fit_rows", "run_own"]

MOST_ROWS = 100_000  # of the table that columns are drawn from
_turn = threading.Lock()  # a process has one global stream of random numbers: trials in threads take turns


@dataclass(frozen=True)
class OwnTask:
    """One trial with its key: the unit that an executor runs."""

    trial: Trial
    key: str
    recipe: OwnRecipe
    threads: int | None = None


def run_own(task: OwnTask, on_epoch: Callable[[int, int, float], None] | None = None) -> list[dict[str, Any]]:
    """Train and measure one trial.

    Args:
        task: the trial.
        on_epoch: called after every epoch with the epoch, 1 and the best stop loss.

    Returns:
        Its record, alone in a list.
    """
    with _turn, _threads(task.threads):
        start = time.perf_counter()
        training = OwnTraining(task.recipe, task.trial, task.key)
        fit = read_fit_rows(training)
        record = {"key": task.key, **_before(training, fit), "curve": _train(training, fit, on_epoch)}
        record |= _after(training, fit)
        return [record | {"seconds": time.perf_counter() - start, "pid": os.getpid()}]


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, eq=False)
class FitRows:
    """What is read off the fit rows: the table of spectra or why there is none, and the targets of a constant."""

    table: Tensor | None
    why_none: str | None
    labels: bool
    targets: Tensor | None


def read_fit_rows(training: OwnTraining) -> FitRows:
    """Read off the fit rows what spectra and the constant prediction need.

    Args:
        training: a network before it is trained.

    Returns:
        What was read.
    """
    with training.at_rest():
        first = next(iter(training.part("fit")), None)
        training.rows["fit"] = 0 if first is None else count_rows(unpacked(first, "cpu")[1])
        training.check_rows("fit")
        [(outputs, target)] = answers(training.model, [first], training.device)
    reason = why_none(unpacked(first, "cpu")[0], outputs)
    known = training.recipe.metric.task is not None
    labels = isinstance(target, Tensor) and not target.is_floating_point()
    if reason and not known:
        return FitRows(None, reason, labels, None)

    with training.at_rest():
        batches = [moved(batch, "cpu") for batch in training.part("fit")]
    table = None if reason else torch.cat([batch[0] for batch in batches])[:MOST_ROWS]
    return FitRows(table, reason, labels, joined([batch[-1] for batch in batches]) if known else None)


def _train(training: OwnTraining, fit: FitRows, on_epoch: Callable[..., None] | None) -> dict[str, Any]:
    """Train to the end; return the spectra of the epochs that are powers of two."""
    curve, goes_on = {}, True
    while goes_on:
        goes_on = training.epoch()
        epoch = len(training.record.stop_curve)
        if fit.table is not None and epoch & (epoch - 1) == 0 and not training.record.diverged:
            curve[str(epoch)] = _spectrum(training, fit, None)
        if on_epoch is not None:
            on_epoch(epoch, 1, training.record.best_loss)
    return curve


def _before(training: OwnTraining, fit: FitRows) -> dict[str, Any]:
    """What training does not change: the trial's own fields, its initial weights, and what it must beat."""
    trial = training.trial
    return {
        "p_input": trial.p_input, "p_hidden": trial.p_hidden, "lr": trial.lr, "seed": trial.seed,
        "start": bytes_digest(training.model.state_dict()),
        "reference": {part: _reference(training, fit, part) for part in ("select", "test")},
    }  # fmt: skip


def _reference(training: OwnTraining, fit: FitRows, part: str) -> dict[str, float]:
    """Score the constant prediction by a metric that has one, else the network before it was trained."""
    scores = training.scores(part)
    if training.parts[part] is None or fit.targets is None:
        return scores
    with training.at_rest():
        return training.recipe.metric.constant(fit.targets, training.part(part))


def _after(training: OwnTraining, fit: FitRows) -> dict[str, Any]:
    """Measure the network of the best epoch."""
    record = training.record
    training.model.load_state_dict(training.best)
    scores = {"select": training.scores("select"), "held": training.held_scores(), "test": training.scores("test")}
    return {
        "best_epoch": record.best_epoch,
        "epochs": len(record.stop_curve),
        "extended": record.extended,
        "diverged": record.diverged,
        "left_at": None,
        "stop": record.stop_curve[record.best_epoch - 1] if record.best_epoch else None,
        "fit_curve": record.fit_curve,
        "stop_curve": record.stop_curve,
        **{f"n_{part}": rows for part, rows in training.rows.items()},
        **scores,
        "spectrum": None if fit.table is None else _spectrum(training, fit, training.recipe.budget),
    }


def _spectrum(training: OwnTraining, fit: FitRows, budget: int | None) -> dict[str, Any] | None:
    if fit.table is None:
        return None
    recipe = training.recipe
    with training.at_rest():
        return measured(
            training.model, fit.table, labels=fit.labels, max_order=recipe.max_order, budget=budget,
            seed=training.trial.seed, device=training.device,
        )  # fmt: skip
