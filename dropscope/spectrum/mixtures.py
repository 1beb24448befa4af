"""Mixtures of random rows: every corner of a cube between two rows drawn block by block from the user's table."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["Design", "draw_cubes"]

# More groups see higher orders, fewer leave the budget more pairs of rows; six was best on most known functions.
GROUPS = 6
# Up to this many blocks each block is its own group, and the cube sees every order directly.
EXACT = 8

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class Design:
    """A table's rows, its blocks of columns, and the number of groups that a cube toggles."""

    table: Tensor
    blocks: tuple[tuple[int, ...], ...]

    @property
    def exact(self) -> bool:
        """Whether every block is its own group."""
        return len(self.blocks) <= EXACT

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(self.blocks) if self.exact else GROUPS

    @property
    def corners(self) -> int:
        """Number of mixtures in one cube."""
        return 2**self.groups

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
        Rows of shape (2^groups, cubes, columns), in the table's dtype.
    """
    table, owner, device = design.table, design.owner, design.table.device
    bits = table.view(_BITS[table.element_size()])
    shape = (cubes, len(design.blocks))

    source = generator.device if generator is not None else torch.device("cpu")
    rows = torch.randint(len(table), (2, *shape), generator=generator, device=source).to(device)
    one, other = (bits.gather(0, choice[:, owner]) for choice in rows)

    if design.exact:
        group = torch.arange(len(design.blocks), device=device).expand(shape)
    else:
        shuffled = torch.rand(shape, generator=generator, device=source).argsort(dim=1, stable=True)
        group = shuffled.to(device) % design.groups
    group = group[:, owner]

    # A select without arithmetic: toggling a group is an exclusive or with the bits in which the two rows differ there.
    # Doubling the corners group by group writes every element of the mixtures once.
    differ = one ^ other
    mixed = torch.empty(design.corners, cubes, table.shape[1], dtype=bits.dtype, device=device)
    mixed[0] = other

    for j in range(design.groups):
        half = 2**j
        torch.bitwise_xor(mixed[:half], torch.where(group == j, differ, 0), out=mixed[half : 2 * half])

    return mixed.view(table.dtype)
