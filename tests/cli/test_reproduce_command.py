"""`dropscope reproduce`: the list, the table, the numbers as JSON, and one line for every mistake."""

import json
import subprocess
import sys

import numpy as np
import pytest

from dropscope import cli
from dropscope.data import UciResults
from dropscope.errors import MissingData
from dropscope.experiments import uci
from dropscope.experiments.uci_comparison import Outcome, Reproduction

ROWS = np.linspace(1, 2, 20)
OURS = UciResults(ROWS, ROWS + np.tile([0.01, -0.01], 10), -ROWS)


@pytest.fixture
def asked(monkeypatch):
    """The options that the experiment is run with; it answers at once."""
    options = {}

    def run(*, progress, **given):
        options.update(given)
        progress("yacht", "training", 1, 2)
        outcomes = [Outcome("yacht", 3, OURS, UciResults(ROWS, ROWS, -ROWS), 4.0, 5.0)]
        return Reproduction((*outcomes, Outcome("boston", 1, OURS, None, 0.0, 0.0)), 50, given["seed"])

    monkeypatch.setattr(uci, "run", run)
    return options


def reproduce(monkeypatch, capsys, *arguments):
    """Run the command line in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["dropscope", "reproduce", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code or 0, *capsys.readouterr()


def test_the_list_names_every_experiment_with_its_cost(monkeypatch, capsys):
    code, out, _ = reproduce(monkeypatch, capsys, "--list")
    assert code == 0
    assert "uci" in out
    assert "min" in out
    assert [one["name"] for one in json.loads(reproduce(monkeypatch, capsys, "--list", "--json")[1])] == ["uci"]


def test_the_table_stands_beside_the_authors_with_verdicts(monkeypatch, capsys, asked):
    code, out, err = reproduce(monkeypatch, capsys, "uci")
    assert code == 0
    assert asked == {"full": False, "seed": 0}
    assert "Gal & Ghahramani 2016" in out
    assert "agrees" in out
    assert "not compared" in out
    assert "20×3" in out
    assert err == "yacht ...\n"


def test_options_reach_the_experiment(monkeypatch, capsys, asked):
    arguments = "uci --full --sets boston,yacht --passes 9 --splits 4 --seeds 2 --seed 6 --quiet".split()
    code, _, err = reproduce(monkeypatch, capsys, *arguments)
    assert (code, err) == (0, "")
    assert asked == {
        "full": True, "sets": ["boston", "yacht"], "n_samples": 9, "splits": 4, "n_seeds": 2, "seed": 6,
    }  # fmt: skip


def test_json_is_one_object_and_the_file_holds_the_same(monkeypatch, capsys, asked, tmp_path):
    code, out, _ = reproduce(monkeypatch, capsys, "uci", "--json", "--out", tmp_path / "uci.json")
    answer = json.loads(out)
    assert code == 0
    assert answer == json.loads((tmp_path / "uci.json").read_text())
    assert answer["outcomes"][0]["ours"]["rmse"] == OURS.rmse.tolist()
    assert answer["outcomes"][0]["verdict"] == "agrees"
    assert answer["outcomes"][1]["theirs"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ucy"], "did you mean `uci`?"),
        ([], "Valid names: uci"),
        (["uci", "--sets", "boston,yatch"], "did you mean `yacht`?"),
        (["uci", "--passes", "1"], "`--passes` must be at least 2, got 1"),
        (["uci", "--seeds", "0"], "`--seeds` must be at least 1, got 0"),
        (["uci", "--splits", "40"], "`splits` must be in 2 to 20, got 40"),
        (["uci", "--out", "/nowhere/at/all.json"], "`--out` must be a file in a folder that exists"),
        (["uci", "--out", "."], "`--out` must be a file in a folder that exists, got ."),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, capsys, arguments, message):
    code, out, err = reproduce(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("dropscope: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_data_that_cannot_be_had_is_one_line(monkeypatch, capsys):
    def missing(name):
        raise MissingData("https://example.org/data.txt cannot be fetched: set DROPSCOPE_DATA.")

    monkeypatch.setattr(uci, "uci", missing)
    code, out, err = reproduce(monkeypatch, capsys, "uci")
    assert (code, out) == (2, "")
    assert err == "dropscope: error: https://example.org/data.txt cannot be fetched: set DROPSCOPE_DATA.\n"


def test_an_interrupt_is_said(monkeypatch, capsys):
    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(uci, "run", interrupted)
    code, _, err = reproduce(monkeypatch, capsys, "uci")
    assert code == 130
    assert "Interrupted" in err


@pytest.mark.parametrize("arguments", [["--help"], ["--list"]])
def test_help_and_list_do_not_import_torch(arguments):
    code = f"import sys; sys.argv = ['dropscope', 'reproduce', *{arguments!r}]\nfrom dropscope.cli import main\n"
    code += "try:\n    main()\nexcept SystemExit:\n    pass\n"
    code += "assert not {'torch', 'numpy', 'polars'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
