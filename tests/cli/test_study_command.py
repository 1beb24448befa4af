"""`dropscope study` as a user meets it: answers on stdout, one line for every mistake, exit code 2."""

import json
import subprocess
import sys

import numpy as np
import pytest

from dropscope import cli

SMALL = "--p-input 0.1 --p-hidden 0.3 --seeds 2 --epochs 3 --width 8 --depth 1 --budget 13000 --batch-size 20".split()


@pytest.fixture
def table(tmp_path):
    x = np.random.default_rng(0).normal(size=(120, 3))
    rows = [f"{a},{b},{c},{a + b * c}" for a, b, c in x]
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(["rooms,age,area,price", *rows]) + "\n")
    return path


def dropscope(monkeypatch, capsys, *arguments):
    """Run the command line in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["dropscope", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    code = stopped.value.code or 0
    return code, *capsys.readouterr()


def test_json_is_one_object_with_the_advice(monkeypatch, capsys, table, tmp_path):
    code, out, _ = dropscope(
        monkeypatch, capsys, "study", table, "--target", "price", "--json", "--out", tmp_path / "s", *SMALL
    )
    answer = json.loads(out)
    assert code == 0
    assert {"advice", "arms", "files", "seconds"} <= set(answer)
    assert len(answer["arms"]) == 5
    assert (tmp_path / "s" / "report.html").exists()
    assert all((tmp_path / "s" / name.rpartition("/")[2]).exists() for name in answer["files"])


def test_the_answer_is_printed_with_code_and_files(monkeypatch, capsys, table, tmp_path):
    arguments = ("study", table, "--target", "price", "--out", tmp_path / "s", *SMALL)
    code, out, err = dropscope(monkeypatch, capsys, *arguments)
    assert code == 0
    assert "constant" in out
    assert "boosting" in out
    assert "report.html" in out
    assert "3 blocks of columns (rooms, age, area)" in " ".join(out.split())
    assert "networks" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "prise"], "`--target` must be a column of the table, got `prise`: did you mean `price`?"),
        ([], "`--target` must name the column"),
        (["--target", "price", "--p-hidden", "half"], "`--p-hidden` must be numbers separated by commas, got 'half'"),
        (["--target", "price", "--p-hidden", "1.5"], "`--p-hidden` must be in [0, 1), got 1.5"),
        (["--target", "price", "--pair", "0.5"], "`--pair` must be"),
        (["--target", "price", "--seeds", "-1"], "`--seeds` must be a whole number of at least 2, got -1"),
        (["--target", "price", "--epochs", "many"], "`--epochs` must be `auto` or a whole number"),
        (["--target", "price", "--drop", "colour"], "`colour` must be a column of the table"),
        (["--target", "price", "--workers", "0"], "`--workers` must be a whole number"),
        (["--target", "price", "--device", "cuda"], "`--device` must be available, got 'cuda' where torch sees no GPU"),
        (["--target", "price", "--test", "1.5"], "`--test` and `--fractions` must be in (0, 1), got 1.5"),
        (["--target", "price", "--metric", "log_loss"], "`--metric` must be one of rmse, mae for regression"),
        (["--target", "price", "--time-column", "age", "--group-column", "area"], "`--time-column` and `--group-col"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(monkeypatch, capsys, table, tmp_path, arguments, message):
    if "cuda" in arguments:
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, out, err = dropscope(monkeypatch, capsys, "study", table, "--out", tmp_path / "new", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("dropscope: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_name_that_is_nothing_suggests_a_bundled_table(monkeypatch, capsys):
    code, _, err = dropscope(monkeypatch, capsys, "study", "bikeshar")
    assert code == 2
    assert "did you mean `bikeshare`?" in err


def test_a_missing_file_is_named(monkeypatch, capsys, tmp_path):
    code, _, err = dropscope(monkeypatch, capsys, "study", tmp_path / "none.csv", "--target", "y")
    assert code == 2
    assert "there is no such file" in err


def test_an_output_that_cannot_be_written_is_one_line(monkeypatch, capsys, table, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = dropscope(
        monkeypatch, capsys, "study", table, "--target", "price", "--out", tmp_path / "file" / "s", *SMALL
    )
    assert code == 2
    assert "Not a directory" in err


def test_names_are_never_read_as_markup(monkeypatch, capsys, table, tmp_path):
    table.write_text(table.read_text().replace("price", "rate [/min]"))
    code, out, _ = dropscope(
        monkeypatch, capsys, "study", table, "--target", "rate [/min]", "--out", tmp_path / "s", *SMALL
    )
    assert code == 0
    assert "houses: rate [/min]" in out


def test_one_class_to_fit_is_no_crash(monkeypatch, capsys, tmp_path):
    x = np.random.default_rng(0).normal(size=200)
    rows = [f"{value},{t},{'yes' if t > 150 else 'no'}" for t, value in enumerate(x)]
    (tmp_path / "late.csv").write_text("\n".join(["x,t,y", *rows]) + "\n")
    arguments = ("study", tmp_path / "late.csv", "--target", "y", "--time-column", "t", "--out", tmp_path / "s")
    assert dropscope(monkeypatch, capsys, *arguments, *SMALL)[0] == 0


def test_bundled_options_give_way_to_the_users(monkeypatch):
    from dropscope.cli.study_command import _resolve

    monkeypatch.chdir("/")
    _, target, options, _, _ = _resolve("bikeshare", ["casual"], {"time_column": "day", "drop": ("hum",)})
    assert target == ("casual",)
    assert options["drop"] == ("registered", "hum")
    assert "group_column" not in options


def test_a_store_of_another_study_is_one_line(monkeypatch, capsys, table, tmp_path):
    arguments = ("study", table, "--target", "price", "--out", tmp_path / "s", *SMALL)
    assert dropscope(monkeypatch, capsys, *arguments)[0] == 0
    code, _, err = dropscope(monkeypatch, capsys, *arguments, "--depth", "2")
    assert code == 2
    assert "depth: 1 there, 2 now" in err
    assert err.count("\n") == 1
    assert dropscope(monkeypatch, capsys, *arguments, "--depth", "2", "--fresh")[0] == 0


def test_a_full_disk_is_one_line_and_keeps_what_was_written(monkeypatch, capsys, table, tmp_path):
    from dropscope.study.store import Store

    def full(self, records):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "add", full)
    code, _, err = dropscope(monkeypatch, capsys, "study", table, "--target", "price", "--out", tmp_path / "s", *SMALL)
    assert code == 2
    assert err.splitlines()[-1] == "dropscope: error: [Errno 28] No space left on device"


def test_an_interrupt_says_how_to_go_on(monkeypatch, capsys, table, tmp_path):
    from dropscope.study.store import Store

    def interrupted(self, records):
        raise KeyboardInterrupt

    arguments = ("study", table, "--target", "price", "--out", tmp_path / "s", *SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "add", interrupted)
        code, _, err = dropscope(patch, capsys, *arguments)
    assert code == 130
    assert "The same command goes on" in err
    assert dropscope(monkeypatch, capsys, *arguments)[0] == 0


@pytest.mark.parametrize("arguments", [["--help"], ["study", "--help"], ["--version"]])
def test_help_does_not_import_torch(arguments):
    code = f"import sys; sys.argv = ['dropscope', *{arguments!r}]\nfrom dropscope.cli import main\n"
    code += "try:\n    main()\nexcept SystemExit:\n    pass\n"
    code += "assert not {'torch', 'numpy', 'polars', 'sklearn', 'plotly'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("module", ["polars", "typer"])
def test_a_missing_extra_is_named(monkeypatch, capsys, table, module):
    monkeypatch.setitem(sys.modules, module, None)
    code, _, err = dropscope(monkeypatch, capsys, "study", table, "--target", "price")
    assert code == 2
    assert "pip install 'dropscope[study]'" in err
