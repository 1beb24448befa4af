"""What is random while a stack trains: every model's own batches and masks, drawn several steps ahead.

Each model owns two generators on the CPU, one for the order of its rows and one for its masks, so that what it draws
depends neither on the other models nor on the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from dropscope.stack.layout import padded
from dropscope.stack.shape import Member, Shape

__all__ = ["AHEAD", "Batches", "Noise", "Step", "draw_keep_"]

AHEAD = 16  # steps drawn at once; a multiple of eight, since eight bytes of masks come from one 64-bit word


def draw_keep_(words: Tensor, p: float, generator: Generator) -> None:
    """Fill the bytes of contiguous int64 words with 1 (keep) or 0 (drop, with probability exactly p).

    A random byte decides p down to the next lower 1/256; what is missing is dropped at positions whose gaps are
    geometric. p = 0 draws nothing.

    Args:
        words: the memory to fill.
        p: probability of dropping, in [0, 1).
        generator: the source of randomness.
    """
    keep = words.view(torch.int8)
    coarse = int(256 * p)
    if coarse:
        words.random_(-(2**63), None, generator=generator)
        torch.ge(keep, coarse - 128, out=keep)
    else:
        keep.fill_(1)

    rest = (p - coarse / 256) / (1 - coarse / 256)
    if rest > 0:
        keep.index_fill_(0, sparse_positions(len(keep), rest, generator), 0)


def sparse_positions(size: int, p: float, generator: Generator) -> Tensor:
    """Draw which of `size` positions succeed, each with a small probability p, by the gaps between them."""
    block = int(size * p + 6 * (size * p) ** 0.5) + 16
    positions = torch.zeros(1, dtype=torch.float64)
    while positions[-1] <= size:
        gaps = torch.empty(block, dtype=torch.float64).geometric_(p, generator=generator)
        positions = torch.cat([positions, positions[-1] + gaps.cumsum(0)])
    return positions[1 : torch.searchsorted(positions, size, right=True)].long() - 1


class Batches:
    """An endless stream of row indices: fresh permutations of a model's rows, one after the other."""

    def __init__(self, rows: Tensor, generator: Generator) -> None:
        self.rows = rows
        self.generator = generator
        self.left = rows[:0]

    def take(self, count: int) -> Tensor:
        """The next indices; a batch may straddle two permutations and is never short."""
        parts = [self.left]
        while sum(map(len, parts)) < count:
            parts.append(self.rows[torch.randperm(len(self.rows), generator=self.generator)])
        stream = torch.cat(parts)
        self.left = stream[count:]
        return stream[:count]


@dataclass(frozen=True, eq=False)
class Step:
    """What one step of the whole stack needs: row indices (models, batch), keep-bytes of the inputs and per layer."""

    rows: Tensor
    inputs: Tensor
    hidden: list[Tensor]


class Noise:
    """The batches and masks of a stack, `AHEAD` steps at a time, one row of memory per model."""

    def __init__(
        self, members: Sequence[Member], batches: Sequence[Batches], shape: Shape, batch_size: int, dtype: torch.dtype
    ) -> None:
        self.members = list(members)
        self.batches = list(batches)
        self.masks = [Generator().manual_seed(member.mask_seed) for member in members]
        self.position = 0

        models, wide = len(members), padded(len(shape.columns), dtype)
        self.expand = shape.columns != tuple(range(len(shape.columns)))
        self.columns = torch.tensor(shape.columns + (0,) * (wide - len(shape.columns)))
        self.inputs = torch.empty(models, AHEAD, batch_size, shape.groups if self.expand else wide, dtype=torch.int8)
        self.hidden = torch.empty(models, AHEAD, shape.depth, batch_size, padded(shape.width, dtype), dtype=torch.int8)
        self.rows = torch.empty(AHEAD, models, batch_size, dtype=torch.int64)

    def step(self, device: torch.device | str) -> Step:
        """Hand out the next step's share."""
        now = self.position % AHEAD
        if now == 0:
            for model in range(len(self.members)):
                self._refill(model)
        self.position += 1

        inputs = self.inputs[:, now]
        if self.expand:
            inputs = inputs.index_select(2, self.columns)
        hidden = self.hidden[:, now].to(device)
        return Step(self.rows[now].to(device), inputs.to(device), list(hidden.unbind(1)))

    def _refill(self, model: int) -> None:
        member = self.members[model]
        self.rows[:, model] = self.batches[model].take(self.rows[:, model].numel()).view_as(self.rows[:, model])
        draw_keep_(words(self.inputs[model]), member.p_input, self.masks[model])
        if isinstance(member.p_hidden, float | int):
            draw_keep_(words(self.hidden[model]), member.p_hidden, self.masks[model])
            return
        for layer, p in enumerate(member.p_hidden):
            keep = torch.empty_like(self.hidden[model, :, layer], memory_format=torch.contiguous_format)
            draw_keep_(words(keep), p, self.masks[model])
            self.hidden[model, :, layer] = keep

    def keep(self, models: Sequence[int]) -> None:
        """Keep only some models, in the given order, with what was drawn ahead for them."""
        index = torch.tensor(models)
        self.members = [self.members[model] for model in models]
        self.batches = [self.batches[model] for model in models]
        self.masks = [self.masks[model] for model in models]
        self.inputs = self.inputs.index_select(0, index)
        self.hidden = self.hidden.index_select(0, index)
        self.rows = self.rows.index_select(1, index)


def words(keep: Tensor) -> Tensor:
    """The contiguous bytes of one model as 64-bit words, the unit in which they are drawn."""
    return keep.view(-1).view(torch.int64)
