"""Dates and times: read from text, and taken apart into what a network can use, a trend and cycles."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dropscope.errors import BadTable, need

__all__ = ["ISO", "TREND", "Clock", "holds_times", "learn_clock", "parse_columns", "parse_times", "read_form"]

ISO = "year-month-day"
DAY_FIRST, MONTH_FIRST = ("%d{0}%m{0}%Y", "%m{0}%d{0}%Y")
HOURS = ("%H:%M", "%H:%M:%S%.f")
# Stricter than polars, which reads a year of 11 and a ratio of 2:1.
YEAR_FIRST, YEAR_LAST = r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}($|[T ])", r"^\d{1,2}[/.-]\d{1,2}[/.-]\d{4}($| )"
HOURS_ALONE = r"^\d{1,2}:\d{2}"
TREND = "trend"
# Length of each cycle in the unit of its part, and in days.
CYCLES = {"hour": (24.0, 1.0), "weekday": (7.0, 7.0), "day of the year": (365.25, 365.25)}
COVERED = 0.85  # of a cycle: a week from Monday to Sunday spans six days


@dataclass(frozen=True)
class Clock:
    """How one column of times is read: the form of its text, its time zone, the parts used, and whether it has gaps.

    Parts are the trend (days since 1970), the hour (0 to 24), the weekday (Monday is 0) and the day of the year (from
    0), all on the wall clock of the zone.
    """

    form: str = ISO
    zone: str | None = None
    parts: tuple[str, ...] = ()
    gaps: bool = False

    @property
    def width(self) -> int:
        """Number of encoded columns: one for the trend, two for each cycle, and one that marks gaps."""
        return sum(1 if part == TREND else 2 for part in self.parts) + self.gaps

    def read(self, column: Any) -> np.ndarray:
        """Take times apart.

        Args:
            column: a polars column of dates, times, or text in the clock's form.

        Returns:
            Shape (rows, parts); nan where there is none.

        Raises:
            BadTable: the column holds something else.
        """
        polars = need("polars", "study")
        if column.null_count() == len(column):
            return np.full((len(column), len(self.parts)), np.nan)
        if column.dtype == polars.String:
            parsed = parse_times(column, self.form)
            if parsed is None:
                first = column.drop_nulls()[0]
                raise BadTable(f"`{column.name}` must hold dates or times ({self.form}), got {first!r}.")
            column = parsed
        if column.dtype == polars.Datetime and column.dtype.time_zone:
            column = column.dt.convert_time_zone(self.zone or column.dtype.time_zone).dt.replace_time_zone(None)
        elif column.dtype == polars.Date:
            column = column.cast(polars.Datetime("us"))
        if not holds_times(column):
            raise BadTable(f"`{column.name}` must hold dates or times, got {column.dtype}.")
        return np.column_stack([_part(column, part) for part in self.parts])

    def encode(self, raw: np.ndarray, median: float, mean: float, factor: float) -> np.ndarray:
        """Turn parts into inputs: `(trend - mean) * factor`, and sine and cosine of each cycle, which are 0 in a gap.

        Args:
            raw: shape (rows, parts), from `read`.
            median: the trend of a gap.
            mean: where the trend is 0.
            factor: what a day of trend counts.

        Returns:
            Shape (rows, width).
        """
        gap = np.isnan(raw[:, 0])
        columns = []
        for part, values in zip(self.parts, raw.T, strict=True):
            if part == TREND:
                columns.append((np.where(gap, median, values) - mean) * factor)
            else:
                angle = 2 * np.pi * values / CYCLES[part][0]
                columns += [np.where(gap, 0.0, np.sin(angle)), np.where(gap, 0.0, np.cos(angle))]
        return np.column_stack([*columns, *([gap] if self.gaps else [])])


def _part(column: Any, part: str) -> np.ndarray:
    polars = need("polars", "study")
    if part == "weekday":
        values = column.dt.weekday() - 1
    elif part == "day of the year":
        values = column.dt.ordinal_day() - 1
    elif column.dtype == polars.Time:
        values = column.to_physical() / 3.6e12
    else:
        microseconds = column.dt.timestamp("us")
        values = microseconds / 8.64e10 if part == TREND else microseconds % 86_400_000_000 / 3.6e9
    return values.cast(polars.Float64).to_numpy()


def learn_clock(column: Any, form: str, *, trend: bool) -> Clock:
    """Decide which parts of a column's times say something.

    A cycle does where its part varies and the times span all of it: dates of one month say nothing about a year.

    Args:
        column: a polars column of dates or times: the rows to learn from.
        form: how their text was written.
        trend: whether the trend may be used; where later rows are predicted it may not, as it lies beyond all that was
            fitted.

    Returns:
        The clock; without parts if nothing is left.
    """
    polars = need("polars", "study")
    zone = getattr(column.dtype, "time_zone", None)
    gaps = column.null_count() > 0
    if column.dtype == polars.Time:
        return Clock(form, None, ("hour",) if column.n_unique() - gaps > 1 else (), gaps)
    parts = (TREND, *CYCLES)
    values = Clock(form, zone, parts).read(column.drop_nulls())
    if not len(values):
        return Clock(form, zone)
    varies = dict(zip(parts, (values != values[0]).any(0), strict=True))
    days = np.ptp(values[:, 0])
    cycles = [part for part, (_, length) in CYCLES.items() if varies[part] and days >= COVERED * length]
    return Clock(form, zone, (*([TREND] if trend and varies[TREND] else []), *cycles), gaps)


def holds_times(column: Any) -> bool:
    """Whether a column is of dates or times, as polars has them; durations are numbers.

    Args:
        column: a polars column.

    Returns:
        Whether it is.
    """
    return bool(column.dtype.is_temporal()) and column.dtype != need("polars", "study").Duration


def parse_columns(frame: Any, names: list[str], notes: list[str]) -> tuple[Any, dict[str, str]]:
    """Read the columns of text that hold dates or times.

    Args:
        frame: a polars DataFrame.
        names: the columns to look at.
        notes: what is decided is appended here.

    Returns:
        The frame with those columns as dates or times, and the form of the text of each.
    """
    forms, parsed = {}, []
    for name in names:
        column = frame[name]
        form = read_form(column) if column.dtype == need("polars", "study").String else None
        if form == "":
            notes.append(f"`{name}` may write the day or the month first: as 2011-07-31 it would be read as a date.")
        elif form is not None:
            forms[name] = form
            parsed.append(parse_times(column, form))
            if form != ISO:
                notes.append(f"`{name}` is read as {form}.")
    return frame.with_columns(parsed), forms


def read_form(column: Any) -> str | None:
    """Find how a column of text writes dates or times.

    Args:
        column: a polars column of text.

    Returns:
        The form; "" if day and month cannot be told apart; None if the text is something else.
    """
    first = next(iter(column.drop_nulls().head(1)), "")
    if not first[:1].isdigit() or len(first) > 40:
        return None
    if parse_times(column, ISO) is not None:
        return ISO
    for separator in "/.-":
        for hours in ("", *(f" {form}" for form in HOURS)):
            orders = [order.format(separator) + hours for order in (DAY_FIRST, MONTH_FIRST)]
            fitting = [form for form in orders if parse_times(column, form) is not None]
            if fitting:
                return fitting[0] if len(fitting) == 1 else ""
    return next((form for form in HOURS if parse_times(column, form) is not None), None)


def parse_times(column: Any, form: str) -> Any:
    """Read text as dates or times.

    Args:
        column: a polars column of text.
        form: `ISO`, or what `read_form` found.

    Returns:
        The column as dates, or as times where hours are written; None if some text is of another form.
    """
    polars = need("polars", "study")
    text = column.cast(polars.String)
    shape = YEAR_FIRST if form == ISO else YEAR_LAST if "%d" in form else HOURS_ALONE
    if not text.str.contains(shape).fill_null(True).all():
        return None
    has_hours = "%H" in form or (form == ISO and (text.str.len_bytes() > len("2011-07-31")).any())
    kind = "time" if shape == HOURS_ALONE else "datetime" if has_hours else "date"
    try:
        parsed = getattr(text.str, f"to_{kind}")(None if form == ISO else form, strict=False)
    except polars.exceptions.PolarsError:
        return None
    return parsed if parsed.null_count() == column.null_count() else None
