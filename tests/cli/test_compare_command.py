"""`dropscope compare`: what differs, in words and as JSON, and one line where nothing can be compared."""

import json
import sys

import numpy as np
import pytest

from dropscope import cli, study

SMALL = {"p_input": 0.1, "p_hidden": 0.5, "seeds": 2, "epochs": 3, "depth": 1, "lr": 1e-3, "budget": 13_000}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three studies of one table: two widths, and another metric."""
    folder = tmp_path_factory.mktemp("studies")
    x = np.random.default_rng(0).normal(size=(90, 3))
    changed = {"narrow": {"width": 4}, "wide": {"width": 8}, "mae": {"width": 4, "metric": "mae"}}
    for name, options in changed.items():
        study.run(x, x[:, 0] * x[:, 1], out=folder / name, name="small", **SMALL, **options)
    return folder


def compared(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["dropscope", "compare", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code or 0, *capsys.readouterr()


def test_it_says_in_words_and_a_table_what_differs(monkeypatch, capsys, folders):
    code, out, err = compared(monkeypatch, capsys, folders / "narrow", folders / "wide")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"A: {folders / 'narrow'}, small: target, 5 rates × 2 seeds, 3 epochs")
    assert any(line.split() == ["width", "4", "8"] for line in lines)
    assert "Paired by seed" in out
    assert sum(line.startswith(("A advises: ", "B advises: ")) for line in lines) == 2
    assert sum(" ± " in line and line[0] == "0" for line in lines if line) == 5


def test_json_is_one_object_with_the_same_numbers(monkeypatch, capsys, folders):
    code, out, _ = compared(monkeypatch, capsys, folders / "narrow", folders / "wide", "--json")
    kept = json.loads(out)
    assert code == 0
    assert kept["paired"] is True
    assert kept["options"] == [["width", "4", "8"]]
    arm = study.load_result(folders / "wide").arms[3]
    assert kept["arms"][3]["b"] == pytest.approx(arm.select)
    assert (kept["arms"][3]["p_input"], kept["arms"][3]["p_hidden"]) == arm.rates


def test_what_cannot_be_compared_is_one_line(monkeypatch, capsys, folders):
    code, out, err = compared(monkeypatch, capsys, folders / "narrow", folders / "mae", "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "must share target and metric to be compared" in err
    code, out, err = compared(monkeypatch, capsys, folders / "narrow", folders)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{folders} must be the folder of a finished study" in err
