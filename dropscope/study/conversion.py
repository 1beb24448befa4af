"""Tables of pandas and numpy as polars frames: every column keeps its values, and missing ones are null."""

from collections.abc import Iterable
from numbers import Number
from typing import Any

import numpy as np

from dropscope.errors import BadTable, need

__all__ = ["from_array", "from_pandas", "level_name"]


def from_pandas(table: Any) -> Any:
    """Make a polars DataFrame of a pandas one.

    Numbers stay numbers and objects become what their values are; categories are told by their names, be these numbers
    or not, since whoever makes a number a category means it.

    Args:
        table: a pandas DataFrame.

    Returns:
        The frame; names of columns are texts.

    Raises:
        BadTable: two columns have the same name, or one holds both numbers and text.
    """
    polars = need("polars", "study")
    names = [str(name) for name in table.columns]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise BadTable(f"`table` has more than one column named `{repeated}`: names must differ.")
    columns = [table.iloc[:, j] for j in range(len(names))]
    return polars.DataFrame([_series(name, column) for name, column in zip(names, columns, strict=True)])


def from_array(array: np.ndarray) -> Any:
    """Make a polars DataFrame of an array.

    Args:
        array: shape (rows, columns), of any kind.

    Returns:
        The frame, with columns x0, x1, ...

    Raises:
        BadTable: a column holds both numbers and text.
    """
    polars = need("polars", "study")
    if array.dtype.kind != "O":
        return polars.DataFrame({f"x{j}": array[:, j] for j in range(array.shape[1])})
    return polars.DataFrame([_of_objects(f"x{j}", array[:, j].tolist()) for j in range(array.shape[1])])


def level_name(value: Any) -> str:
    """Name a level; whole numbers alike, for a column of them is one of floats wherever a value is missing.

    Args:
        value: a value of a category, not a missing one.

    Returns:
        The name.

    Example:
        >>> level_name(3), level_name(3.0), level_name(3.5)
        ('3', '3', '3.5')
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _series(name: str, column: Any) -> Any:
    missing = column.isna().to_numpy(dtype=bool)
    if hasattr(column, "cat") and column.cat.categories.dtype.kind in "biuf":
        column = column.astype(object).map(level_name)
    elif column.dtype.kind in "iuf" or (column.dtype.kind == "b" and not missing.any()):
        return need("polars", "study").Series(name, column.to_numpy())
    return _of_objects(name, column.astype(object).where(~missing, None).tolist())


def _of_objects(name: str, values: Iterable[Any]) -> Any:
    """Let polars infer what the values are; strict=False also takes integers among floats, and decimals."""
    polars = need("polars", "study")
    plain = [None if isinstance(value, float) and np.isnan(value) else value for value in values]
    texts = {isinstance(value, str) for value in plain if isinstance(value, str | Number)}
    if len(texts) > 1:
        raise BadTable(f"column `{name}` must hold either numbers or text, got both: make it one of them.")
    return polars.Series(name, plain, strict=False)
