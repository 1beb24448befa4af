"""The learning rate of a study: chosen before it, by a few networks, on stop rows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dropscope.stack import Fitted
from dropscope.study.chunk import Chunk, train
from dropscope.study.trial import Trial

__all__ = ["PILOT_SEEDS", "pilot", "pilot_chunks", "pilot_rates"]

PILOT_SEEDS = 2


def pilot_rates(optimizer: str) -> tuple[float, ...]:
    """List the learning rates that a pilot tries: half a decade apart, around what is common for the optimizer."""
    return (3e-2, 1e-1, 3e-1) if optimizer == "sgd" else (1e-3, 3e-3, 1e-2, 3e-2)


def pilot_chunks(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Make the chunks of a pilot: networks without dropout at every learning rate, on the first seeds.

    Args:
        chunks: one chunk of each seed of the study.

    Returns:
        One chunk a seed.
    """
    made = []
    for chunk in chunks[:PILOT_SEEDS]:
        trials = tuple(Trial(0.0, 0.0, lr, chunk.trials[0].seed) for lr in pilot_rates(chunk.recipe.optimizer))
        made.append(replace(chunk, trials=trials, keys=tuple(trial.key("pilot") for trial in trials)))
    return made


def pilot(chunks: Sequence[Chunk]) -> float:
    """Choose the learning rate at which networks without dropout reach the lowest stop loss, on average over seeds.

    No selection row and no rate of dropping has a say in it: what a study then finds for dropout is a gain over
    networks that train as well as they can.

    Args:
        chunks: of `pilot_chunks`.

    Returns:
        The learning rate.
    """
    reached = np.array([[_lowest(one) for one in train(chunk)] for chunk in chunks])
    return chunks[0].trials[int(reached.mean(0).argmin())].lr


def _lowest(fitted: Fitted) -> float:
    return np.inf if fitted.diverged or not fitted.best_epoch else fitted.stop_curve[fitted.best_epoch - 1]
