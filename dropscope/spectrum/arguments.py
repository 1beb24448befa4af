"""Checks of what a user passes beside the table: its blocks of columns, the highest order, and names of methods."""

import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from operator import index
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscope.errors import closest
from dropscope.spectrum.mixtures import Design

__all__ = ["Blocks", "Inputs", "advise", "check_choice", "check_design"]

Inputs = Tensor | NDArray[Any]
Blocks = Sequence[Sequence[int | str]]


def advise(message: str) -> None:
    """Warn about the line of the user's code that called dropscope.

    Args:
        message: what to keep in mind.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("dropscope."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


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


def check_design(
    inputs: Inputs, blocks: Blocks | None, max_order: int, point: str, names: Sequence[str] | None = None
) -> Design:
    """Check the arguments that all estimators share.

    Args:
        inputs: table of shape (rows, columns).
        blocks: columns of each block; None makes each column its own.
        max_order: highest order with a share of its own.
        point: name of the point estimate.
        names: name of each column, by which blocks may mention it.

    Returns:
        The design of the cubes.

    Raises:
        ValueError: one of them is invalid.
        TypeError: the blocks are no sequences of columns.
    """
    check_choice("point", point, ("smooth", "nnls"))

    table = torch.as_tensor(inputs).detach()
    if table.ndim != 2 or len(table) < 2:
        raise ValueError(f"`inputs` must be a table of two rows or more, got shape {tuple(table.shape)}.")
    checked = _check_blocks(_positions(blocks, names or ()), table.shape[1])

    if not 1 <= max_order <= len(checked):
        raise ValueError(f"`max_order` must be in 1 to {len(checked)}, the number of blocks, got {max_order}.")
    return Design(table, checked)


def _positions(blocks: Blocks | None, names: Sequence[str]) -> Sequence[Sequence[int]] | None:
    """The blocks with their names replaced by column indices."""
    if blocks is None:
        return None

    if isinstance(blocks, str) or not hasattr(blocks, "__iter__"):
        raise TypeError(f"`blocks` must be a list of lists of columns, got {blocks!r}.")
    for block in blocks:
        if isinstance(block, str) or not hasattr(block, "__iter__"):
            raise TypeError(f"`blocks` must be a list of lists of columns, got {block!r}: write [{block!r}] for one.")
    return [[_position(column, names) for column in block] for block in blocks]


def _position(column: Any, names: Sequence[str]) -> int:
    if isinstance(column, str):
        if names.count(column) != 1:
            found = f"{column!r}, which names {names.count(column)} columns"
            hint = f": {closest(column, list(names))}" if names else ": give their indices."
            raise ValueError(f"`blocks` must name columns of `inputs`, got {found}{hint}")
        return names.index(column)

    try:
        return index(column)
    except TypeError:
        raise TypeError(f"`blocks` must hold column indices or names, got {column!r}.") from None


def _check_blocks(blocks: Sequence[Sequence[int]] | None, columns: int) -> tuple[tuple[int, ...], ...]:
    """The blocks as tuples, holding every column exactly once."""
    if blocks is None:
        blocks = [(column,) for column in range(columns)]

    checked = tuple(map(tuple, blocks))
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
