"""Checks of what a user passes beside the table: blocks of columns, the highest order, numbers, names of methods."""

import math
import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from operator import index
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscope.errors import closest
from dropscope.spectrum.mixtures import Design

__all__ = [
    "Blocks",
    "Inputs",
    "advise",
    "check_choice",
    "check_design",
    "check_generator",
    "check_order",
    "whole_number",
]

Inputs = Tensor | NDArray[Any]
Blocks = Sequence[Sequence[int | str]]

# Orders that have a share of their own where the user does not say.
ORDERS = 3


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


def whole_number(name: str, value: Any, least: float = -math.inf) -> int:
    """An argument that counts something, in any type of number: 1e5 is as good as 100000.

    Args:
        name: the argument.
        value: what the user gave.
        least: smallest value allowed.

    Returns:
        The number.

    Raises:
        TypeError: it is not whole, or no number.
        ValueError: it is too small.
    """
    whole = isinstance(value, Real) and float(value).is_integer()
    if not whole:
        raise TypeError(f"`{name}` must be a whole number, got {value!r}.")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}.")
    return int(value)


def check_generator(generator: Any) -> None:
    """Check the source of the draws.

    Args:
        generator: what the user gave.

    Raises:
        TypeError: it is neither a generator nor None.
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(
            f"`generator` must be a torch.Generator or None, got {generator!r}: "
            "`torch.Generator().manual_seed(0)` makes one."
        )


def check_order(max_order: int | None, design: Design) -> int:
    """The highest order with a share of its own.

    Args:
        max_order: what the user gave; None stands for 3, or for the number of blocks if there are fewer.
        design: the blocks.

    Returns:
        The order.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is no order of so many blocks.
    """
    blocks = len(design.blocks)
    if max_order is None:
        return min(ORDERS, blocks)

    if not 1 <= whole_number("max_order", max_order) <= blocks:
        raise ValueError(f"`max_order` must be in 1 to {blocks}, the number of blocks, got {max_order}.")
    return int(max_order)


def check_design(table: Tensor, blocks: Blocks | None, labels: Sequence[Any] = ()) -> Design:
    """Check the blocks of a table's columns.

    Args:
        table: rows of shape (rows, columns).
        blocks: columns of each block; None makes each column its own.
        labels: label of each column, by which blocks may mention it.

    Returns:
        The design of the cubes.

    Raises:
        ValueError: the blocks are no partition of the columns.
        TypeError: the blocks are no sequences of columns.
    """
    return Design(table, _check_blocks(_positions(blocks, labels), table.shape[1]))


def _positions(blocks: Any, labels: Sequence[Any]) -> Sequence[Sequence[int]] | None:
    """The blocks with their names replaced by column indices."""
    if blocks is None:
        return None

    wanted = "`blocks` must be a list of lists of columns"
    if isinstance(blocks, Mapping):
        raise TypeError(f"{wanted}, got a {type(blocks).__name__}: pass `list(blocks.values())`.")
    if isinstance(blocks, str) or not hasattr(blocks, "__iter__"):
        raise TypeError(f"{wanted}, got {blocks!r}.")
    for block in blocks:
        if isinstance(block, str) or not hasattr(block, "__iter__"):
            raise TypeError(f"{wanted}, got {block!r}: write [{block!r}] for one.")
    return [[_position(column, labels) for column in block] for block in blocks]


def _position(column: Any, labels: Sequence[Any]) -> int:
    if isinstance(column, str):
        return _named(column, [*map(str, labels)])

    try:
        position = index(column)
    except TypeError:
        raise TypeError(f"`blocks` must hold column indices or names, got {column!r}.") from None

    if any(isinstance(label, Integral) and label != place for place, label in enumerate(labels)):
        raise ValueError(
            f"`blocks` must be clear, but {position} may be a position or a label, as columns of `inputs` are labelled "
            f"by other integers than their positions: write '{position}' for the label, or rename the columns."
        )
    return position


def _named(name: str, names: list[str]) -> int:
    """The only column of that name."""
    if names.count(name) == 1:
        return names.index(name)

    found = f"{name!r}, which names {names.count(name)} columns"
    hint = closest(name, names) if names and name not in names else "give their indices."
    raise ValueError(f"`blocks` must name columns of `inputs`, got {found}: {hint}")


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
