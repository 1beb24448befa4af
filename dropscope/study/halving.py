"""Successive halving: the chunks of all seeds trained as one stack, which beaten arms leave early."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from dropscope import stack
from dropscope.study.chunk import Chunk, measure, members_of, probe_of, train_members
from dropscope.study.race import Race

__all__ = ["run_halved"]


def run_halved(chunks: Sequence[Chunk], on_epoch: Callable[..., None] | None = None) -> list[dict[str, Any]]:
    """Train and measure all chunks of a study together, and let arms leave that `Race` finds beaten.

    A trial that stays has the numbers, bit for bit, that it has without halving; of one that leaves no spectrum is
    measured, not even those of its first epochs.

    Args:
        chunks: all trials of the study, one chunk a seed.
        on_epoch: called after every epoch with the epoch, the models still training and their best stop loss.

    Returns:
        One record a trial; `left_at` is the epoch after which a beaten one left.
    """
    start = time.perf_counter()
    recipe = chunks[0].recipe
    x, y, members = _gathered(chunks)
    trials = [trial for chunk in chunks for trial in chunk.trials]
    looks: list[tuple[int, Any, list[int]]] = []
    fitted = train_members(
        x, y, members, recipe, beaten=Race(trials, recipe.epochs), on_epoch=on_epoch,
        probe=lambda epoch, forward, indices: looks.append((epoch, forward.copy(), indices)),
        probe_epochs=recipe.probe_epochs if recipe.blocks else (),
    )  # fmt: skip
    curves: list[dict[str, Any]] = [{} for _ in trials]
    probe = _probe(chunks, curves)
    for epoch, forward, indices in looks:
        probe(epoch, forward, [i for i in indices if fitted[i].left_at is None])
    return [
        record
        for chunk, part in zip(chunks, _parts(chunks), strict=True)
        for record in measure(chunk, fitted[part], curves[part], start)
    ]


def _gathered(chunks: Sequence[Chunk]) -> tuple[torch.Tensor, torch.Tensor, list[stack.Member]]:
    """Put the fit and stop rows of all seeds, each scaled in its own way, one after the other."""
    parts = [(chunk.data, np.concatenate([chunk.data.cut.fit, chunk.data.cut.stop])) for chunk in chunks]
    counts = [data.weights[rows] for data, rows in parts if data.weights is not None]
    weights = torch.from_numpy(np.concatenate(counts)) if counts else None
    members: list[stack.Member] = []
    first = 0
    for chunk, (data, rows) in zip(chunks, parts, strict=True):
        fit, stop = torch.arange(first, first + len(rows)).split([len(data.cut.fit), len(data.cut.stop)])
        members += members_of(chunk, fit, stop, weights)
        first += len(rows)
    x, y = (np.concatenate([getattr(data, name)[rows] for data, rows in parts]) for name in "xy")
    return torch.from_numpy(x), torch.from_numpy(y), members


def _parts(chunks: Sequence[Chunk]) -> list[slice]:
    """Where the trials of each chunk are among all."""
    ends = np.cumsum([0, *(len(chunk.trials) for chunk in chunks)]).tolist()
    return [slice(a, b) for a, b in pairwise(ends)]


def _probe(chunks: Sequence[Chunk], curves: list[dict[str, Any]]) -> Callable[..., None]:
    """Measure each seed's networks on its own rows, as they are without halving."""
    parts = _parts(chunks)
    probes = [probe_of(chunk, curves[part]) for chunk, part in zip(chunks, parts, strict=True)]

    def probe(epoch: int, forward: Callable[..., torch.Tensor], indices: list[int]) -> None:
        for one, part in zip(probes, parts, strict=True):
            mine = [i for i in indices if part.start <= i < part.stop]
            if mine:
                one(epoch, partial(forward, only=mine), [i - part.start for i in mine])

    return probe
