"""Every kind of table: what f is given, that mixing changes no value, and that all kinds give the same answer."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from streams import replay
from torch import nn

from dropscope.spectrum import distill, interaction_spectrum, rank_terms

ROWS = 120
CITIES = ["rome", "oslo", "lima"]


def product(columns):
    a, b, c, d = columns
    return a * b + c - d


def by_position(x):
    return product(x.T)


def by_name(x):
    return product([x[name] for name in "abcd"])


@pytest.fixture
def array(seed):
    return np.random.default_rng(seed).normal(size=(ROWS, 4))


@pytest.fixture
def mixed(seed):
    """Columns of every kind, each of which can be told from the others; about a tenth of the entries is missing."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=ROWS),
            "count": pd.array(rng.integers(0, 9, ROWS), dtype="Int64"),
            "small": rng.integers(0, 100, ROWS).astype(np.uint16),
            "city": rng.choice(CITIES, ROWS),
            "size": pd.Categorical(rng.choice(["low", "mid", "high"], ROWS), ["low", "mid", "high"], ordered=True),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 999, ROWS), unit="D"),
            "flag": rng.random(ROWS) < 0.5,
        }
    )
    for name in ("number", "count", "city", "size", "day"):
        frame.loc[rng.permutation(ROWS)[:12], name] = None
    return frame


def value_of(x):
    """A function of every column of either library, in which missing values count as -1."""
    if isinstance(x, pl.DataFrame):
        x = x.to_pandas()
    size = x["size"].astype(str).map({"low": 0, "mid": 1, "high": 2}).astype(float).fillna(-1)
    day = (x["day"] - pd.Timestamp("2024-01-01")).dt.days.fillna(-1) / 300
    city = x["city"].map(dict(zip(CITIES, range(3), strict=True))).astype(float).fillna(-1)
    number = x["number"].fillna(-1) + x["count"].astype("Float64").fillna(-1).astype(float) * x["flag"]
    return (number * city + size * day + x["small"] / 50).to_numpy(dtype=float)


class TestWhatTheModelIsGiven:
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "int16", "uint8", "bool"])
    def test_arrays_and_tensors_keep_their_kind_and_dtype(self, dtype, array):
        table = np.where(array > 0, 3 * array, 0).astype(dtype)
        seen = set()

        def f(x):
            seen.add((type(x), x.dtype, x.shape[1]))
            return x[:, 0] * 1.0 + x[:, 1] * 1.0

        interaction_spectrum(f, table, budget=3000)
        assert seen == {(np.ndarray, table.dtype, 4)}
        seen.clear()
        tensor = torch.from_numpy(table)
        interaction_spectrum(f, tensor, budget=3000)
        assert seen == {(torch.Tensor, tensor.dtype, 4)}

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_frames_keep_columns_and_dtypes_and_every_value_is_one_of_its_column(self, library, mixed, generator):
        inputs = mixed if library == "pandas" else pl.from_pandas(mixed)
        known = {name: set(map(str, inputs[name])) for name in inputs.columns}
        calls = []

        def f(x):
            assert type(x) is type(inputs)
            assert list(x.columns) == list(inputs.columns)
            assert list(x.dtypes) == list(inputs.dtypes)
            calls.append(all(set(map(str, x[name])) <= known[name] for name in x.columns))
            return value_of(x)

        interaction_spectrum(f, inputs, budget=8000, generator=generator)
        assert len(calls) > 1
        assert all(calls)

    def test_columns_of_a_block_come_from_one_row(self, mixed, generator):
        pairs = set(zip(mixed["number"].astype(str), mixed["city"].astype(str), strict=True))

        def f(x):
            assert set(zip(x["number"].astype(str), x["city"].astype(str), strict=True)) <= pairs
            return value_of(x)

        blocks = [["city", "number"], ["count"], [2], ["size"], ["day", "flag"]]
        spectrum = interaction_spectrum(f, mixed, blocks=blocks, budget=5000, generator=generator)
        assert spectrum.blocks == ((3, 0), (1,), (2,), (4,), (5, 6))

    def test_labels_of_any_kind_and_repeated_ones_survive(self, array):
        frame = pd.DataFrame(array, index=range(1000, 1000 + ROWS))
        frame.columns = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1), ("a", 1)], names=["x", "y"])

        def f(x):
            assert x.columns.equals(frame.columns)
            assert x.columns.names == ["x", "y"]
            return by_position(x.to_numpy())

        assert interaction_spectrum(f, frame, budget=3000).total > 0

    @pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray, pd.DataFrame])
    def test_a_module_is_given_tensors_in_its_precision(self, kind, array):
        class Product(nn.Linear):
            def forward(self, x):
                assert isinstance(x, torch.Tensor)
                assert x.dtype == torch.float32
                return x[:, :1] * x[:, 1:2]

        model = Product(4, 1)
        assert interaction_spectrum(model, kind(array), budget=3000).share[1] > 0.5
        # A method reads what its module reads.
        assert interaction_spectrum(model.forward, kind(array), budget=3000).share[1] > 0.5

    @pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
    @pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
    def test_integers_are_given_in_a_modules_precision_too(self, dtype, kind, array):
        model = nn.Linear(4, 1, dtype=torch.float64)
        table = np.where(array > 0, 3 * array, 0).astype(dtype)
        assert interaction_spectrum(model, kind(table), budget=3000).share[0] == pytest.approx(1)

    def test_integers_that_a_module_looks_up_are_left_as_they_are(self, array):
        class Lookup(nn.Module):
            def __init__(self):
                super().__init__()
                self.vectors = nn.Embedding(2, 3)

            def forward(self, x):
                return self.vectors(x).prod(1)

        assert interaction_spectrum(Lookup(), (array > 0).astype(int), budget=3000).total > 0

    @pytest.mark.parametrize("kind", ["array", "tensor", "pandas", "polars"])
    @pytest.mark.parametrize("estimate", [interaction_spectrum, rank_terms, distill])
    def test_a_model_that_writes_into_its_input_does_not_write_into_the_table(self, kind, estimate, array):
        make = {"array": np.copy, "tensor": torch.tensor, "pandas": pd.DataFrame, "polars": lambda x: pl.DataFrame(x)}
        inputs = make[kind](array)

        def f(x):
            if kind == "polars":
                return x[:, 0] * x[:, 1]
            view = x.iloc if kind == "pandas" else x
            y = view[:, 0] * view[:, 1]
            view[:, 0] = 0
            return y

        options = {"trees": 5} if estimate is distill else {}
        estimate(f, inputs, budget=20_000, **options)
        assert (np.asarray(inputs) == array).all()


class TestAllKindsAgree:
    @pytest.mark.parametrize(("law", "blocks"), [("product", None), ("product", [(0,), (3, 1), (2,)]), ("joint", None)])
    def test_numbers_in_every_container_give_the_same_bits(self, law, blocks, array, generator):
        named = blocks and [["abcd"[j] for j in block] for block in blocks]
        options = {"budget": 4000, "inputs_law": law, "max_order": 2}

        plain = interaction_spectrum(
            by_position, torch.from_numpy(array), blocks=blocks, generator=replay(generator), **options
        )
        for inputs in (pd.DataFrame(array, columns=list("abcd")), pl.DataFrame(array, schema=list("abcd"))):
            frame = interaction_spectrum(by_name, inputs, blocks=named, generator=replay(generator), **options)
            assert frame.to_dict() == plain.to_dict()
        arrays = interaction_spectrum(by_position, array, blocks=blocks, generator=replay(generator), **options)
        assert arrays.to_dict() == plain.to_dict()

    def test_many_columns_in_random_groups_agree_too(self, seed, generator):
        array = np.random.default_rng(seed).normal(size=(ROWS, 12)).astype(np.float32)
        plain = interaction_spectrum(lambda x: x.prod(1) + x[:, 0], array, budget=9000, generator=replay(generator))
        frame = interaction_spectrum(
            lambda x: x.to_numpy().prod(1) + x[0].to_numpy(), pd.DataFrame(array), budget=9000,
            generator=replay(generator),
        )  # fmt: skip
        assert frame.to_dict() == plain.to_dict()

    @pytest.mark.parametrize("estimate", [interaction_spectrum, rank_terms, distill])
    def test_pandas_and_polars_agree_on_columns_of_every_kind(self, estimate, mixed, generator):
        options = {"budget": 30_000} | ({"trees": 5} if estimate is distill else {})
        one = estimate(value_of, mixed, generator=replay(generator), **options)
        sizes = pl.col("size").cast(pl.Enum(["low", "mid", "high"]))
        inputs = pl.from_pandas(mixed).with_columns(sizes)
        other = estimate(value_of, inputs, generator=replay(generator), **options)
        assert one.to_dict() == other.to_dict()

    def test_terms_bear_the_names_of_the_columns(self, array, generator):
        frame = pd.DataFrame(array, columns=list("abcd"))
        terms = rank_terms(by_name, frame, budget=20_000, generator=generator)
        assert terms.names == ("a", "b", "c", "d")
        assert terms.pairs.members == ((0, 1),)

    @pytest.mark.parametrize("way", ["F", "reversed", "read-only", "big-endian", "strided"])
    def test_arrays_in_any_layout_agree(self, way, array, generator):
        laid = {
            "F": np.asfortranarray(array),
            "reversed": array[::-1].copy()[::-1],
            "read-only": array.copy(),
            "big-endian": array.astype(">f8"),
            "strided": np.repeat(array, 2, axis=1)[:, ::2],
        }[way]
        laid.flags.writeable = way != "read-only"
        plain, other = (
            interaction_spectrum(by_position, table, budget=3000, generator=replay(generator))
            for table in (array, laid)
        )
        assert other.to_dict() == plain.to_dict()


class TestMissingValues:
    def test_a_model_that_knows_missing_values_may_be_given_them(self, array, generator):
        array[::5, 0] = np.nan
        for inputs in (array, pd.DataFrame(array), torch.from_numpy(array)):
            spectrum = interaction_spectrum(
                lambda x: by_position(torch.nan_to_num(torch.tensor(np.asarray(x)))), inputs, budget=3000,
                generator=replay(generator),
            )  # fmt: skip
            assert spectrum.share[1] > 0.1

    def test_the_joint_law_learns_what_missing_means(self, seed, generator):
        """f is the indicator of a missing entry, of which the median in its place would say a third."""
        array = np.random.default_rng(seed).integers(-1, 2, (1500, 3)).astype(float)
        array[::4, 0] = np.nan
        spectrum = interaction_spectrum(
            lambda x: np.isnan(x[:, 0]), array, inputs_law="joint", max_order=1, generator=generator
        )
        assert spectrum.share[0] > 0.8

    @pytest.mark.parametrize("library", ["array", "pandas", "polars"])
    def test_a_model_that_does_not_is_shown_the_row(self, library, array):
        array[:, 0] = np.nan
        kinds = {"array": array, "pandas": pd.DataFrame(array, columns=list("abcd"))}
        inputs = kinds.get(library, pl.DataFrame(array, schema=list("abcd")))
        shown = "[nan, " if library == "array" else "[a=nan, b="
        with pytest.raises(ValueError, match=re.escape(f"`f` must give finite outputs, got nan for the row {shown}")):
            interaction_spectrum(by_position if library == "array" else by_name, inputs, budget=3000)


def test_cells_that_hold_lists_are_shown_in_one_line(array):
    lists = [row.round().astype(int).tolist() for row in array]
    for inputs in (pl.DataFrame({"cell": lists, "b": 0}), pd.DataFrame({"cell": map(np.array, lists), "b": 0})):
        with pytest.raises(ValueError, match=r"for the row \[cell=\[.*\], b=0\] \(a mixture") as refused:
            interaction_spectrum(lambda x: np.full(len(x), np.nan), inputs)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("convert", [np.asarray, pd.arrays.SparseArray])
def test_complex_columns_are_refused(convert):
    inputs = pd.DataFrame({"a": np.arange(9.0), "b": convert(np.arange(9) * 1j)})
    with pytest.raises(TypeError, match=r"`inputs` must hold real numbers, got .*complex128.* in column `b`: convert"):
        interaction_spectrum(lambda x: x["a"], inputs)


def test_a_module_refuses_a_frame_that_holds_text(mixed):
    with pytest.raises(TypeError, match="a torch module needs columns of numbers, but `city` holds others"):
        interaction_spectrum(nn.Linear(7, 1), mixed)


def test_a_control_variate_refuses_frames_and_missing_values(array):
    array[0, 0] = np.nan
    for inputs in (pd.DataFrame(array), array):
        with pytest.raises(ValueError, match="`control_variate` needs a tensor or an array of finite numbers"):
            interaction_spectrum(by_position, inputs, control_variate="pce")


def test_neither_library_is_imported_unless_passed():
    code = (
        "import sys, numpy; from dropscope import spectrum\n"
        "spectrum.interaction_spectrum(lambda x: x[:, 0], numpy.random.rand(50, 4), budget=2000)\n"
        "assert not {'pandas', 'polars', 'sklearn', 'xgboost'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
