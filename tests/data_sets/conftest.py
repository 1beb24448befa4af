"""No test here looks at the user's folder or cache, or at the network, unless it asks for the real data."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from small_repository import RESULTS, TABLE, digest, write_repository

from dropscope.data import uci_published, uci_tables

REAL = os.environ.get("DROPSCOPE_DATA")


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path, monkeypatch):
    """Neither a folder of the user's nor a cache."""
    monkeypatch.delenv("DROPSCOPE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def real(monkeypatch):
    """The folder of the published data, if there is one."""
    if not REAL or not (Path(REAL) / "uci_gal").is_dir():
        pytest.skip("needs the UCI tables: DROPSCOPE_DATA is not set to a folder that holds `uci_gal`")
    monkeypatch.setenv("DROPSCOPE_DATA", REAL)
    return Path(REAL) / "uci_gal"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder to fetch from, with a small table in place of yacht."""
    folder = tmp_path / "repository"
    write_repository(folder)
    small = replace(uci_tables.TABLES["yacht"], inputs=2, sha256=digest(TABLE))
    monkeypatch.setitem(uci_tables.TABLES, "yacht", small)
    monkeypatch.setitem(uci_published.CHECKSUMS, "yacht", digest(RESULTS))
    monkeypatch.setattr(uci_tables, "ADDRESS", folder.as_uri())
    monkeypatch.setattr(uci_published, "ADDRESS", folder.as_uri())
    return folder
