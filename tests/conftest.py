"""Fixtures every test file shares: fresh seeds that are printed and can be replayed."""

import os
import secrets
import sys

import pytest
import torch

pytest.register_assert_rewrite("contracts", "mask_contracts")
torch.manual_seed(0)  # models that files make when they are read are the same in every run

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several test processes with several threads each wait for one another most of the time.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def fresh_seed():
    """A fresh seed for each test, printed on failure; `DROPSCOPE_TEST_SEED=n` replays it.

    Initial weights and masks come from torch's own generator, which is begun from it, and not where `generator` begins.
    """
    value = int(os.environ.get("DROPSCOPE_TEST_SEED", secrets.randbits(31)))
    print(f"DROPSCOPE_TEST_SEED={value}")
    torch.manual_seed(value + 1)
    return value


@pytest.fixture
def seed(fresh_seed):
    """The seed of this test."""
    return fresh_seed


@pytest.fixture
def generator(seed):
    """A torch generator on the fresh seed."""
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def _skip_what_cannot_hold(request):
    """Skip a check of `contracts` that the case names, with its reason."""
    case = request.node.callspec.params.get("case") if hasattr(request.node, "callspec") else None
    reason = getattr(case, "skip", {}).get(request.node.originalname)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A folder of one model in every form that the command line reads."""
    from saved_models import save_all

    folder = tmp_path_factory.mktemp("models")
    save_all(folder)
    return folder


@pytest.fixture
def dropscope(saved, monkeypatch, capsys):
    """Run `dropscope spectrum` in the folder of models: exit code, stdout, stderr."""
    from dropscope import cli

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
