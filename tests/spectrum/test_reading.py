"""Reading tables: huge ones are sampled, and what is no table of two rows is refused."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch

from dropscope.spectrum import interaction_spectrum, reading, stack_spectra

ROWS = 120


def by_position(x):
    return x[:, 0] * x[:, 1]


class TestHugeTables:
    @pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray, pd.DataFrame, pl.DataFrame])
    def test_rows_are_sampled_and_it_is_said(self, kind, generator, monkeypatch):
        monkeypatch.setattr(reading, "MOST_ROWS", 100)
        other = torch.randn(1000, generator=generator, dtype=torch.float64)
        table = np.stack([np.arange(1000.0), other.numpy()], axis=1)
        seen = set()

        def f(x):
            x = np.asarray(x)
            seen.update(x[:, 0].tolist())
            return x[:, 0] * x[:, 1]

        with pytest.warns(UserWarning, match="`inputs` has 1,000 rows: 100 of them, chosen at random, stand") as caught:
            interaction_spectrum(f, kind(table), max_order=2, blocks=[[0], [1]], budget=5000, generator=generator)
        assert {warning.filename for warning in caught} == {__file__}
        assert len(seen) == 100
        # The mean of a sample of 100 from 1,000 has a standard error of 27.4.
        assert abs(np.mean([*seen]) - 499.5) < 6 * 27.4

    def test_wide_tables_are_sampled_by_their_entries(self, generator, monkeypatch):
        monkeypatch.setattr(reading, "MOST_ENTRIES", 400)
        with pytest.warns(UserWarning, match=f"has {ROWS} rows: 100 of them"):
            interaction_spectrum(by_position, torch.randn(ROWS, 4, generator=generator), budget=3000)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([[1.0, 2.0], [3.0, 4.0]], "must be a tensor, an array, or a pandas or polars DataFrame, got list."),
        (pd.Series([1.0, 2.0]), "or a pandas or polars DataFrame, got Series."),
        (pl.LazyFrame({"a": [1.0]}), "or a pandas or polars DataFrame, got LazyFrame."),
        (scipy.sparse.eye(9).tocsr(), "must be dense, got a sparse csr_"),
        (torch.eye(9).to_sparse(), "must be dense, got a sparse Tensor: pass `inputs.to_dense()`."),
        (np.array([["a", 1], ["b", 2]], dtype=object), "must hold real numbers, got an array of object: convert"),
        (np.array([["a", "c"], ["b", "d"]]), "must hold real numbers, got an array of <U1"),
        (np.eye(9) * 1j, "must hold real numbers, got an array of complex128"),
        (torch.eye(9) * 1j, "must hold real numbers, got dtype torch.complex64"),
        (np.zeros((9, 9), "M8[D]"), "an array of datetime64[D]"),
        (np.eye(9, dtype=np.uint32), "must be float64, int64 or narrower, got uint32"),
        (np.eye(9, dtype=np.longdouble), "must be float64, int64 or narrower, got float128"),
        (np.ma.masked_equal(np.eye(9), 1), "must not be masked: fill the masked entries"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_numbers_is_refused(inputs, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        interaction_spectrum(by_position, inputs)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (pd.DataFrame(np.eye(9)), "must be a tensor or an array, got a pandas DataFrame: pass `inputs.to_numpy()`."),
        (pl.DataFrame(np.eye(9)), "must be a tensor or an array, got a polars DataFrame: pass `inputs.to_numpy()`."),
        (np.array([["a", "b"]] * 9), "must hold real numbers, got an array of <U1"),
        ([[1.0, 2.0]] * 9, "got list."),
    ],
)
def test_a_stack_is_mixed_on_numbers_alone(inputs, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        stack_spectra(lambda x: x[None, :, :1], inputs, models=1)


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [(pd.DataFrame({"a": [1.0]}), "(1, 1)"), (pl.DataFrame(), "(0, 0)"), (np.zeros((2, 3, 4)), "(2, 3, 4)")],
)
def test_tables_of_fewer_than_two_rows_are_refused(inputs, shape):
    with pytest.raises(ValueError, match=re.escape(f"a table of two rows or more, got shape {shape}.")):
        interaction_spectrum(by_position, inputs)
