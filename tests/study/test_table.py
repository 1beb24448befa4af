"""Bad tables: one clear sentence each, before anything is written."""

import gzip
import re

import numpy as np
import pandas
import polars
import pytest

from dropscope.errors import BadTable
from dropscope.study import Options, csv_text
from dropscope.study.leak import find_leak
from dropscope.study.problem import pose
from dropscope.study.schema import MAX_ONE_HOT
from dropscope.study.table import as_frame, read_table

ROWS = 80


def good(**columns):
    x = np.random.default_rng(0).normal(size=(ROWS, 3))
    table = {"a": x[:, 0], "b": x[:, 1], "c": [f"level{i % 3}" for i in range(ROWS)], "y": x[:, 0] * x[:, 2]}
    return polars.DataFrame({**table, **columns})


def posed(table, target="y", **options):
    return pose(*as_frame(table, target), Options.of(**options))


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("none.csv", None, "there is no such file"),
            ("empty.csv", b"", "is empty"),
            ("blank.csv", b"\n\n", "is empty"),
            ("binary.csv", b"a,b\n1,\x00\x01\n", "binary file"),
            ("latin.csv", "é,b\n1,2\n".encode("latin-1"), "not UTF-8"),
            ("long.csv", b"a,b\n1,2\n1,2,3\n", "row 3 has 3 fields where the header has 2"),
            ("short.csv", b"a,b\n1\n1,2\n", "row 2 has 1 fields"),
            ("twice.csv", b"a,a\n1,2\n", "more than one column named `a`"),
            ("unnamed.csv", b"a,\n1,2\n", "column without a name"),
            ("wrong.parquet", b"not parquet", "not a readable Parquet"),
            ("quote.csv", b'a,b\n1,"' + b"x" * 200_000, "cannot be read as CSV"),
            ("cut.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9], "not a readable gzip"),
            ("table.docx", b"x", "must end in one of"),
            ("long.tsv", b"a\tb\n1\t2\n\n1\t2\t3", "row 4 has 3 fields where the header has 2"),
            ("quoted.csv", b'a,b\n"1,2",3\n1\n', "row 3 has 1 fields"),
            ("wrong.arrow", b"not arrow", "not a readable Arrow"),
            ("wrong.xlsx", b"not excel", "not a readable Excel"),
            ("wrong.jsonl", b"not json", "not a readable file of JSON lines"),
        ],
    )
    def test_what_cannot_be_read_says_why(self, tmp_path, name, content, message):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(BadTable, match=message):
            read_table(tmp_path / name)

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_every_line_end_is_read(self, tmp_path, end):
        (tmp_path / "t.csv").write_bytes(end.join(["a,b", "1,2", "3,4"]).encode())
        assert read_table(tmp_path / "t.csv").rows() == [(1, 2), (3, 4)]

    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_separators_and_missing_words_are_understood(self, tmp_path, separator):
        path = tmp_path / "t.csv"
        path.write_text(separator.join("ab") + "\n" + separator.join(["1.5", "NA"]) + "\n")
        assert read_table(path).rows() == [(1.5, None)]

    @pytest.mark.parametrize(
        ("header", "names"),
        [
            ('"a,b";c', ["a,b", "c"]),
            ('"first, last, title";age', ["first, last, title", "age"]),
            ('"say ""hi""";c', ['say "hi"', "c"]),
            ('"two\nlines";c', ["two\nlines", "c"]),
            ('"a;b;c",d', ["a;b;c", "d"]),
        ],
    )
    def test_quotes_in_the_header_are_understood(self, tmp_path, header, names):
        path = tmp_path / "t.csv"
        separator = header[header.rindex('"') + 1]
        path.write_text(f"{header}\n1{separator}2\n3{separator}4\n")
        frame = read_table(path)
        assert frame.columns == names
        assert frame.rows() == [(1, 2), (3, 4)]

    @pytest.mark.parametrize("block", [8, 1 << 24])
    def test_ragged_rows_are_found_wherever_blocks_end(self, tmp_path, monkeypatch, block):
        monkeypatch.setattr(csv_text, "BLOCK", block)
        path = tmp_path / "t.csv"
        for end in ("", "\n"):
            for row in range(2, 12):
                lines = ["a,b", *["12,345"] * 10]
                lines[row - 1] = "12,3,45"
                path.write_text("\n".join(lines) + end)
                with pytest.raises(BadTable, match=f"row {row} has 3 fields where the header has 2"):
                    read_table(path)
            path.write_text("\n".join(["a,b", *["12,345"] * 10]) + end)
            assert read_table(path).height == 10

    def test_every_format_gives_the_same_frame(self, tmp_path):
        frame = good(when=polars.date_range(polars.date(2020, 1, 1), polars.date(2020, 3, 20), eager=True))
        frame.write_csv(tmp_path / "t.csv")
        frame.write_parquet(tmp_path / "t.parquet")
        (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
        frame.write_ipc(tmp_path / "t.arrow")
        frame.write_ipc(tmp_path / "t.feather")
        frame.write_ipc_stream(tmp_path / "t.ipc")
        (tmp_path / "parts").mkdir()
        for part, rows in enumerate((frame[:30], frame[30:])):
            rows.write_parquet(tmp_path / "parts" / f"{part}.parquet")
        for name in ("t.csv", "t.parquet", "t.csv.gz", "t.arrow", "t.feather", "t.ipc", "parts"):
            assert read_table(tmp_path / name).equals(frame), name
        frame.write_ndjson(tmp_path / "t.jsonl")
        assert read_table(tmp_path / "t.jsonl").drop("when").equals(frame.drop("when"))

    def test_a_folder_without_parquet_files_is_refused(self, tmp_path):
        with pytest.raises(BadTable, match=r"which holds no \.parquet files"):
            read_table(tmp_path)

    def test_pandas_and_polars_are_alike(self):
        columns = {"a": [1.0, None, 3.0], "c": ["x", None, "z"], "b": [True, False, True]}
        from_pandas, _ = as_frame(pandas.DataFrame(columns), "a")
        assert from_pandas["c"].to_list() == columns["c"]
        assert from_pandas["b"].dtype == polars.Boolean


def test_blank_lines_are_no_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n\n\n3,\n\n")
    assert read_table(path).rows() == [(1, 2), (3, None)]
    path.write_text("a\n1\n\n3\n")  # of a single column, a blank line is a missing value
    assert read_table(path).rows() == [(1,), (None,), (3,)]


class TestTargets:
    def test_an_unknown_target_suggests_the_closest(self):
        with pytest.raises(BadTable, match="did you mean `price`"):
            as_frame(polars.DataFrame({"price": [1], "area": [2]}), "prise")

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([1.0] * ROWS, "must vary"),
            ([None, *np.arange(ROWS - 1.0)], "1 missing"),
            ([float("nan"), *np.arange(ROWS - 1.0)], "1 missing"),
            ([float("inf"), *np.arange(ROWS - 1.0)], "must be finite"),
            (["rare", *["often", "too"] * (ROWS // 2)][:ROWS], "one row of `rare`"),
            ([f"class{i}" for i in range(ROWS)], "one row of"),
        ],
    )
    def test_a_target_that_cannot_be_learned_is_refused(self, values, message):
        with pytest.raises(BadTable, match=message):
            posed(good(y=values))

    def test_the_task_is_guessed_and_said(self):
        assert posed(good()).schema.task == "regression"
        problem = posed(good(y=[i % 3 for i in range(ROWS)]))
        assert problem.target.classes == ("0", "1", "2")
        assert "classification" in problem.notes[0]
        assert posed(good(y=[i % 3 for i in range(ROWS)]), task="regression").schema.task == "regression"

    def test_a_target_of_another_length_is_refused(self):
        with pytest.raises(BadTable, match="one value for each of 80 rows, got 3"):
            as_frame(good(), [1, 2, 3])


class TestColumns:
    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"a": [None] * ROWS}, "`a` has no value"),
            ({"a": [float("inf")] + [1.0, 2.0] * 39 + [3.0]}, "`a` must be finite, got inf in row 1"),
        ],
    )
    def test_columns_without_use_are_refused(self, columns, message):
        with pytest.raises(BadTable, match=message):
            posed(good(**columns))

    def test_too_few_rows_are_refused(self):
        with pytest.raises(BadTable, match="at least 50 rows, got 49"):
            posed(good()[:49])

    def test_unknown_names_in_options_are_refused(self):
        with pytest.raises(BadTable, match="`z` must be a column"):
            posed(good(), drop="z")
        with pytest.raises(BadTable, match="`y` is the target"):
            posed(good(), drop="y")

    def test_nothing_left_is_refused(self):
        with pytest.raises(BadTable, match="no column is left"):
            posed(good(), drop=("a", "b", "c"))

    def test_five_thousand_levels_are_encoded_by_target_and_said(self):
        rows = 20_000
        levels = [f"v{i % 5000}" for i in range(rows)]
        noise = np.random.default_rng(0).normal(size=(2, rows))
        problem = posed(polars.DataFrame({"a": noise[0], "c": levels, "y": noise[1]}))
        assert problem.schema.by_target == ("c",)
        assert any(re.search("`c` has 4[0-9]{3} levels, too many for one-hot", note) for note in problem.notes)

    def test_more_categories_than_one_hot_columns_are_all_encoded(self):
        many = {f"c{j}": np.random.default_rng(j).choice(["u", "v"], ROWS).tolist() for j in range(600)}
        problem = posed(good(**many))
        schema = problem.schema
        assert len(schema.levels) == 601
        assert sum(len(schema.levels[name]) for name in schema.levels if name not in schema.by_target) <= MAX_ONE_HOT
        # Two numbers, 512 or 511 one-hot columns, and one for each of the others.
        assert len(problem.reference.columns) == 2 + (2 * (601 - len(schema.by_target))) + len(schema.by_target)
        [note] = [note for note in problem.notes if "too many for one-hot columns" in note]
        assert f"and {len(schema.by_target) - 5} more have" in note

    def test_a_time_column_must_be_sortable(self):
        with pytest.raises(BadTable, match="must hold numbers or dates"):
            posed(good(t=[f"{1 + i % 12}/1/{2011 + i % 3}" for i in range(ROWS)]), time_column="t")

    def test_nan_in_a_cutting_column_is_missing(self):
        with pytest.raises(BadTable, match="1 missing"):
            posed(good(t=[float("nan"), *np.arange(ROWS - 1.0)]), time_column="t")

    def test_levels_of_test_rows_alone_are_unknown(self):
        test = posed(good()).cutter.test
        rare = np.array(["often", "too"] * (ROWS // 2), dtype=object)
        rare[test[0]] = "only in test"
        problem = posed(good(c=rare.tolist()))
        assert np.array_equal(problem.cutter.test, test)
        assert set(problem.schema.levels["c"]) == {"often", "too"}

    def test_numbers_of_test_rows_alone_are_left_out_and_said(self):
        late = np.where(np.arange(ROWS) < ROWS - 4, np.nan, 1.0) * np.arange(ROWS)
        problem = posed(good(late=late, when=np.arange(ROWS)), time_column="when")
        assert problem.schema.numeric == ("a", "b")
        assert problem.raw.shape == (ROWS, 3)
        assert "`late` left out: no value outside the test rows." in problem.notes

    def test_a_category_without_any_level_twice_is_left_out_and_said(self):
        rows = 1000
        noise = np.random.default_rng(0).normal(size=(2, rows))
        frame = polars.DataFrame({"a": noise[0], "id": [f"v{i}" for i in range(rows)], "y": noise[1]})
        problem = posed(frame, categorical="id")
        assert problem.schema.features == ("a",)
        assert "`id` left out: no level has two rows to learn from." in problem.notes
        problem.seed_data(0)

    def test_whole_numbers_are_the_same_levels_in_every_kind_of_column(self):
        schema = posed(good(c=[i % 3 for i in range(ROWS)]), categorical="c").schema
        assert set(schema.levels["c"]) == {"0", "1", "2"}
        frame = good(c=[float(i % 3) for i in range(ROWS)])
        assert np.array_equal(schema.raw(frame), schema.raw(good(c=[i % 3 for i in range(ROWS)])))
        gaps = [None if i % 3 == 0 else float(i % 3) for i in range(ROWS)]
        nans = [float("nan") if gap is None else gap for gap in gaps]
        assert posed(good(c=gaps), categorical="c").schema.levels == posed(good(c=nans), categorical="c").schema.levels

    def test_a_dropped_time_column_cuts_and_is_not_seen(self):
        days = polars.date_range(polars.date(2020, 1, 1), polars.date(2020, 3, 20), eager=True)
        for when in (days, days.dt.strftime("%d/%m/%Y")):
            problem = posed(good(when=when), time_column="when", drop="when")
            assert problem.schema.features == ("a", "b", "c")
            assert problem.cutter.test.min() > problem.cutter.rest.max()

    @pytest.mark.parametrize(("kind", "first"), [(polars.Decimal(38, 2), 0), (polars.Int128, 10**25)])
    def test_wide_and_decimal_groups_cut_alike_every_time(self, kind, first):
        plain = [i // 4 for i in range(ROWS)]
        frame = good(g=polars.Series([first + group for group in plain], dtype=kind))
        one, again = (posed(frame, group_column="g") for _ in range(2))
        assert one.seen == again.seen
        assert np.array_equal(one.cutter.test, posed(good(g=plain), group_column="g").cutter.test)

    def test_identifiers_lists_and_constants_are_dropped_and_said(self):
        names = [f"row {i}" for i in range(ROWS)]
        problem = posed(good(name=names, same=[1] * ROWS, list=[[i] for i in range(ROWS)]))
        assert problem.schema.features == ("a", "b", "c")
        for said in (
            "`name` has 80 distinct texts, looks like an identifier",
            "`same` is constant",
            "`list` holds List",
        ):
            assert any(said in note for note in problem.notes)

    def test_dates_are_used_and_said(self):
        days = polars.date_range(polars.date(2020, 1, 1), polars.date(2020, 3, 20), eager=True)
        problem = posed(good(when=days))
        assert problem.schema.features == ("a", "b", "c", "when")
        assert any("`when` holds dates or times: networks see of it trend, weekday." in note for note in problem.notes)
        assert any("`when` holds dates; rows are cut at random" in note for note in problem.notes)
        with pytest.raises(BadTable, match="no column is left"):
            posed(
                good(when=days[:1].extend_constant(days[0], ROWS - 1).replace(days[0], days[1])), drop=("a", "b", "c")
            )

    def test_sorted_rows_with_a_random_cut_are_said(self):
        assert any("sorted by `a`" in note for note in posed(good().sort("a")).notes)
        assert any("neighbouring rows" in note for note in posed(good().sort("y")).notes)
        assert not posed(good()).notes[1:]


class TestLeaks:
    def test_columns_that_sum_to_the_target_are_named(self):
        frame = good()
        leaky = frame.with_columns(d=frame["y"] - frame["a"])
        with pytest.raises(BadTable, match=r"can be computed from `(a|d)`, `(a|d)`.*--drop"):
            posed(leaky)
        posed(leaky, allow_leak=True)
        posed(leaky, drop="d")

    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_the_smallest_set_is_found_among_many_columns(self, seed, size):
        generator = np.random.default_rng(seed)
        x = generator.normal(size=(500, 100))
        leak = generator.choice(100, size, replace=False)
        y = x[:, leak] @ generator.uniform(1, 2, size) + 1e-4 * generator.normal(size=500)
        assert find_leak(x, [str(j) for j in range(100)], y) is not None
        assert set(find_leak(x, [str(j) for j in range(100)], y)) == {str(j) for j in leak}

    def test_unknown_columns_and_constant_targets_are_passed_over(self, seed):
        x = np.random.default_rng(seed).normal(size=(50, 2))
        x[:, 0] = np.nan
        assert find_leak(x, ["a", "b"], 2 * x[:, 1]) == ("b",)
        assert find_leak(x, ["a", "b"], np.ones(50)) is None
        assert find_leak(x[:, :1], ["a"], x[:, 1]) is None

    def test_four_columns_and_honest_tables_pass(self, seed):
        x = np.random.default_rng(seed).normal(size=(500, 10))
        names = [str(j) for j in range(10)]
        assert find_leak(x, names, x[:, :4].sum(1)) is None
        assert find_leak(x, names, np.sin(3 * x[:, 0])) is None
