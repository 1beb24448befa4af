"""Tables in: arrays and DataFrames of numbers as scikit-learn reads them, text and categories as a study does."""

import warnings
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from dropscope.errors import need
from dropscope.study.preprocess import Encoder
from dropscope.study.schema import Schema, with_levels
from dropscope.study.table import to_frame
from dropscope.study.targets import Target

__all__ = ["learn_encoder", "raw_features", "read_table"]


def read_table(estimator: Any, x: Any, *, reset: bool, encoder: Encoder | None = None) -> Any:
    """Check the features of some rows, and remember or compare their number and names.

    Args:
        estimator: whose they are.
        x: an array, or a pandas or polars DataFrame.
        reset: whether to remember, as when fitting begins.
        encoder: what was learned when fitting, or None.

    Returns:
        A float64 array (rows, columns); or a polars DataFrame, if columns hold text or categories.

    Raises:
        ValueError: the table cannot be read, or is not like the one that was fitted.
    """
    wants_frame = bool(encoder.schema.levels) if encoder else is_frame(x) and any(map(_is_text, to_frame(x)))
    if not wants_frame:
        return validate_data(estimator, x, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
    if not is_frame(x):
        raise ValueError(f"`X` must be a DataFrame with the columns that were fitted, got {type(x).__name__}.")
    validate_data(estimator, x, reset=reset, skip_check_array=True)
    frame = to_frame(x)
    for column in frame:
        if column.dtype.is_temporal():
            raise ValueError(f"`{column.name}` must hold numbers or text, got dates: make numbers of them.")
        if column.dtype.is_nested() or column.dtype.is_(need("polars", "study").Object):
            raise ValueError(f"`{column.name}` must hold numbers or text, got {column.dtype}.")
        if column.dtype.is_float() and column.is_infinite().any():
            raise ValueError(f"`{column.name}` must be finite, got infinity: remove or replace it.")
    return frame


def is_frame(x: Any) -> bool:
    """Say whether a table is a DataFrame of pandas or polars."""
    return type(x).__module__.partition(".")[0] in ("pandas", "polars") and type(x).__name__ == "DataFrame"


def _is_text(column: Any) -> bool:
    """Say whether a column holds categories: text, booleans, categories; one that is all missing holds numbers."""
    return not column.dtype.is_numeric() and column.dtype != need("polars", "study").Null


def learn_encoder(table: Any) -> Encoder:
    """Learn medians, scales and levels.

    Args:
        table: what `read_table` returned, of the rows to learn from.

    Returns:
        The encoder.
    """
    if isinstance(table, np.ndarray):
        numeric, categories = [f"x{j}" for j in range(table.shape[1])], []
    else:
        categories = [column.name for column in table if _is_text(column)]
        numeric = [name for name in table.columns if name not in categories]
    notes: list[str] = []
    target = Target(("y",), "regression")
    schema = with_levels(Schema(target, tuple(numeric), dict.fromkeys(categories, ())), table, notes)
    for note in notes:
        warnings.warn(note, stacklevel=3)
    raw = raw_features(table, schema)
    return Encoder.fit(schema, raw, np.isnan(raw[:, : len(numeric)]).any(axis=0))


def raw_features(table: Any, schema: Schema) -> np.ndarray:
    """Give what `Encoder.transform` takes of what `read_table` returned."""
    return table if isinstance(table, np.ndarray) else schema.raw(table)
