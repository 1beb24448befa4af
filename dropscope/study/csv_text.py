"""Read CSV text strictly: ragged rows, unnamed or repeated columns and binary files are errors."""

import csv
import gzip
import io
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dropscope.errors import BadTable, need
from dropscope.study.times import ISO, parse_times

__all__ = ["first_line", "read_csv"]

SEPARATORS = ",;\t"
MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "None", "?"]
BLOCK = 1 << 24  # bytes looked at at once
LINE_END = ord("\n")


def read_csv(path: Path) -> Any:
    """Read a CSV or TSV file, compressed with gzip or not.

    Args:
        path: the file.

    Returns:
        A polars DataFrame; columns of text that is year-month-day throughout hold dates or times.

    Raises:
        BadTable: the file is empty, binary, not UTF-8 or ragged, or has unnamed or repeated columns.
    """
    polars = need("polars", "study")
    raw = _text(path)
    try:
        headers = {separator: next(_rows(raw, separator)) for separator in SEPARATORS}
        separator = max(SEPARATORS, key=lambda separator: len(headers[separator]))
        _check_header(path.name, headers[separator])
        _check_rectangular(path.name, raw, separator, len(headers[separator]))
        if len(headers[separator]) > 1 and b"\n\n" in raw and b'"' not in raw:
            raw = re.sub(rb"\n\n+", b"\n", raw)  # polars reads a row of nothing of a blank line
    except csv.Error as error:
        raise BadTable(f"{path.name} cannot be read as CSV: {first_line(error)}") from error
    try:
        frame = polars.read_csv(raw, separator=separator, infer_schema_length=None, null_values=MISSING)
    except polars.exceptions.PolarsError as error:
        raise BadTable(f"{path.name} cannot be read as CSV: {first_line(error)}") from error
    # polars leaves doubled quotes in names as they are.
    frame.columns = headers[separator]
    texts = [column for column in frame if column.dtype == polars.String]
    dated = [column for column in (parse_times(column, ISO) for column in texts) if column is not None]
    return frame.with_columns(dated)


def first_line(error: Exception) -> str:
    """The first line of another library's message, which may go on with advice of its own."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _text(path: Path) -> bytes:
    """Read a file as UTF-8 bytes with lines that end in a line feed."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadTable(f"{path.name} is not a readable gzip file: {first_line(error)}") from error
    if not raw or raw.isspace():
        raise BadTable(f"{path.name} is empty: a table needs a line of column names and at least 50 rows.")
    if b"\0" in raw:
        raise BadTable(f"{path.name} is a binary file, not text: export it as CSV or Parquet.")
    try:
        if not raw.isascii():
            raw.decode()
    except UnicodeDecodeError as error:
        raise BadTable(f"{path.name} is not UTF-8 text (byte {error.start}): re-save it as UTF-8.") from error
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in raw else raw


def _rows(raw: bytes, separator: str) -> Any:
    return csv.reader(io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", newline=""), delimiter=separator)


def _check_header(name: str, header: list[str]) -> None:
    if any(not column.strip() for column in header):
        raise BadTable(f"{name} has a column without a name: the first line must name every column.")
    repeated = {column for column in header if header.count(column) > 1}
    if repeated:
        raise BadTable(f"{name} has more than one column named `{sorted(repeated)[0]}`: names must differ.")


def _check_rectangular(name: str, raw: bytes, separator: str, fields: int) -> None:
    """Raise on ragged rows: polars pads short ones with nulls without a word."""
    if b'"' in raw:
        counted = ((number, len(row)) for number, row in enumerate(_rows(raw, separator), start=1))
        found = next((pair for pair in counted if pair[1] not in (0, fields)), None)
    else:
        found = _ragged_line(raw, ord(separator), fields)
    if found:
        raise BadTable(f"{name} is ragged: row {found[0]} has {found[1]} fields where the header has {fields}.")


def _ragged_line(raw: bytes, separator: int, fields: int) -> tuple[int, int] | None:
    """Number and fields of the first line that is neither blank nor has so many fields, in text without quotes."""
    start = number = 0
    while start < len(raw):
        end = raw.rfind(b"\n", start, start + BLOCK) + 1 or raw.find(b"\n", start) + 1 or len(raw)
        block = np.frombuffer(raw, np.uint8, end - start, start)
        if block[-1] != LINE_END:
            block = np.append(block, np.uint8(LINE_END))  # the last line may end with the file
        marks = np.flatnonzero((block == separator) | (block == LINE_END))
        ends = np.flatnonzero(block[marks] == LINE_END)
        counts = np.diff(ends, prepend=-1)
        blank = np.diff(marks[ends], prepend=-1) == 1
        wrong = np.flatnonzero((counts != fields) & ~blank)
        if len(wrong):
            return number + int(wrong[0]) + 1, int(counts[wrong[0]])
        start, number = end, number + len(ends)
    return None
