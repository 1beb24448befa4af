"""Read a table strictly: whatever would be guessed or silently filled in elsewhere is an error here."""

from pathlib import Path
from typing import Any

import numpy as np

from dropscope.errors import BadTable, MissingExtra, closest, need
from dropscope.study.conversion import from_array, from_pandas
from dropscope.study.csv_text import first_line, read_csv
from dropscope.study.file_kinds import READERS

__all__ = ["as_frame", "read_table", "to_frame"]

TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")


def read_table(path: str | Path) -> Any:
    """Read a CSV, TSV, Parquet, Arrow, Excel or JSON lines file.

    Args:
        path: the file; `.csv` and `.tsv` may be compressed with gzip, and `table.xlsx:Sheet2` names a sheet. A folder
            is read as the Parquet files in it.

    Returns:
        A polars DataFrame.

    Raises:
        BadTable: the file is missing, empty, binary, ragged, has unnamed or repeated columns, or is of an unknown kind.
    """
    path, sheet = _split_sheet(Path(path))
    if not path.exists():
        raise BadTable(f"`table` must be an existing file, got {path}: there is no such file.")
    if path.is_dir() and not any(path.glob("*.parquet")):
        raise BadTable(f"`table` must be a file, got the folder {path}, which holds no .parquet files.")
    if path.name.lower().endswith(TEXT):
        return read_csv(path)
    suffix = ".parquet" if path.is_dir() else path.suffix.lower()
    if suffix not in READERS:
        raise BadTable(f"`table` must end in one of {', '.join((*TEXT, *READERS))}, got {path.name}.")
    kind, read = READERS[suffix]
    try:
        return read(path, sheet)
    except (BadTable, MissingExtra):
        raise
    except Exception as error:
        raise BadTable(f"{path.name} is not a readable {kind}: {first_line(error)}") from error


def _split_sheet(path: Path) -> tuple[Path, str | None]:
    """Take `table.xlsx:Sheet2` apart."""
    name, colon, sheet = path.name.rpartition(".xlsx:")
    return (path.with_name(f"{name}.xlsx"), sheet) if colon else (path, None)


def as_frame(table: Any, target: Any) -> tuple[Any, tuple[str, ...]]:
    """Make one polars DataFrame and the names of its target columns of whatever a user has.

    Args:
        table: a path, a polars or pandas DataFrame, or a two-dimensional array of features.
        target: the name of the target column, or several in a list or separated by commas; or an array with one value
            a row, or shape (rows, targets).

    Returns:
        The frame, targets included, and the names of the target columns.

    Raises:
        BadTable: a target is unknown or of another length, or the table is of an unknown kind.

    Example:
        >>> frame, targets = as_frame(np.eye(3), np.arange(3.0))
        >>> frame.columns, targets
        (['x0', 'x1', 'x2', 'target'], ('target',))
    """
    polars = need("polars", "study")
    frame = to_frame(table)
    names = _target_names(frame, target)
    if names:
        return frame, names

    columns = _target_columns(target)
    rows = len(next(iter(columns.values()), ()))
    if rows != frame.height:
        raise BadTable(f"`target` must have one value for each of {frame.height} rows, got {rows}.")
    columns = {f"_{name}" if name in frame.columns else name: values for name, values in columns.items()}
    return frame.with_columns([polars.Series(name, values) for name, values in columns.items()]), tuple(columns)


def _target_names(frame: Any, target: Any) -> tuple[str, ...]:
    """Read names of columns; none where the target is an array of values."""
    given = [target] if isinstance(target, str) else target
    if not isinstance(given, list | tuple) or not all(isinstance(text, str) for text in given):
        return ()
    if given is target and len(given) == frame.height:
        return ()  # the values of a target of classes
    columns = frame.columns
    names = [part for text in given for part in ([text] if text in columns else map(str.strip, text.split(",")))]
    for name in names:
        if name not in columns:
            raise BadTable(f"`target` must be a column of the table, got `{name}`: {closest(name, columns)}")
        if names.count(name) > 1:
            raise BadTable(f"`target` must name a column once, got `{name}` {names.count(name)} times.")
    return tuple(names)


def _target_columns(target: Any) -> dict[str, list[Any]]:
    """Name the columns of an array of targets."""
    if type(target).__module__.partition(".")[0] in ("pandas", "polars") and hasattr(target, "columns"):
        frame = to_frame(target)
        return {name: frame[name].to_list() for name in frame.columns}
    values = target.tolist() if hasattr(target, "tolist") else list(target)
    if np.ndim(target) < 2:
        return {"target": values}
    array = np.asarray(target)
    if array.ndim != 2 or not array.shape[1]:
        raise BadTable(f"`target` must be of shape (rows,) or (rows, targets), got {array.shape}.")
    return {f"target{j}" if array.shape[1] > 1 else "target": array[:, j].tolist() for j in range(array.shape[1])}


def to_frame(table: Any) -> Any:
    """Make a polars DataFrame of a table.

    Args:
        table: a path, a polars or pandas DataFrame, or an array of shape (rows, columns), named x0, x1, ...

    Returns:
        The frame.

    Raises:
        BadTable: the table is of an unknown kind, or two of its columns have the same name.
    """
    polars = need("polars", "study")
    if isinstance(table, str | Path):
        return read_table(table)
    if isinstance(table, polars.DataFrame):
        return table
    if isinstance(table, polars.LazyFrame):
        return table.collect()
    if type(table).__module__.partition(".")[0] == "pandas":
        return from_pandas(table)
    array = np.asarray(table)
    if array.ndim != 2:
        raise BadTable(f"`table` must be a path, a DataFrame or a two-dimensional array, got {type(table).__name__}.")
    return from_array(array)
