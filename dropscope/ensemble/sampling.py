"""The passes over one batch: one by one or several as rows of one batch, whichever is found to be faster."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dropscope.ensemble.inputs import Call
from dropscope.ensemble.prefix import Prefix
from dropscope.ensemble.probing import Plan
from dropscope.ensemble.subject import Subject

__all__ = ["Fold", "Passed", "passes_over"]

START = 2**20  # bytes of the largest call before anything has been timed: what a cache holds
LARGE = 2**23  # bytes of a call on the CPU that are enough work for all cores, and leave their caches
GAIN = 0.93  # what twice as many passes together must take, for each, to go on doubling


class Fold:
    """How many passes to compute together: doubled as long as that is faster for each, halved where memory ends.

    Args:
        plan: how the passes can be run.
        n_rows: rows of a batch.
        memory: bytes that they may take.
    """

    def __init__(self, plan: Plan, n_rows: int, memory: int) -> None:
        each = plan.bytes_per_row * n_rows
        most = min(memory, LARGE) if plan.on_cpu else memory
        self.limit = max(1, most // each) if plan.folds else 1
        self.size = min(self.limit, max(1, START // each))
        self.best: tuple[float, int] | None = None  # seconds for each pass, and how many together
        self.settled = self.limit == 1

    def took(self, seconds: float, passes: int) -> None:
        """Note how long so many passes took together."""
        if self.settled or passes < self.size:
            return
        each = seconds / passes
        if self.best is not None and each > GAIN * self.best[0]:
            self.size, self.settled = self.best[1], True
            return
        self.best = each, passes
        self.size = min(2 * passes, self.limit)
        self.settled = self.size == passes

    def halve(self) -> bool:
        """Compute half as many together from now on; whether that was possible."""
        possible = self.size > 1
        self.size = self.limit = max(1, self.size // 2)
        self.settled = True
        return possible


@dataclass(frozen=True, eq=False)
class Passed:
    """What some passes gave.

    Attributes:
        values: outputs, (passes, rows, ...).
        noise: variances of the noise, of the same shape; None if there are none.
        passes: their numbers.
        dtype: type in which the model gave the outputs.
    """

    values: Tensor
    noise: Tensor | None
    passes: Sequence[int]
    dtype: torch.dtype


def passes_over(subject: Subject, plan: Plan, fold: Fold, call: Call, first_row: int, count: int) -> Iterator[Passed]:
    """Run so many passes over a batch, and give their outputs chunk by chunk.

    Raises:
        MemoryError: a single pass does not fit; or torch's own error.
    """
    prefix = Prefix(plan.steps if count > 1 else {})
    done = 0
    if prefix.steps:
        with prefix.recording(subject.source):
            raw = _run(subject, plan, call, [0], first_row)
        yield _read(subject, plan, raw, [0], call.n_rows)
        done = 1

    folded: dict[int, Call] = {}
    while done < count:
        passes = range(done, min(count, done + fold.size))
        start = time.perf_counter()
        try:
            if len(passes) not in folded:
                folded = {len(passes): call.repeated(len(passes))}
            with prefix.replaying(len(passes)):
                raw = _run(subject, plan, folded[len(passes)], passes, first_row)
                passed = _read(subject, plan, raw, passes, len(passes) * call.n_rows)
        except (MemoryError, RuntimeError) as error:
            if not (out_of_memory(error) and fold.halve()):
                raise
            prefix.forget()
            folded = {}
            continue
        yield passed
        fold.took(time.perf_counter() - start, len(passes))
        done += len(passes)


def out_of_memory(error: Exception) -> bool:
    """Say whether an error means that memory ended: torch has a class for that on accelerators only."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error).lower() for word in words)


def _run(subject: Subject, plan: Plan, call: Call, passes: Sequence[int], first_row: int) -> Any:
    return subject.run(call.copied() if plan.writes else call, passes, first_row, seeded=plan.foreign)


def _read(subject: Subject, plan: Plan, raw: Any, passes: Sequence[int], n_rows: int) -> Passed:
    """Read the outputs, and give every pass an axis of its own."""
    output, noise = subject.reader.picked(raw)
    values = subject.reader.transformed(plan.by_rows(output, n_rows))
    if noise is not None:
        noise = _by_passes(plan.by_rows(noise, n_rows), passes)
    return Passed(_by_passes(values, passes), noise, passes, output.dtype)


def _by_passes(values: Tensor, passes: Sequence[int]) -> Tensor:
    return values.unflatten(0, (len(passes), -1)) if len(passes) > 1 else values.unsqueeze(0)
