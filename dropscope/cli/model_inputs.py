"""From a table and what a user says of its columns to the inputs of a model."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dropscope.cli.models import Model
from dropscope.data import bundled, names
from dropscope.errors import BadTable, closest, need
from dropscope.study.table import read_table

__all__ = ["choose_columns", "group_columns", "open_table", "to_inputs"]


def open_table(text: str) -> tuple[Any, str, list[str]]:
    """Read a file, or a bundled table; a file wins over a table of the same name.

    Args:
        text: path or name.

    Returns:
        The frame, what it is called, and the columns that are no inputs: the target of a bundled table, and those that
        its study leaves out.

    Raises:
        BadTable: the file cannot be read.
        ValueError: there is neither.
    """
    path = Path(text)
    if path.is_file() or path.suffix or "/" in text:
        return read_table(path), path.name, []
    if text not in names():
        raise ValueError(f"`--data` must be a file or a bundled table, got {text!r}: {closest(text, names())}")

    kept = bundled(text)
    cutters = [kept.options[f"{cut}_column"] for cut in ("group", "time", "split") if f"{cut}_column" in kept.options]
    return kept.table, text, [kept.target, *kept.options.get("drop", ()), *cutters]


def choose_columns(
    frame: Any, model: Model, columns: Sequence[str] | None, left_out: Sequence[str], aside: Sequence[str]
) -> Any:
    """Keep the columns that are the model's inputs, in its order.

    Args:
        frame: the table.
        model: a model that knows the names of its columns takes those.
        columns: names of the columns in their order, None for those of the model or of the table.
        left_out: columns that the user leaves out.
        aside: columns that the table itself sets aside, unless they are asked for.

    Returns:
        The frame of the inputs.

    Raises:
        ValueError: a column is unknown, or their number is not the model's.
    """
    known = frame.columns
    for name in (*(columns or ()), *left_out):
        if name not in known:
            raise ValueError(f"`{name}` must be a column of the table: {closest(name, known)}")

    if columns is None and model.columns is not None:
        missing = [name for name in model.columns if name not in known]
        if missing:
            raise ValueError(f"{model.name} was fitted on a column `{missing[0]}`, which the table lacks.")
        columns = model.columns
    if columns is None:
        columns = [name for name in known if name not in aside]
    chosen = [name for name in columns if name not in left_out]

    if model.width is not None and len(chosen) != model.width:
        shown = ", ".join(chosen[:8]) + (", ..." if len(chosen) > 8 else "")
        raise ValueError(
            f"{model.name} takes {model.width} columns, but the table gives {len(chosen)} ({shown}): choose with "
            "`--columns`, `--drop` or `--target`."
        )
    return frame.select(chosen)


def to_inputs(frame: Any, model: Model) -> Any:
    """Turn a frame into what the model is given: numbers wherever all columns are numbers, and a DataFrame otherwise.

    An estimator that was fitted on names gets a DataFrame in any case.

    Args:
        frame: the columns of the inputs.
        model: the model.

    Returns:
        A tensor, an array, or a DataFrame: of pandas where it is installed, else of polars.

    Raises:
        BadTable: the model takes tensors, but a column is not of numbers or has gaps.
    """
    polars = need("polars", "study")
    words = [name for name, kind in frame.schema.items() if not (kind.is_numeric() or kind == polars.Boolean)]

    if model.columns is not None or (words and not model.tensors):
        return _data_frame(frame)
    if words:
        raise BadTable(
            f"{model.name} takes numbers, but column `{words[0]}` holds {frame.schema[words[0]]}: leave it out with "
            "`--drop`, or name a callable that encodes it, `module:attribute`, which is given a DataFrame."
        )

    numbers = frame.cast(polars.Float64).fill_null(float("nan"))
    gaps = [name for name in frame.columns if numbers[name].is_nan().any()]
    if gaps and model.tensors:
        raise BadTable(f"{model.name} takes numbers, but column `{gaps[0]}` has missing values: fill or drop them.")

    table = torch.from_numpy(numbers.to_numpy().copy()).to(model.dtype)
    return table if callable(model.f) else table.numpy()


def _data_frame(frame: Any) -> Any:
    """A DataFrame of pandas, which most pipelines are fitted on, where it can be made."""
    if importlib.util.find_spec("pandas") and importlib.util.find_spec("pyarrow"):
        return frame.to_pandas()
    return frame


def group_columns(text: str | None, columns: Sequence[str]) -> list[list[int]] | None:
    """Read blocks of columns; every other column is a block of its own.

    Args:
        text: such as "a+b,c+d".
        columns: names of all columns.

    Returns:
        Column indices of each block, in the order of their first columns; None without a text.

    Raises:
        ValueError: a column is unknown or named twice.
    """
    if text is None:
        return None
    blocks = [[name.strip() for name in block.split("+")] for block in text.split(",")]
    named = [name for block in blocks for name in block]
    for name in named:
        if name not in columns:
            raise ValueError(
                f"`--blocks` must name columns of the inputs, got `{name}`: {closest(name, list(columns))}"
            )
        if named.count(name) > 1:
            raise ValueError(f"`--blocks` must name a column once, got `{name}` more than once.")

    blocks += [[name] for name in columns if name not in named]
    place = {name: j for j, name in enumerate(columns)}
    return sorted(([place[name] for name in block] for block in blocks), key=min)
