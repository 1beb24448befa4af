"""`dropscope report`: the same page again from the folder alone, and one line on why there is none."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from filelock import FileLock

from dropscope import cli

SMALL = "--p-input 0.1 --p-hidden 0.3 --seeds 2 --epochs 3 --width 4 --depth 1 --budget 13000 --lr 0.001".split()


def dropscope(capsys, *arguments):
    """Run the command line in this process: exit code, stdout, stderr."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["dropscope", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    return stopped.value.code or 0, *(capsys.readouterr() if capsys else ())


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("studied")
    x = np.random.default_rng(0).normal(size=(90, 3))
    rows = [f"{a},{b},{c},{a + b * c}" for a, b, c in x]
    (folder / "houses.csv").write_text("\n".join(["rooms,age,area,price", *rows]) + "\n")
    assert dropscope(None, "study", folder / "houses.csv", "--target", "price", "--out", folder / "s", *SMALL) == (0,)
    return folder / "s"


@pytest.fixture
def folder(studied, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(studied, tmp_path / "s")


def test_the_page_and_its_figures_are_written_again_as_they_were(capsys, studied, folder):
    drawn = [path.name for path in studied.iterdir() if path.suffix in (".html", ".png")]
    before = (folder / "result.json").read_bytes()
    for name in drawn:
        (folder / name).unlink()
    code, out, err = dropscope(capsys, "report", folder)
    assert (code, err) == (0, "")
    assert sorted(out.split()) == sorted(str(folder / name) for name in drawn)
    assert (folder / "report.html").read_text() == (studied / "report.html").read_text()
    assert (folder / "result.json").read_bytes() == before


@pytest.fixture
def without_page(monkeypatch):
    """Leave out the page, which takes seconds."""
    monkeypatch.setattr("dropscope.report.write_report", lambda result, folder: [])


@pytest.mark.usefixtures("without_page")
def test_a_pdf_is_written_on_demand(capsys, folder):
    code, out, _ = dropscope(capsys, "report", folder, "--pdf")
    assert code == 0
    assert out.split()[-1] == str(folder / "report.pdf")
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")


def refused(capsys, folder):
    before = {path: path.read_bytes() for path in folder.glob("*")}
    code, out, err = dropscope(capsys, "report", folder)
    assert (code, out) == (2, "")
    assert err.startswith("dropscope: error: ")
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.glob("*")} == before
    return err


def test_a_folder_without_a_study_says_how_to_make_one(capsys, tmp_path):
    assert "there is no such folder" in refused(capsys, tmp_path / "none")
    assert f"`dropscope study TABLE --target COLUMN --out {tmp_path}` makes one" in refused(capsys, tmp_path)


def test_a_study_that_did_not_end_says_what_to_run(capsys, folder):
    (folder / "result.json").unlink()
    said = refused(capsys, folder)
    assert "did not end (10 finished networks are kept)" in said
    assert f"`--out {folder}` and without `--fresh`" in said


def test_a_study_that_still_runs_asks_to_wait(capsys, folder):
    (folder / "result.json").unlink()
    with FileLock(folder / "lock"):
        assert "is still running" in refused(capsys, folder)


def test_a_damaged_result_is_named(capsys, folder):
    path = folder / "result.json"
    path.write_text(path.read_text()[:1000])
    assert f"{path} is damaged" in refused(capsys, folder)


@pytest.mark.parametrize("lost", ["blocks", "arms", "trials", "curve"])
def test_a_result_of_an_older_version_is_said_to_be_one(capsys, folder, lost):
    path = folder / "result.json"
    kept = json.loads(path.read_text())
    kept.pop(lost, None)
    for trial in kept.get("trials", []):
        trial.pop(lost, None)
    path.write_text(json.dumps(kept | {"versions": {"dropscope": "0.0.1"}}))
    assert "another version of dropscope (0.0.1; this is" in refused(capsys, folder)


@pytest.mark.usefixtures("without_page")
def test_networks_that_the_result_does_not_know_are_counted(capsys, folder):
    with (folder / "trials.jsonl").open("a") as store:
        store.write('{"kind": "trial", "key": "new"}\n{"kind": "trial", "ke')
    code, _, err = dropscope(capsys, "report", folder)
    assert code == 0
    assert "holds 1 finished networks that its last result does not know" in err


@pytest.mark.parametrize("command", ["report", "compare"])
def test_help_does_not_import_torch(command):
    code = f"import sys; sys.argv = ['dropscope', '{command}', '--help']\nfrom dropscope.cli import main\n"
    code += "try:\n    main()\nexcept SystemExit:\n    pass\n"
    code += "assert not {'torch', 'numpy', 'polars', 'matplotlib', 'plotly'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
