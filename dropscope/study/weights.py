"""What every row counts: sample weights of a column, and weights that make all classes count the same."""

from dataclasses import replace
from typing import Any

import numpy as np

from dropscope.errors import BadTable, closest, need
from dropscope.study.options import Options

__all__ = ["attach_weights", "class_weights", "read_weights", "rows_that_count"]


def attach_weights(frame: Any, weights: Any, options: Options) -> tuple[Any, Options]:
    """Make a column of weights that are given beside a table.

    Args:
        frame: a polars DataFrame.
        weights: one number a row, or None.
        options: the study's options.

    Returns:
        The frame with the column, and the options that name it.

    Raises:
        ValueError: there is not one weight a row, or a column of weights is named as well.
    """
    if weights is None:
        return frame, options
    if options.weight_column is not None:
        raise ValueError("`weights` and `weight_column` say the same thing: give one of them.")
    values = np.asarray(weights)
    if values.shape != (frame.height,):
        raise ValueError(f"`weights` must be one number for each of {frame.height} rows, got shape {values.shape}.")
    name = "weight"
    while name in frame.columns:
        name = f"_{name}"
    return frame.with_columns(need("polars", "study").Series(name, values)), replace(options, weight_column=name)


def rows_that_count(frame: Any, column: str | None, notes: list[str]) -> Any:
    """Leave out the rows of weight 0.

    Args:
        frame: a polars DataFrame.
        column: its column of weights, or None.
        notes: how many were left out is said here.

    Returns:
        The frame without them.

    Raises:
        BadTable: the weights are no weights.
    """
    if column is None:
        return frame
    if column not in frame.columns:
        raise BadTable(f"`{column}` must be a column of the table: {closest(column, frame.columns)}")
    values = frame[column]
    if not values.dtype.is_numeric():
        raise BadTable(f"`{column}` weighs the rows and must hold numbers, got {values.dtype}.")
    if values.null_count() or not np.isfinite(values.to_numpy().astype(float)).all():
        raise BadTable(f"`{column}` weighs the rows and must have a finite number in each of them.")
    if values.min() < 0:
        raise BadTable(f"`{column}` weighs the rows and must not be negative, got {values.min():g}.")
    zeros = int((values == 0).sum())
    if zeros == len(values):
        raise BadTable(f"`{column}` weighs the rows and must be above 0 in some of them, got zeros alone.")
    if zeros:
        notes.append(f"{zeros} rows of weight 0 were left out.")
    return frame.filter(values > 0)


def read_weights(frame: Any, column: str | None) -> np.ndarray | None:
    """Read weights above 0.

    Args:
        frame: a polars DataFrame.
        column: its column of weights, or None.

    Returns:
        Shape (rows,), with a mean of one; None where all rows count the same.
    """
    if column is None:
        return None
    values = frame[column].to_numpy().astype(float)
    shares = values / values.max()  # whose sum cannot overflow
    return None if (shares == 1).all() else shares / shares.mean()


def class_weights(y: np.ndarray, weights: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """Compute weights by which all classes of some rows count the same: n / (k n_c) for k classes of n_c rows.

    Args:
        y: shape (all rows,), class indices.
        weights: what each row counts already, or None for all alike; n and n_c are sums of these.
        rows: the rows to learn from.

    Returns:
        Shape (all rows,); 1 for a class that none of the rows has.

    Example:
        >>> class_weights(np.array([0, 0, 0, 1]), None, np.arange(4)).round(3).tolist()
        [0.667, 0.667, 0.667, 2.0]
    """
    sums = np.bincount(y[rows], None if weights is None else weights[rows], minlength=int(y.max()) + 1)
    present = sums > 0
    by_class = np.divide(sums.sum(), present.sum() * sums, out=np.ones(len(sums)), where=present)
    return by_class[y]
