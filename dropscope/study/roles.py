"""Sort the columns of a table by what they hold: numbers, categories, times, texts, or nothing to learn from."""

from dataclasses import dataclass, field
from typing import Any

from dropscope.errors import BadTable, need
from dropscope.study.times import holds_times
from dropscope.study.words import has_words

__all__ = ["Roles", "sort_columns"]

FEW = 20  # levels that any category may have


@dataclass
class Roles:
    """Names of columns by role, in the order of the table."""

    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def sort_columns(frame: Any, names: list[str], categorical: tuple[str, ...], notes: list[str]) -> Roles:
    """Sort columns.

    Numbers, durations, dates and times are what they are; booleans, and text whose values repeat, are categories.
    Other text is kept where it carries words (`has_words`); otherwise it is an identifier and says nothing.

    Args:
        frame: a polars DataFrame.
        names: the columns to sort.
        categorical: columns that are categories whatever they hold.
        notes: what is left out is said here, and so is what is taken for text.

    Returns:
        The roles.

    Raises:
        BadTable: a column has no value, or an infinite one.
    """
    polars = need("polars", "study")
    roles = Roles()
    for name in names:
        column = frame[name]
        _check_values(column)
        if column.dtype.is_nested() or column.dtype in (polars.Binary, polars.Object):
            notes.append(f"`{name}` holds {column.dtype}, which is neither number, text nor time, and was dropped.")
        elif column.n_unique() < 2:
            notes.append(f"`{name}` is constant and was dropped.")
        elif name in categorical or column.dtype == polars.Boolean:
            roles.categorical.append(name)
        elif column.dtype.is_numeric() or column.dtype == polars.Duration:
            roles.numeric.append(name)
        elif holds_times(column):
            roles.times.append(name)
        elif column.n_unique() <= max(FEW, frame.height // 2):
            roles.categorical.append(name)
        else:
            _sort_text(column, roles, notes)
    return roles


def _check_values(column: Any) -> None:
    name = column.name
    if column.null_count() == len(column) or (column.dtype.is_float() and column.is_nan().all()):
        raise BadTable(f"`{name}` has no value in any row: drop it (`--drop {name}`).")
    if column.dtype.is_float() and column.is_infinite().any():
        row = int(column.is_infinite().arg_max() or 0)
        raise BadTable(f"`{name}` must be finite, got {column[row]} in row {row + 1}: remove or replace it.")


def _sort_text(column: Any, roles: Roles, notes: list[str]) -> None:
    """Most values stand in one row alone: they carry words, or name their row."""
    name, distinct = column.name, column.n_unique()
    if has_words(column):
        roles.texts.append(name)
        notes.append(
            f"`{name}` has {distinct} distinct texts: networks see their words (`--drop {name}`: they do not)."
        )
    else:
        notes.append(f"`{name}` has {distinct} distinct texts, looks like an identifier and was dropped.")
