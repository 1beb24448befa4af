"""The masks of many passes at once, each a function of the seed, the pass, the draw and the row, and of nothing else.

Neither the size of the batches nor how many passes are computed together changes a mask. On the CPU the random bytes
are numpy's Philox, which starts at any row at once; on other devices, and for laws other than Bernoulli's, they come
from `masks.counter`.
"""

import math
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscope.masks import counter
from dropscope.masks.rows import Rows

__all__ = ["Passes"]

WORD = 2**64
GAMMA = np.uint64(counter.GAMMA % WORD)
BLOCK = 32  # bytes that Philox makes at a time; every row begins with a new block


class _Here(threading.local):
    """Numpy's generator, one for each thread, which is put where each draw begins: to make one takes longer."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(key=0)
        self.state: Any = self.philox.state


_here = _Here()


class Passes(Rows):
    """The seeds of a batch that stands there several times over, once for each pass: pass by pass, row by row.

    Args:
        seed: of all masks.
        passes: numbers of the passes.
        first_row: number of the batch's first row.
        n_rows: rows of the batch.
        shared: whether all rows of a pass have the same masks.
    """

    def __init__(self, seed: int, passes: Sequence[int], first_row: int, n_rows: int, *, shared: bool) -> None:
        self.seed, self.passes, self.shared = seed % WORD, passes, shared
        self.first_row, self.n_rows = first_row, n_rows
        self.draws = 0

    @property
    def total(self) -> int:
        """How many rows there are in all passes together."""
        return len(self.passes) * self.n_rows

    @cached_property
    def seeds(self) -> Tensor:  # type: ignore[override]
        """One seed for each row of each pass."""
        rows = torch.arange(self.first_row, self.first_row + self.n_rows) * (not self.shared)
        return counter.mixed(self.words.unsqueeze(1) + (rows + 1) * counter.GAMMA).flatten()

    @cached_property
    def words(self) -> Tensor:
        """One random word for each pass."""
        start = torch.tensor(self.seed - WORD if self.seed >= WORD // 2 else self.seed)
        return counter.mixed(counter.mixed(start) + torch.tensor(list(self.passes)) * counter.GAMMA)

    def kept(self, shape: Sequence[int], device: torch.device, p: float) -> Callable[[], Tensor]:
        """Give a function that tells, by numbers above 0, which elements of the next draw are kept."""
        if device.type != "cpu" or len(shape) == 0 or shape[0] != self.total:
            return super().kept(shape, device, p)
        self.draws += 1
        shape = torch.Size(shape)
        kept = self._drawn(max(1, shape[1:].numel()), p).view(len(self.passes), -1, *shape[1:])
        rows = kept.expand(-1, self.n_rows, *shape[1:])
        kept = rows[0] if len(self.passes) == 1 else rows.reshape(shape)  # one pass needs no copies for its rows
        return lambda: kept

    def _drawn(self, width: int, p: float) -> Tensor:
        """Draw for so many elements of each row; of one row where all rows share them."""
        numbers, below = self._bytes(width), int(256 * p)
        kept = np.greater_equal(numbers, below)
        if not (256 * p).is_integer():
            # A byte at the threshold is dropped with the probability that is missing from p.
            ties = np.flatnonzero(numbers == below)
            kept.reshape(-1)[ties] = self._uniform(ties, width) >= 256 * p - below
        return torch.from_numpy(kept).view(torch.int8)

    def _bytes(self, width: int) -> NDArray[np.uint8]:
        """Draw random bytes of shape (passes, rows, width)."""
        blocks = math.ceil(width / BLOCK)
        rows, first = (1, 0) if self.shared else (self.n_rows, self.first_row)
        words = [self._philox(number, first * blocks, rows * blocks * BLOCK // 8) for number in self.passes]
        joined = words[0] if len(words) == 1 else np.concatenate(words)
        return joined.view(np.uint8).reshape(len(words), rows, -1)[:, :, :width]

    def _philox(self, number: int, start: int, count: int) -> NDArray[np.uint64]:
        """Draw 64-bit words of one pass, from a block on."""
        place = _here.state["state"]
        place["counter"][0], place["key"][0], place["key"][1] = start, self.seed, number + (self.draws << 40)
        _here.philox.state = _here.state
        return _here.philox.random_raw(count)

    def _uniform(self, elements: NDArray[np.intp], width: int) -> NDArray[np.float64]:
        """Give a number on [0, 1) for single elements, counted over all passes."""
        rows, first = (1, 0) if self.shared else (self.n_rows, self.first_row)
        passes, places = np.divmod(elements.astype(np.uint64), np.uint64(rows * width))
        keys = np.array([self.seed ^ (number + (self.draws << 40)) for number in self.passes], dtype=np.uint64)
        words = _mixed(_mixed(keys)[passes] + (places + np.uint64(first * width)) * GAMMA)
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble as `counter.mixed` does: numpy is faster with few numbers."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
