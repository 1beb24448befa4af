"""One seed per sample: masks of a sample that depend neither on its batch nor on its place in it."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.compiler import is_compiling

from dropscope.masks import counter
from dropscope.masks.replay import refuse_in_backward
from dropscope.masks.sources import is_recorded

__all__ = ["Rows", "current", "in_use", "per_sample", "refuse_seeds", "using"]


@dataclass
class Rows:
    """The seeds of a batch, and how many draws were made with them."""

    seeds: Tensor
    draws: int = 0

    def next_seeds(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Give the seeds of the next draw, which has one row per sample."""
        if len(shape) == 0 or shape[0] != len(self.seeds):
            raise ValueError(
                f"inside masks.per_sample axis 0 of every draw must be the batch of {len(self.seeds)} samples, got a "
                f"draw of shape {tuple(shape)}: samples that share a mask cannot each have their own."
            )
        refuse_in_backward()
        self.draws += 1
        return counter.mixed(self.seeds.to(device)) + self.draws

    def kept(self, shape: Sequence[int], device: torch.device, p: float) -> Callable[[], Tensor]:
        """Give a function that tells, the same at every call, which elements of the next draw are kept."""
        seeds = self.next_seeds(shape, device)
        wide = torch.float64 if device.type == "cpu" else torch.float32
        return lambda: counter.uniform(seeds, shape, wide) < 1 - p


_current: ContextVar[Rows | None] = ContextVar("rows", default=None)
_open = 0  # blocks open in any thread: the one number that every draw looks at
_lock = threading.Lock()


class _Here(threading.local):
    """What compiled code looks at, which knows no ContextVar: the blocks open in its own thread."""

    def __init__(self) -> None:
        self.open = 0


_here = _Here()


def in_use() -> bool:
    """Say whether a block is open anywhere, in this thread or another."""
    return _open > 0


def current() -> Rows | None:
    """The seeds in use here, if any."""
    compiled = is_compiling()
    rows = _current.get() if not compiled and _open else None
    if _here.open if compiled else rows is not None and is_recorded():
        raise RuntimeError("masks.per_sample works only in code that simply runs, not compiled, recorded or vmapped.")
    return rows


@contextmanager
def using(rows: Rows | None) -> Iterator[None]:
    """Draw with these seeds in the block; None: as everywhere else."""
    global _open
    with _lock:
        _open += 1
    _here.open += 1
    token = _current.set(rows)
    try:
        yield
    finally:
        _current.reset(token)
        _here.open -= 1
        with _lock:
            _open -= 1


@contextmanager
def per_sample(seeds: Tensor) -> Iterator[None]:
    """Give every sample its own seed: in the block its masks depend on that seed alone, not on its batch-mates.

    Every draw must have the batch on axis 0. Row `i` of the block's n-th draw is a function of `seeds[i]` and n.
    Under activation checkpointing pass `context_fn=masks.rewinding()`, which also counts the draws back.

    Args:
        seeds: int64 tensor of shape (batch,), such as the indices of the samples plus a multiple of the epoch.

    Yields:
        Nothing.

    Raises:
        TypeError: `seeds` is not an int64 tensor with one axis.
        ValueError: in the block, a draw has not the batch on axis 0.
        RuntimeError: in the block, code is compiled, recorded or transformed.

    Example:
        >>> from dropscope import masks
        >>> with per_sample(torch.tensor([7, 8, 7])):
        ...     kept = masks.keep((3, 100), 0.5)
        >>> torch.equal(kept[0], kept[2]), torch.equal(kept[0], kept[1])
        (True, False)
    """
    if not isinstance(seeds, Tensor) or seeds.dtype != torch.int64 or seeds.dim() != 1:
        raise TypeError(f"`seeds` must be an int64 tensor of shape (batch,), got {seeds!r}.")
    with using(Rows(seeds.detach().clone())):
        yield


def refuse_seeds(what: str) -> None:
    """Refuse, inside `per_sample`, what has no draw for each sample: axis 0 of its draws only looks like a batch."""
    if current() is not None:
        raise ValueError(f"{what} cannot be used inside masks.per_sample: no draw of it belongs to one sample.")
