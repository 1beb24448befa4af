"""Checks of what a user passes: the table, its blocks of columns, and names of methods."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscope.spectrum.mixtures import Design

__all__ = ["Blocks", "Inputs", "check_choice", "check_design"]

Inputs = Tensor | NDArray[Any]
Blocks = Sequence[Sequence[int]]


def check_choice(name: str, value: str, valid: tuple[str, ...]) -> None:
    """Check that an argument is one of the valid names.

    Args:
        name: the argument.
        value: what the user gave.
        valid: the names.

    Raises:
        ValueError: it is another one.
    """
    if value not in valid:
        raise ValueError(f"`{name}` must be {' or '.join(map(repr, valid))}, got {value!r}.")


def check_design(inputs: Inputs, blocks: Blocks | None, max_order: int, point: str) -> Design:
    """Check the arguments that all estimators share.

    Args:
        inputs: table of shape (rows, columns).
        blocks: column indices of each block; None makes each column its own.
        max_order: highest order with a share of its own.
        point: name of the point estimate.

    Returns:
        The design of the cubes.

    Raises:
        ValueError: one of them is invalid.
    """
    check_choice("point", point, ("smooth", "nnls"))

    table = torch.as_tensor(inputs).detach()
    if table.ndim != 2 or len(table) < 2:
        raise ValueError(f"`inputs` must be a table of two rows or more, got shape {tuple(table.shape)}.")
    checked = _check_blocks(blocks, table.shape[1])

    if not 1 <= max_order <= len(checked):
        raise ValueError(f"`max_order` must be in 1 to {len(checked)}, the number of blocks, got {max_order}.")
    return Design(table, checked)


def _check_blocks(blocks: Blocks | None, columns: int) -> tuple[tuple[int, ...], ...]:
    """The blocks as tuples, holding every column exactly once."""
    if blocks is None:
        blocks = [(column,) for column in range(columns)]

    checked = tuple(tuple(int(column) for column in block) for block in blocks)
    if not all(checked):
        raise ValueError("`blocks` must not be empty: a block needs at least one column.")

    named = Counter(column for block in checked for column in block)
    outside = sorted(column for column in named if not 0 <= column < columns)
    if outside:
        raise ValueError(f"`blocks` must name columns 0 to {columns - 1}, got {outside}.")

    repeated = sorted(column for column, times in named.items() if times > 1)
    if repeated:
        raise ValueError(f"`blocks` must not overlap, got {repeated} more than once.")

    missing = sorted(set(range(columns)) - named.keys())
    if missing:
        raise ValueError(f"`blocks` must hold every column, got none with {missing}: give them their own.")

    if len(checked) < 2:
        raise ValueError(f"an interaction needs at least two blocks of columns, got {len(checked)}.")

    return checked
