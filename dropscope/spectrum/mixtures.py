"""Mixtures of random rows: every corner of a cube between two rows drawn block by block from the user's table."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["Design", "draw_cubes", "draw_mixtures", "group_of"]

# More groups see higher orders, fewer leave the budget more pairs of rows; six was best on most known functions.
GROUPS = 6
# Up to this many blocks each block is its own group, and the cube sees every order directly.
EXACT = 8
# Beyond so many blocks, variance at very high orders that no group tells apart would move the mean order. Rows that
# differ from a cube's first corner in a single block see it.
MANY = 32
NEIGHBOURS = 3
# Rows that toggle either half of a group of a partition: the group must be additive.
HALVES = 2

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
    def checks(self) -> int:
        """Number of mixtures beside the corners."""
        if self.partition is None:
            return NEIGHBOURS if len(self.blocks) > MANY else 0
        return 0 if self.exact else HALVES

    @property
    def rows(self) -> int:
        """Number of rows evaluated for one cube."""
        return self.corners + self.checks

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
        Rows of shape (2^groups + checks, cubes, columns), in the table's dtype. With random groups, the checks differ
        from the first corner in one random block each; with a partition, in either half of a group, `group_of` cube.
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

    for row, toggled in zip(mixed[design.corners :], _toggled(design, cubes, generator), strict=True):
        torch.bitwise_xor(other, torch.where(toggled.to(device)[:, owner], differ, 0), out=row)

    return mixed.view(table.dtype)


def group_of(cubes: int, design: Design) -> Tensor:
    """Group of a partition that each of some cubes halves, in turn."""
    return torch.arange(cubes) % design.groups


def _toggled(design: Design, cubes: int, generator: torch.Generator | None) -> Tensor:
    """Blocks that the checks toggle, of shape (checks, cubes, blocks)."""
    blocks, source = len(design.blocks), _source(generator)
    if design.partition is None:
        block = torch.randint(blocks, (design.checks, cubes, 1), generator=generator, device=source)
        return torch.arange(blocks, device=source) == block
    if not design.checks:
        return torch.empty(0, cubes, blocks, dtype=torch.bool)

    halved = group_of(cubes, design)[:, None] == torch.tensor(design.partition)
    coin = torch.rand(cubes, blocks, generator=generator, device=source).cpu() < 0.5
    return torch.stack([halved & coin, halved & ~coin])


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
