"""From a table and what a user says of its columns to the inputs of a model."""

import contextlib
import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dropscope.cli.models import Model
from dropscope.cli.wording import in_options
from dropscope.data import bundled, names
from dropscope.errors import BadTable, closest, need
from dropscope.spectrum.reading import looks_up
from dropscope.study.table import read_table

__all__ = ["choose_columns", "group_columns", "names_in", "open_table", "to_inputs"]


def open_table(text: str) -> tuple[Any, str, list[str]]:
    """Read a file, or a bundled table; a file wins over a table of the same name.

    Args:
        text: path or name.

    Returns:
        The frame, what it is called, and the columns that are no inputs: the target of a bundled table, and those that
        its study leaves out.

    Raises:
        BadTable: the file cannot be read, or has no line of names.
        ValueError: there is neither.
    """
    path = Path(text)
    if path.is_file() or path.suffix or "/" in text or (path.is_dir() and text not in names()):
        return _read(path), path.name, []
    if text not in names():
        raise ValueError(f"`--data` must be a file or a bundled table, got {text!r}: {closest(text, names())}")

    kept = bundled(text)
    cutters = [kept.options[f"{cut}_column"] for cut in ("group", "time", "split") if f"{cut}_column" in kept.options]
    return kept.table, text, [kept.target, *kept.options.get("drop", ()), *cutters]


def _read(path: Path) -> Any:
    try:
        frame = read_table(path)
    except BadTable as error:
        raise BadTable(in_options(str(error), "the model")) from error

    numbers = [_number(name) for name in frame.columns]
    # Columns without names are numbered from 0 where they were written.
    if path.suffix.lower() != ".parquet" and None not in numbers and numbers != [*range(len(numbers))]:
        raise BadTable(f"{path.name} has no line of column names: the first line holds numbers alone. Add one.")
    return frame


def _number(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        return float(text)
    return None


def choose_columns(frame: Any, model: Model, named: Mapping[str, Any], aside: Sequence[str]) -> Any:
    """Keep the columns that are the model's inputs, in its order.

    Args:
        frame: the table.
        model: a model that knows the names of its columns takes those.
        named: what the user says: `columns`, the inputs in their order, None for those of the model or of the table;
            `drop` and `target`, columns that are left out.
        aside: columns that the table itself sets aside, unless they are asked for.

    Returns:
        The frame of the inputs.

    Raises:
        ValueError: a column is unknown or chosen twice, or their number is not the model's.
    """
    known = frame.columns
    columns = names_in(named["columns"]) if named["columns"] else None
    left_out = [*names_in(named["drop"]), *([] if named["target"] is None else [named["target"]])]
    for name in (*(columns or ()), *left_out):
        if name not in known:
            raise ValueError(f"`{name}` must be a column of the table: {closest(name, known)}")
    _check_once("--columns", columns or [])

    if columns is None and model.columns is not None:
        missing = [name for name in model.columns if name not in known]
        if missing:
            raise ValueError(f"{model.name} was fitted on a column `{missing[0]}`, which the table lacks.")
        columns = [*model.columns]
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

    An estimator that was fitted on names gets a DataFrame in any case; whole numbers stay whole for an embedding.

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

    # Column by column: a large table should not be held three times.
    codes = isinstance(model.f, nn.Module) and looks_up(model.f) and all(kind.is_integer() for kind in frame.dtypes)
    table = torch.empty(frame.height, frame.width, dtype=torch.int64 if codes else model.dtype)
    for j, column in enumerate(frame.iter_columns()):
        numbers = column.cast(polars.Float64).fill_null(float("nan"))
        if model.tensors and numbers.is_nan().any():
            raise BadTable(
                f"{model.name} takes numbers, but column `{column.name}` has missing values: fill or drop them."
            )
        table[:, j] = torch.tensor(numbers.to_numpy())
    return table if callable(model.f) else table.numpy()


def _data_frame(frame: Any) -> Any:
    """A DataFrame of pandas, which most pipelines are fitted on, where it can be made."""
    if importlib.util.find_spec("pandas") and importlib.util.find_spec("pyarrow"):
        return frame.to_pandas()
    return frame


def names_in(texts: Iterable[str], separator: str = ",") -> list[str]:
    """Take texts apart into names; one that holds a separator stands in double quotes.

    Args:
        texts: such as 'a,"b,c"'.
        separator: what stands between names.

    Returns:
        The names.

    Example:
        >>> names_in(['a,"b,c"', "d"])
        ['a', 'b,c', 'd']
    """
    return [_unquoted(part) for text in texts for part in _parts(text, separator)]


def _parts(text: str, separator: str) -> list[str]:
    """Split at separators that an even number of quotes follows: those outside of quotes."""
    return re.split(rf'{re.escape(separator)}(?=(?:[^"]*"[^"]*")*[^"]*$)', text)


def _unquoted(name: str) -> str:
    name = name.strip()
    return name[1:-1].replace('""', '"') if len(name) > 1 and name[0] == name[-1] == '"' else name


def _check_once(option: str, names: Sequence[str]) -> None:
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(f"`{option}` must name a column once, got `{repeated[0]}` more than once.")


def group_columns(texts: Sequence[str] | None, columns: Sequence[str]) -> list[list[int]] | None:
    """Read blocks of columns; every other column is a block of its own.

    Args:
        texts: such as "a+b,c+d"; names with a comma or a plus stand in double quotes.
        columns: names of all columns.

    Returns:
        Column indices of each block, in the order of their first columns; None without texts.

    Raises:
        ValueError: a column is unknown or named twice.
    """
    if not texts:
        return None
    blocks = [names_in([block], "+") for text in texts for block in _parts(text, ",")]
    named = [name for block in blocks for name in block]
    for name in named:
        if name not in columns:
            raise ValueError(
                f"`--blocks` must name columns of the inputs, got `{name}`: {closest(name, list(columns))}"
            )
    _check_once("--blocks", named)

    blocks += [[name] for name in columns if name not in named]
    place = {name: j for j, name in enumerate(columns)}
    return sorted(([place[name] for name in block] for block in blocks), key=min)
