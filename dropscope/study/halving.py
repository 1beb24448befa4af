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

    A trial that stays has the numbers, bit for bit, that it has without halving.

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
    ratio = float(np.mean([len(chunk.data.cut.select) / len(chunk.data.cut.fit) for chunk in chunks]))
    curves: list[dict[str, Any]] = [{} for _ in trials]
    fitted = train_members(
        x, y, members, recipe, beaten=Race(trials, recipe.epochs, ratio), on_epoch=on_epoch,
        probe=_probe(chunks, curves) if recipe.blocks else None, probe_epochs=recipe.probe_epochs,
    )  # fmt: skip
    return [
        record
        for chunk, part in zip(chunks, _parts(chunks), strict=True)
        for record in measure(chunk, fitted[part], curves[part], start)
    ]


def _gathered(chunks: Sequence[Chunk]) -> tuple[torch.Tensor, torch.Tensor, list[stack.Member]]:
    """Put the fit and stop rows of all seeds, each scaled in its own way, one after the other."""
    tables, targets = [], []
    members: list[stack.Member] = []
    first = 0
    for chunk in chunks:
        cut = chunk.data.cut
        rows = np.concatenate([cut.fit, cut.stop])
        tables.append(chunk.data.x[rows])
        targets.append(chunk.data.y[rows])
        fit, stop = torch.arange(first, first + len(rows)).split([len(cut.fit), len(cut.stop)])
        members += members_of(chunk, fit, stop)
        first += len(rows)
    return torch.from_numpy(np.concatenate(tables)), torch.from_numpy(np.concatenate(targets)), members


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
