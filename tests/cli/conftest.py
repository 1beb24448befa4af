"""Saved models, and the command line as a function."""

import sys

import pytest
from saved_models import save_all

from dropscope import cli


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_all(folder)
    return folder


@pytest.fixture
def dropscope(saved, monkeypatch, capsys):
    """Run the command line in the folder of models: exit code, stdout, stderr."""
    monkeypatch.chdir(saved)
    monkeypatch.syspath_prepend(saved)
    for name in ("forms", "raises"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dropscope", "spectrum", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0, *capsys.readouterr()

    return run
