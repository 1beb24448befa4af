"""Mixtures of random rows: every corner of a cube between two rows drawn block by block from the user's table."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["Design", "draw_cubes", "draw_mixtures"]

# More groups see higher orders, fewer leave the budget more pairs of rows; six was best on most known functions.
GROUPS = 6
# Up to this many blocks each block is its own group, and the cube sees every order directly.
EXACT = 8
# Rows that differ from a cube's first corner in one block: they bound the mean order, which grouping sees dimly.
NEIGHBOURS = 3

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class Design:
    """A table's rows, its blocks of columns, and the groups of blocks that a cube toggles.

    Attributes:
        table: rows of shape (rows, columns).
        blocks: column indices of each block.
        partition: group of each block, where no interaction holds two blocks of a group: the order in groups is then
            the order in blocks. Up to eight blocks are groups of their own; None draws groups at random for each cube.
    """

    table: Tensor
    blocks: tuple[tuple[int, ...], ...]
    partition: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Few blocks are groups of their own."""
        if self.partition is None and len(self.blocks) <= EXACT:
            object.__setattr__(self, "partition", tuple(range(len(self.blocks))))

    @property
    def exact(self) -> bool:
        """Whether every block is its own group."""
        return self.partition is not None and self.groups == len(self.blocks)

    @property
    def groups(self) -> int:
        """Number of groups."""
        return GROUPS if self.partition is None else max(self.partition) + 1

    @property
    def corners(self) -> int:
        """Number of corners of one cube."""
        return 2**self.groups

    @property
    def neighbours(self) -> int:
        """Number of mixtures beside the corners that toggle a single block; with a partition they tell nothing new."""
        return NEIGHBOURS if self.partition is None else 0

    @property
    def rows(self) -> int:
        """Number of rows evaluated for one cube."""
        return self.corners + self.neighbours

    @cached_property
    def owner(self) -> Tensor:
        """Block of each column."""
        owner = torch.empty(self.table.shape[1], dtype=torch.int64)
        for index, block in enumerate(self.blocks):
            owner[list(block)] = index
        return owner


def draw_cubes(design: Design, cubes: int, generator: torch.Generator | None) -> Tensor:
    """Draw pairs of rows and mix each pair in every way its groups allow.

    Each row takes every block from a row of the table of its own: the law is the product of the blocks' laws.

    Args:
        design: table, blocks and groups.
        cubes: number of pairs.
        generator: source of the draws.

    Returns:
        Rows of shape (2^groups + neighbours, cubes, columns), in the table's dtype. The neighbours differ from the
        first corner in one random block each.
    """
    table, device = design.table, design.table.device
    owner = design.owner.to(device)
    bits = table.view(_BITS[table.element_size()])
    shape = (cubes, len(design.blocks))

    one, other = (bits.gather(0, choice) for choice in _choices(design, 2, cubes, generator))

    if design.partition is not None:
        group = torch.tensor(design.partition, device=device).expand(shape)
    else:
        shuffled = torch.rand(shape, generator=generator, device=_source(generator)).argsort(dim=1, stable=True)
        group = shuffled.to(device) % design.groups
    group = group[:, owner]

    # A select without arithmetic: toggling a group is an exclusive or with the bits in which the two rows differ there.
    # Doubling the corners group by group writes every element of the mixtures once.
    differ = one ^ other
    mixed = torch.empty(design.rows, cubes, table.shape[1], dtype=bits.dtype, device=device)
    mixed[0] = other

    for j in range(design.groups):
        half = 2**j
        torch.bitwise_xor(mixed[:half], torch.where(group == j, differ, 0), out=mixed[half : 2 * half])

    block = torch.randint(
        len(design.blocks), (design.neighbours, cubes, 1), generator=generator, device=_source(generator)
    )
    for row, chosen in zip(mixed[design.corners :], block.to(device), strict=True):
        torch.bitwise_xor(other, torch.where(chosen == owner, differ, 0), out=row)

    return mixed.view(table.dtype)


def draw_mixtures(design: Design, toggled: Tensor, draws: int, generator: torch.Generator | None) -> Tensor:
    """Draw pairs of rows and mix every pair in the same given ways.

    Args:
        design: table and blocks.
        toggled: which blocks each mixture takes from the second row, of shape (mixtures, blocks).
        draws: number of pairs.
        generator: source of the draws.

    Returns:
        Rows of shape (mixtures, draws, columns), in the table's dtype.
    """
    one, other = (design.table.gather(0, choice) for choice in _choices(design, 2, draws, generator))
    return torch.where(toggled[:, None, design.owner].to(one.device), other, one)


def _choices(design: Design, copies: int, draws: int, generator: torch.Generator | None) -> Tensor:
    """Row of the table that each column takes, blocks drawn independently: shape (copies, draws, columns)."""
    shape = (copies, draws, len(design.blocks))
    rows = torch.randint(len(design.table), shape, generator=generator, device=_source(generator))
    return rows.to(design.table.device)[:, :, design.owner]


def _source(generator: torch.Generator | None) -> torch.device:
    return generator.device if generator is not None else torch.device("cpu")
