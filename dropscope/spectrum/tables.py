"""Tables whose rows can be mixed block by block: numbers as they are, DataFrames by the numbers of their rows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscope.errors import need

__all__ = ["NumberTable", "PandasTable", "PolarsTable", "Table"]

Array = NDArray[np.float64]

# Values of a row that a message shows.
SHOWN = 8


class Table(ABC):
    """A table, as the estimators mix it and as the model is given it.

    Args:
        rows: what is mixed, of shape (rows, columns).
        labels: label of each column, of any type; as text, they are its `names`.
        coded: columns whose `numbers` only say which of their levels it is.
    """

    def __init__(self, rows: Tensor, labels: Any, coded: Sequence[int] = ()) -> None:
        self.rows = rows
        self.labels = labels
        self.names = tuple(map(str, labels))
        self.coded = tuple(coded)

    @abstractmethod
    def give(self, rows: Tensor) -> Any:
        """Rows or mixtures of them, in the form that the model is given."""

    @abstractmethod
    def numbers(self, rows: Tensor) -> Array:
        """Rows or mixtures of them as float64: nan where missing, ticks of a time, the number of a level."""

    @abstractmethod
    def show(self, row: Tensor) -> str:
        """The first values of one row, for a message."""


class NumberTable(Table):
    """Numbers, mixed as they are, and given as a tensor or as an array."""

    def __init__(self, rows: Tensor, *, as_array: bool) -> None:
        super().__init__(rows, [f"x{column}" for column in range(rows.shape[1])])
        self.as_array = as_array

    def give(self, rows: Tensor) -> Any:
        """The numbers, on the device and in the dtype of the table."""
        return rows.cpu().numpy() if self.as_array else rows

    def numbers(self, rows: Tensor) -> Array:
        """The same in float64."""
        return rows.cpu().double().numpy()

    def show(self, row: Tensor) -> str:
        """The first values of one row."""
        return _listed([f"{value:g}" for value in row.tolist()])


class FrameTable(Table):
    """A DataFrame of any columns, given as one of the same kind; its entries are mixed by their row numbers."""

    def __init__(self, columns: Sequence[Any], labels: Any) -> None:
        self.columns = columns
        entries = torch.arange(len(columns[0]) if columns else 0, dtype=torch.int32)
        coded = [j for j, column in enumerate(columns) if not self._is_number(column)]
        super().__init__(entries[:, None].expand(-1, len(columns)), labels, coded)

    def give(self, rows: Tensor) -> Any:
        """A DataFrame whose every entry comes from the row that stands in its place."""
        return self._frame(self._taken(rows))

    def numbers(self, rows: Tensor) -> Array:
        """Numbers and ticks of times; levels of anything else, numbered among these rows."""
        numbers = np.empty(rows.shape)
        for j, column in enumerate(self._taken(rows)):
            numbers[:, j] = self._levels(column) if j in self.coded else self._values(column)
        return numbers

    def show(self, row: Tensor) -> str:
        """Names and values of the first columns."""
        taken = self._taken(row[None])
        return _listed([f"{name}={_in_one_line(column[0])}" for name, column in zip(self.names, taken, strict=True)])

    def _taken(self, rows: Tensor) -> list[Any]:
        """Each column's entries from the rows that it names."""
        chosen = rows.T.contiguous().numpy()
        return [self._take(column, entries) for column, entries in zip(self.columns, chosen, strict=True)]

    @abstractmethod
    def _take(self, column: Any, entries: NDArray[np.int32]) -> Any: ...

    @abstractmethod
    def _frame(self, columns: Sequence[Any]) -> Any: ...

    @abstractmethod
    def _is_number(self, column: Any) -> bool: ...

    @abstractmethod
    def _values(self, column: Any) -> Any:
        """The numbers of a column of numbers or times."""

    @abstractmethod
    def _levels(self, column: Any) -> Any:
        """The level's number in a column of anything else."""


class PandasTable(FrameTable):
    """A pandas DataFrame: every column keeps its dtype; mixtures have an index of their own."""

    def __init__(self, frame: Any) -> None:
        self.pandas = need("pandas", "dev")
        for name, dtype in frame.dtypes.items():
            if dtype.kind == "c":
                raise TypeError(f"`inputs` must hold real numbers, got {dtype} in column `{name}`: convert it.")
        super().__init__([frame.iloc[:, j].array for j in range(frame.shape[1])], frame.columns)

    def _take(self, column: Any, entries: NDArray[np.int32]) -> Any:
        return column.take(entries)

    def _frame(self, columns: Sequence[Any]) -> Any:
        # Labels may repeat, so that they are set after the columns were put side by side.
        frame = self.pandas.DataFrame(dict(enumerate(columns)), copy=False)
        frame.columns = self.labels
        return frame

    def _is_number(self, column: Any) -> bool:
        return self.pandas.api.types.is_numeric_dtype(column.dtype) or column.dtype.kind in "mM"

    def _values(self, column: Any) -> Any:
        series = self.pandas.Series(column)
        if column.dtype.kind in "mM":
            return (series - series.min()) / self.pandas.Timedelta(1, "s")
        return series.to_numpy(np.float64, na_value=np.nan)

    def _levels(self, column: Any) -> Any:
        if isinstance(column.dtype, self.pandas.CategoricalDtype):
            return np.where(column.codes < 0, np.nan, column.codes)
        return _numbered(column, self.pandas.isna(column))


class PolarsTable(FrameTable):
    """A polars DataFrame: every column keeps its dtype."""

    def __init__(self, frame: Any) -> None:
        self.polars = need("polars", "study")
        super().__init__(frame.rechunk().get_columns(), frame.columns)

    def _take(self, column: Any, entries: NDArray[np.int32]) -> Any:
        return column.gather(self.polars.Series(entries.view(np.uint32)))

    def _frame(self, columns: Sequence[Any]) -> Any:
        return self.polars.DataFrame(columns)

    def _is_number(self, column: Any) -> bool:
        return column.dtype.is_numeric() or column.dtype.is_temporal() or column.dtype == self.polars.Boolean

    def _values(self, column: Any) -> Any:
        values = column.to_physical().cast(self.polars.Float64)
        # Times are counted from the first, so that single precision can tell them apart.
        return (values - (values.min() or 0.0) if column.dtype.is_temporal() else values).to_numpy()

    def _levels(self, column: Any) -> Any:
        if column.dtype == self.polars.Enum:
            return column.to_physical().cast(self.polars.Float64).to_numpy()
        return _numbered(column, column.is_null().to_numpy())


def _numbered(values: Any, missing: NDArray[np.bool_]) -> Array:
    """The place of each value among all of them, ordered as text; nan where missing."""
    _, places = np.unique([str(value) for value in values], return_inverse=True)
    return np.where(missing, np.nan, places)


def _in_one_line(value: Any) -> str:
    """The text of a cell, which may hold a list or an array."""
    return " ".join(str(value.to_list() if hasattr(value, "to_list") else value).split())


def _listed(values: list[str]) -> str:
    return ", ".join(values if len(values) <= SHOWN else [*values[:SHOWN], "..."])
