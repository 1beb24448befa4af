"""Frames of pandas and arrays of objects: no column and no value is lost on the way, and none changes its kind."""

import datetime
import decimal

import numpy as np
import pandas
import polars
import pytest

from dropscope.errors import BadTable
from dropscope.study.table import as_frame, to_frame

DAY = datetime.datetime(2020, 1, 1)


@pytest.mark.parametrize(
    ("column", "kind", "values"),
    [
        (pandas.array([1, None, 3], dtype="Int64"), polars.Float64, [1.0, None, 3.0]),
        (pandas.array([True, None], dtype="boolean"), polars.Boolean, [True, None]),
        ([True, False], polars.Boolean, [True, False]),
        (pandas.Categorical([3, None, 1]), polars.String, ["3", None, "1"]),
        (pandas.Categorical([3.0, 1.5]), polars.String, ["3", "1.5"]),
        (pandas.Categorical(["a", None]), polars.String, ["a", None]),
        (pandas.Series([1, 2.5, None], dtype=object), polars.Float64, [1.0, 2.5, None]),
        (pandas.Series([decimal.Decimal("1.5"), 2], dtype=object), polars.Decimal, [decimal.Decimal("1.5"), 2]),
        (pandas.to_datetime([DAY, None]), polars.Datetime, [DAY, None]),
    ],
)
def test_columns_of_pandas_keep_their_values(column, kind, values):
    [read] = to_frame(pandas.DataFrame({7: column}))
    assert (read.name, read.dtype.base_type()) == ("7", kind)
    assert read.fill_nan(None).to_list() == values if kind == polars.Float64 else read.to_list() == values


def test_columns_of_one_name_are_refused():
    for table in (pandas.DataFrame(np.eye(3), columns=["a", "b", "a"]), pandas.DataFrame({1: [1], "1": [2]})):
        with pytest.raises(BadTable, match=r"more than one column named `(a|1)`: names must differ"):
            to_frame(table)


def test_an_array_of_objects_has_the_columns_of_the_frame_that_it_came_from():
    frame = pandas.DataFrame({"number": [1.5, np.nan], "count": [1, 2], "text": ["a", None]})
    read, _ = as_frame(frame.to_numpy(), np.arange(2.0))
    assert read.dtypes == [polars.Float64, polars.Int64, polars.String, polars.Float64]
    assert read.rows() == [(1.5, 1, "a", 0.0), (None, 2, None, 1.0)]


def test_numbers_among_texts_are_refused():
    frame = pandas.DataFrame({"mixed": ["a", 2, None]})
    for table in (frame, frame.to_numpy()):
        with pytest.raises(BadTable, match=r"column `(mixed|x0)` must hold either numbers or text, got both"):
            to_frame(table)
