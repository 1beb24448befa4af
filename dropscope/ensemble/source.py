"""Where the masks of a prediction come from: drawn for the rows of each pass, or for whole batches where it must be."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from dropscope.ensemble.draws import Passes
from dropscope.masks import counter, rows
from dropscope.sites.randomness import reseeded
from dropscope.sites.streams import Streams

__all__ = ["Layout", "Source", "layout_of"]

Layout = tuple[int, int]  # the axis on which the rows lie, and how many places there each of them has


class Source:
    """The random numbers of all passes.

    Args:
        model: the module whose streams of random numbers are left as they are.
        seed: of all masks.
        shared: whether all rows of a pass have the same masks.
    """

    def __init__(self, model: nn.Module, seed: int, *, shared: bool) -> None:
        self.model, self.seed, self.shared = model, seed, shared
        self.for_batches: dict[nn.Module, None] = {}  # modules whose draws belong to no row
        self.patched: set[nn.Module] = set()  # modules whose `forward` is not that of their class, apart from ours
        self.unplaced = False  # whether a tensor was dropped in which the rows were not found
        self.layouts: list[Layout | None] = []  # where the rows lie, for each of torch's draws, as far as known
        self.shapes: list[torch.Size] = []  # of what torch's draws of this pass were made for
        self.whole_draws = 0

    @property
    def drawn(self) -> bool:
        """Whether the pass that runs has drawn anything."""
        return self.passes.draws + self.whole_draws > 0

    @contextmanager
    def running(self, passes: Sequence[int], first_row: int, n_rows: int) -> Iterator[Passes]:
        """Draw for these passes over a batch, until the end of the block."""
        self.passes = self.passes_over(passes, first_row, n_rows)
        self.shapes, self.whole_draws = [], 0
        with rows.using(self.passes):
            yield self.passes

    def passes_over(self, numbers: Sequence[int], first_row: int, n_rows: int) -> Passes:
        """Give the random numbers of these passes over a batch."""
        return Passes(self.seed, numbers, first_row, n_rows, shared=self.shared)

    def drop(self, x: Tensor, drop: Callable[[Tensor], Tensor], *, channels: bool = False) -> Tensor:
        """Drop from a tensor whose rows may lie on another axis than the first, or have several places there.

        Args:
            x: the tensor.
            drop: what drops from a tensor with its rows on axis 0.
            channels: whether whole channels, numbered by axes 0 and 1, are dropped.
        """
        with self.by_rows() as seeded:
            layout = self._layout(x.shape, seeded)
            if layout is None or (channels and layout != (0, 1)):
                self.unplaced = True
                with self.whole_batch():
                    return drop(x)

            axis, places = layout
            if (axis, places) == (0, 1):
                return drop(x)
            return drop(x.movedim(axis, 0).unflatten(0, (-1, places))).flatten(0, 1).movedim(0, axis)

    @contextmanager
    def by_rows(self) -> Iterator[rows.Rows]:
        """Draw in the block with the seeds of the rows, also inside `whole_batch`."""
        seeded = rows.current()
        with nullcontext() if seeded else rows.using(self.passes):
            yield seeded or self.passes

    @contextmanager
    def whole_batch(self, inputs: Any = ()) -> Iterator[None]:
        """Draw in the block for the batch as a whole, from streams seeded for the pass, which are put back."""
        self.whole_draws += 1
        # Rows that were not found have other masks in every batch; masks that belong to no row have not.
        batch = self.passes.first_row if self.unplaced and not self.shared else 0
        with rows.using(None), self._reseeded(self.whole_draws + (batch << 20), inputs):
            yield

    def seeded(self, inputs: Any) -> AbstractContextManager[None]:
        """Seed, for the pass and the batch, all streams that the model draws from by itself, and put them back."""
        return self._reseeded(self.passes.first_row << 20, inputs, everywhere=True)

    def _reseeded(self, number: int, inputs: Any, *, everywhere: bool = False) -> AbstractContextManager[None]:
        seed = int(counter.mixed(self.passes.words[0] + torch.tensor(number) * counter.GAMMA))
        return reseeded(Streams(self.model, inputs), seed, everywhere=everywhere)

    def _layout(self, shape: torch.Size, seeded: rows.Rows) -> Layout | None:
        """Say where the rows of a tensor lie: as it was found, else on axis 0 where its size allows that."""
        total = self.passes.total
        if seeded is not self.passes:  # but some of its rows, as in a branch that only they take
            total = len(seeded.seeds)
        else:
            self.shapes.append(shape)
            if len(self.shapes) <= len(self.layouts):
                layout = self.layouts[len(self.shapes) - 1]
                fits = layout and len(shape) > layout[0] and shape[layout[0]] == layout[1] * total
                return layout if fits else None
        places, rest = divmod(shape[0], max(1, total)) if len(shape) else (0, 1)
        return None if rest else (0, places)


def layout_of(fewer: Sequence[int], more: Sequence[int], n_fewer: int, n_more: int) -> Layout | None:
    """Find the axis of the rows from the shapes of one tensor for two numbers of rows; None: there is none such.

    Example:
        >>> layout_of((7, 2, 5), (7, 3, 5), 2, 3)
        (1, 1)
    """
    changed = [axis for axis, sizes in enumerate(zip(fewer, more, strict=False)) if len(set(sizes)) > 1]
    if len(fewer) != len(more) or len(changed) != 1:
        return None
    places, rest = divmod(fewer[changed[0]], n_fewer)
    return None if rest or more[changed[0]] != places * n_more else (changed[0], places)
