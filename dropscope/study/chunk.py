"""A chunk of trials: the unit that an executor runs. It trains its networks as one stack and measures them."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dropscope import spectrum, stack
from dropscope.study.metrics import Scorer, Scores
from dropscope.study.problem import SeedData
from dropscope.study.trial import Trial

__all__ = [
    "Chunk", "Recipe", "final_spectra", "measure", "members_of", "probe_of", "run_chunk", "train", "train_members",
]  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """What all trials of a study share: network, training, and how their spectra are measured.

    `curve_budget` evaluations are spent on each network at `probe_epochs`, `budget` on its best epoch; `blocks` are
    encoded columns; an empty `blocks` measures no spectrum.
    """

    shape: stack.Shape
    optimizer: str
    momentum: float
    nesterov: bool
    max_norm: float | None
    weight_decay: float
    label_smoothing: float
    batch_size: int
    steps_per_epoch: int
    epochs: int
    patience: int
    device: str
    blocks: tuple[tuple[int, ...], ...]
    max_order: int
    budget: int
    curve_budget: int
    probe_epochs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Trials of one seed with their keys and data; `test` holds the study's test rows."""

    trials: tuple[Trial, ...]
    keys: tuple[str, ...]
    data: SeedData
    scorer: Scorer
    test: np.ndarray
    recipe: Recipe
    threads: int | None = None


def run_chunk(chunk: Chunk, on_epoch: Callable[..., None] | None = None) -> list[dict[str, Any]]:
    """Train and measure the trials of a chunk.

    Args:
        chunk: the trials with their data.
        on_epoch: called after every epoch with the epoch, the models still training and their best stop loss.

    Returns:
        One record a trial, as plain data: key, fields, curves, scores on the selection and test rows, spectra, seconds.
    """
    if chunk.threads is not None:
        torch.set_num_threads(chunk.threads)
    start = time.perf_counter()
    curves: list[dict[str, Any]] = [{} for _ in chunk.trials]
    probe = probe_of(chunk, curves) if chunk.recipe.blocks else None
    fitted = train(chunk, probe=probe, probe_epochs=chunk.recipe.probe_epochs, on_epoch=on_epoch)
    return measure(chunk, fitted, curves, start)


def measure(
    chunk: Chunk, fitted: list[stack.Fitted], curves: list[dict[str, Any]], start: float
) -> list[dict[str, Any]]:
    """Score trained networks and measure their spectra.

    Args:
        chunk: the trials with their data.
        fitted: the networks, one a trial.
        curves: spectra by epoch, one dictionary a trial.
        start: when their training began, on the clock of `time.perf_counter`.

    Returns:
        One record a trial.
    """
    final = final_spectra(chunk, fitted)
    cut = chunk.data.cut
    rows = np.concatenate([cut.stop, cut.select])
    predicted = _predicted(chunk, fitted, rows)
    held = _scores(chunk, predicted, rows)
    select = _scores(chunk, [one[len(cut.stop) :] for one in predicted], cut.select)
    test = _scores(chunk, _predicted(chunk, fitted, chunk.test), chunk.test)
    overall, several = chunk.scorer.overall, chunk.scorer.target.several
    seconds = (time.perf_counter() - start) / len(fitted)
    return [
        {
            "key": key,
            "p_input": trial.p_input,
            "p_hidden": list(trial.p_hidden) if isinstance(trial.p_hidden, tuple) else trial.p_hidden,
            "lr": trial.lr,
            "seed": trial.seed,
            "best_epoch": one.best_epoch,
            "epochs": one.epochs,
            "extended": one.extended,
            "diverged": one.diverged,
            "left_at": one.left_at,
            "stop": one.stop_curve[one.best_epoch - 1] if one.best_epoch else None,
            "fit_curve": one.fit_curve,
            "stop_curve": one.stop_curve,
            "n_fit": len(chunk.data.cut.fit),
            "n_select": len(chunk.data.cut.select),
            "select": overall(select[i]),
            "held": overall(held[i]),
            "test": overall(test[i]),
            **({"by_target": {"select": select[i], "test": test[i]}} if several else {}),
            "spectrum": final[i],
            "curve": curves[i],
            "seconds": seconds,
            "pid": os.getpid(),
        }
        for i, (trial, key, one) in enumerate(zip(chunk.trials, chunk.keys, fitted, strict=True))
    ]


def train(chunk: Chunk, **options: Any) -> list[stack.Fitted]:
    """Train the trials of a chunk as one stack.

    Args:
        chunk: the trials with their data.
        options: passed to `stack.train`.

    Returns:
        The fitted networks, one a trial.
    """
    data = chunk.data
    weights = None if data.weights is None else torch.from_numpy(data.weights)
    members = members_of(chunk, torch.from_numpy(data.cut.fit), torch.from_numpy(data.cut.stop), weights)
    return train_members(torch.from_numpy(data.x), torch.from_numpy(data.y), members, chunk.recipe, **options)


def members_of(chunk: Chunk, fit: torch.Tensor, stop: torch.Tensor, weights: torch.Tensor | None) -> list[stack.Member]:
    """Write the trials of a chunk as members of a stack.

    Args:
        chunk: the trials.
        fit: where in the stack's table its fit rows are.
        stop: where its stop rows are.
        weights: what each row of that table counts, None for all alike.

    Returns:
        One member a trial.
    """
    return [
        stack.Member(
            trial.p_input, trial.p_hidden, trial.lr, chunk.recipe.weight_decay,
            seed=trial.seed, mask_seed=int(key[:15], 16), fit=fit, stop=stop, weights=weights,
        )
        for trial, key in zip(chunk.trials, chunk.keys, strict=True)
    ]  # fmt: skip


def train_members(
    x: torch.Tensor, y: torch.Tensor, members: list[stack.Member], recipe: Recipe, **options: Any
) -> list[stack.Fitted]:
    """Train members as a recipe says.

    Args:
        x: their table.
        y: its targets.
        members: the networks.
        recipe: what they share.
        options: passed to `stack.train`.

    Returns:
        The fitted networks.
    """
    return stack.train(
        x, y, members, recipe.shape, optimizer=recipe.optimizer, momentum=recipe.momentum, nesterov=recipe.nesterov,
        max_norm=recipe.max_norm,
        batch_size=recipe.batch_size, epochs=recipe.epochs, steps_per_epoch=recipe.steps_per_epoch,
        patience=recipe.patience, label_smoothing=recipe.label_smoothing, device=recipe.device, **options,
    )  # fmt: skip


def probe_of(chunk: Chunk, curves: list[dict[str, Any]]) -> Callable[..., None]:
    """Measure the spectra of the networks still training and keep them by epoch.

    Args:
        chunk: the trials with their data.
        curves: one dictionary a trial, filled with spectra by epoch.

    Returns:
        A `probe` for `stack.train`.
    """

    def probe(epoch: int, forward: Callable[[torch.Tensor], torch.Tensor], indices: list[int]) -> None:
        found = _spectra(chunk, forward, len(indices), chunk.recipe.curve_budget, intervals=False)
        for index, one in zip(indices, found, strict=True):
            curves[index][str(epoch)] = one

    return probe


def final_spectra(chunk: Chunk, fitted: list[stack.Fitted]) -> list[dict[str, Any] | None]:
    """Measure the spectra of the networks that trained to their end; the others' would be those of half-trained ones.

    Args:
        chunk: the trials with their data.
        fitted: the networks, one a trial.

    Returns:
        One spectrum as plain data a trial, None where there is none.
    """
    ended = [one for one in fitted if one.left_at is None]
    if not chunk.recipe.blocks or not ended:
        return [None] * len(fitted)
    found = iter(_spectra(chunk, lambda x: stack.forward(ended, x), len(ended), chunk.recipe.budget, intervals=True))
    return [next(found) if one.left_at is None else None for one in fitted]


def _spectra(
    chunk: Chunk,
    forward: Callable[[torch.Tensor], torch.Tensor],
    models: int,
    budget: int,
    *,
    intervals: bool,
) -> list[Any]:
    """Spectra of all models in one pass, on the same mixtures for every trial of the seed."""
    recipe, seed = chunk.recipe, chunk.trials[0].seed

    def outputs(x: torch.Tensor) -> torch.Tensor:
        y = forward(x)
        return spectrum.centre_logits(y) if recipe.shape.task == "classification" else y

    found = spectrum.stack_spectra(
        outputs, torch.from_numpy(chunk.data.x[chunk.data.cut.fit]), models=models,
        max_order=recipe.max_order, budget=budget, blocks=recipe.blocks, intervals=intervals,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    return [one and one.to_dict() for one in found]


def _predicted(chunk: Chunk, fitted: list[stack.Fitted], rows: np.ndarray) -> list[np.ndarray]:
    """Outputs of every network, in units of the targets."""
    outputs = stack.forward(fitted, torch.from_numpy(chunk.data.x[rows])).numpy()
    return [*chunk.scorer.target.in_units(outputs, chunk.data.mean, chunk.data.scale)]


def _scores(chunk: Chunk, predicted: list[np.ndarray], rows: np.ndarray) -> list[dict[str, Scores]]:
    """Scores of every network by name of the target."""
    return [chunk.scorer.each(one, rows, chunk.data.weights) for one in predicted]
