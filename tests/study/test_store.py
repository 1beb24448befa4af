"""The store: append only, one owner, nothing lost, nothing mixed."""

import json

import pytest

from dropscope.errors import StoreConflict
from dropscope.study.store import Store

CONFIG = {"width": 32, "lr": (0.001,), "data": "abc"}


def record(key):
    return {"key": key, "stop": 0.5}


def test_records_come_back(tmp_path):
    with Store(tmp_path, CONFIG) as store:
        store.plan(30)
        store.add([record("a"), record("b")])
    with Store(tmp_path, CONFIG) as store:
        assert store.epochs == 30
        assert store.records == {"a": record("a"), "b": record("b")}


def test_lines_are_appended_and_never_rewritten(tmp_path):
    with Store(tmp_path, CONFIG) as store:
        store.add([record("a")])
    before = store.path.read_bytes()
    with Store(tmp_path, CONFIG) as store:
        store.add([record("b")])
    assert store.path.read_bytes().startswith(before)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_record_cut_short_is_dropped_and_said(tmp_path, cut):
    with Store(tmp_path, CONFIG) as store:
        store.add([record("a")])
        store.add([record("b")])
    store.path.write_bytes(store.path.read_bytes()[:-cut])
    with Store(tmp_path, CONFIG) as store:
        assert set(store.records) == {"a"}
        assert "cut short" in store.notes[0]
        store.add([record("b")])
    with Store(tmp_path, CONFIG) as store:
        assert set(store.records) == {"a", "b"}
        assert not store.notes


def test_a_damaged_line_is_refused_not_skipped(tmp_path):
    with Store(tmp_path, CONFIG) as store:
        store.add([record("a"), record("b")])
    lines = store.path.read_bytes().splitlines(keepends=True)
    store.path.write_bytes(lines[0] + b'{"key": \n' + lines[2])
    with pytest.raises(StoreConflict, match=r"line 2 .* damaged"):
        Store(tmp_path, CONFIG)


def test_another_configuration_is_refused_and_the_difference_named(tmp_path):
    with Store(tmp_path, CONFIG) as store:
        store.add([record("a")])
    before = store.path.read_bytes()
    with pytest.raises(StoreConflict, match=r"width: 32 there, 64 now.*--fresh"):
        Store(tmp_path, {**CONFIG, "width": 64})
    assert store.path.read_bytes() == before


def test_fresh_starts_over(tmp_path):
    with Store(tmp_path, CONFIG) as store:
        store.plan(3)
        store.add([record("a")])
    with Store(tmp_path, {**CONFIG, "width": 64}, fresh=True) as store:
        assert store.records == {}
        assert store.epochs is None
    assert json.loads(store.path.read_text().splitlines()[0])["config"]["width"] == 64


def test_a_second_owner_is_refused_while_the_first_runs(tmp_path):
    with Store(tmp_path, CONFIG) as store:
        with pytest.raises(StoreConflict, match="another study is running"):
            Store(tmp_path, CONFIG)
        store.add([record("a")])
    with Store(tmp_path, CONFIG) as store:
        assert set(store.records) == {"a"}
