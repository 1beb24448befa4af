"""Tables that are not text: Parquet, Arrow, Excel and JSON lines, each through polars' own reader."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dropscope.errors import BadTable, closest, need

__all__ = ["READERS", "read_excel"]


def read_excel(path: Path, sheet: str | None) -> Any:
    """Read one sheet of a workbook: the one that is named, or the only one with rows.

    Args:
        path: an .xlsx file.
        sheet: name of the sheet.

    Returns:
        A polars DataFrame.

    Raises:
        BadTable: there is no such sheet, or none or several could be meant, or names of columns lack or repeat.
    """
    need("fastexcel", "study")
    read = need("polars", "study").read_excel(path, sheet_id=0, infer_schema_length=None, raise_if_empty=False)
    sheets = {name: frame for name, frame in read.items() if frame.height}
    if sheet is None and len(sheets) != 1:
        raise BadTable(
            f"{path.name} must have one sheet with rows, got {len(sheets)}"
            + (f" ({', '.join(sheets)}): choose one, as in `{path.name}:{next(iter(sheets))}`." if sheets else ".")
        )
    name = next(iter(sheets)) if sheet is None else sheet
    if name not in sheets:
        raise BadTable(f"{path.name} has no sheet `{name}` with rows: {closest(name, list(sheets))}")
    if any(column.startswith("__UNNAMED__") for column in sheets[name].columns):
        raise BadTable(f"{path.name} has a column without a name: the first line must name every column.")
    header = need("fastexcel", "study").read_excel(path).load_sheet(name, header_row=None, n_rows=1).to_polars().row(0)
    repeated = next((column for column in header if header.count(column) > 1), None)
    if repeated is not None:
        raise BadTable(f"{path.name} has more than one column named `{repeated}`: names must differ.")
    return sheets[name]


def _read_parquet(path: Path, _: str | None) -> Any:
    return need("polars", "study").read_parquet(path / "*.parquet" if path.is_dir() else path)


def _read_arrow(path: Path, _: str | None) -> Any:
    polars = need("polars", "study")
    try:
        return polars.read_ipc(path)
    except polars.exceptions.PolarsError:
        return polars.read_ipc_stream(path)  # the other of Arrow's two formats


def _read_json_lines(path: Path, _: str | None) -> Any:
    return need("polars", "study").read_ndjson(path, infer_schema_length=None)


Reader = Callable[[Path, str | None], Any]
READERS: dict[str, tuple[str, Reader]] = {
    ".parquet": ("Parquet file", _read_parquet),
    ".arrow": ("Arrow file", _read_arrow),
    ".feather": ("Arrow file", _read_arrow),
    ".ipc": ("Arrow file", _read_arrow),
    ".xlsx": ("Excel file", read_excel),
    ".jsonl": ("file of JSON lines", _read_json_lines),
    ".ndjson": ("file of JSON lines", _read_json_lines),
}
