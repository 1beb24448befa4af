"""Read a table strictly: whatever would be guessed or silently filled in elsewhere is an error here."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dropscope.errors import BadTable, closest, need

__all__ = ["as_frame", "read_table", "to_frame"]

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".csv.gz", ".tsv.gz")


def read_table(path: str | Path) -> Any:
    """Read a CSV, TSV or Parquet file.

    Args:
        path: the file; `.csv` and `.tsv` may be compressed with gzip.

    Returns:
        A polars DataFrame.

    Raises:
        BadTable: the file is missing, empty, binary, ragged, has unnamed or repeated columns, or is of an unknown kind.
    """
    path = Path(path)
    if not path.exists():
        raise BadTable(f"`table` must be an existing file, got {path}: there is no such file.")
    if path.is_dir():
        raise BadTable(f"`table` must be a file, got the folder {path}.")
    if not path.name.lower().endswith(SUFFIXES):
        raise BadTable(f"`table` must end in one of {', '.join(SUFFIXES)}, got {path.name}.")
    polars = need("polars", "study")
    if path.suffix.lower() == ".parquet":
        try:
            return polars.read_parquet(path)
        except Exception as error:
            raise BadTable(f"{path.name} is not a readable Parquet file: {_first_line(error)}") from error
    return _read_text(path, polars)


def _read_text(path: Path, polars: Any) -> Any:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadTable(f"{path.name} is not a readable gzip file: {_first_line(error)}") from error
    if not raw.strip():
        raise BadTable(f"{path.name} is empty: a table needs a line of column names and at least 50 rows.")
    if b"\0" in raw:
        raise BadTable(f"{path.name} is a binary file, not text: export it as CSV or Parquet.")
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise BadTable(f"{path.name} is not UTF-8 text (byte {error.start}): re-save it as UTF-8.") from error
    separator = _separator(text)
    try:
        _check_rectangular(path.name, csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise BadTable(f"{path.name} cannot be read as CSV: {_first_line(error)}") from error
    try:
        return polars.read_csv(
            text.encode(), separator=separator, infer_schema_length=None, try_parse_dates=True,
            null_values=["", "NA", "N/A", "NaN", "nan", "null", "None", "?"],
        )  # fmt: skip
    except polars.exceptions.PolarsError as error:
        raise BadTable(f"{path.name} cannot be read as CSV: {_first_line(error)}") from error


def _separator(text: str) -> str:
    header = text.partition("\n")[0]
    return max([",", ";", "\t"], key=header.count)


def _check_rectangular(name: str, rows: Iterable[list[str]]) -> None:
    """Raise on ragged rows: polars pads short ones with nulls without a word."""
    rows = iter(rows)
    header = next(rows)
    if any(not column.strip() for column in header):
        raise BadTable(f"{name} has a column without a name: the first line must name every column.")
    repeated = {column for column in header if header.count(column) > 1}
    if repeated:
        raise BadTable(f"{name} has more than one column named `{sorted(repeated)[0]}`: names must differ.")
    for number, row in enumerate(rows, start=2):
        if row and len(row) != len(header):
            raise BadTable(f"{name} is ragged: row {number} has {len(row)} fields where the header has {len(header)}.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def as_frame(table: Any, target: Any) -> tuple[Any, str]:
    """Make one polars DataFrame and a target name of whatever a user has.

    Args:
        table: a path, a polars or pandas DataFrame, or a two-dimensional array of features.
        target: the name of the target column, or an array with one value a row.

    Returns:
        The frame, target included, and the name of the target column.

    Raises:
        BadTable: the target is unknown or of another length, or the table is of an unknown kind.

    Example:
        >>> frame, target = as_frame(np.eye(3), np.arange(3.0))
        >>> frame.columns, target
        (['x0', 'x1', 'x2', 'target'], 'target')
    """
    polars = need("polars", "study")
    frame = to_frame(table)
    if isinstance(target, str):
        if target not in frame.columns:
            raise BadTable(f"`target` must be a column of the table, got `{target}`: {closest(target, frame.columns)}")
        return frame, target
    values = target.tolist() if hasattr(target, "tolist") else list(target)
    if len(values) != frame.height:
        raise BadTable(f"`target` must have one value for each of {frame.height} rows, got {len(values)}.")
    name = "target" if "target" not in frame.columns else "_target"
    return frame.with_columns(polars.Series(name, values)), name


def to_frame(table: Any) -> Any:
    """Make a polars DataFrame of a table.

    Args:
        table: a path, a polars or pandas DataFrame, or an array of shape (rows, columns), named x0, x1, ...

    Returns:
        The frame.

    Raises:
        BadTable: the table is of an unknown kind.
    """
    polars = need("polars", "study")
    if isinstance(table, str | Path):
        return read_table(table)
    if isinstance(table, polars.DataFrame):
        return table
    if isinstance(table, polars.LazyFrame):
        return table.collect()
    if type(table).__module__.partition(".")[0] == "pandas":
        columns = {str(name): table[name] for name in table.columns}
        numeric = {name: column.dtype.kind in "biuf" for name, column in columns.items()}
        return polars.DataFrame(
            {
                name: column.to_numpy() if numeric[name] else column.astype(object).where(column.notna(), None).tolist()
                for name, column in columns.items()
            }
        )
    array = np.asarray(table)
    if array.ndim != 2:
        raise BadTable(f"`table` must be a path, a DataFrame or a two-dimensional array, got {type(table).__name__}.")
    return polars.DataFrame({f"x{j}": array[:, j] for j in range(array.shape[1])})
