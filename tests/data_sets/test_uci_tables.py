"""The UCI tables: the published cuts, drawn again; the right columns; the published results of each cut."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
from small_repository import MEASURES, RESULTS, TABLE

from dropscope.data import uci, uci_published, uci_results
from dropscope.data.uci_tables import TABLES, published_cuts
from dropscope.errors import MissingData
from dropscope.experiments.uci_comparison import PUBLISHED

# Rows of each table, and the first digits of the SHA-256 of the authors' files of row numbers: train, test, train, ...
CUTS = [
    ("boston", 506, "3a0f9d6fd12975eb"),
    ("concrete", 1030, "53e07118dc99dae5"),
    ("energy", 768, "f31dbf17d6e90613"),
    ("kin8nm", 8192, "cc438ee541ed1c01"),
    ("naval", 11934, "c85d2a484c787dc1"),
    ("power", 9568, "86afc4ab79af4ecc"),
    ("protein", 45730, "0abd139c01ad348d"),
    ("wine", 1599, "2321a34fc862e7f7"),
    ("yacht", 308, "28ca596560b98361"),
]


@pytest.mark.parametrize(("name", "rows", "sha256"), CUTS)
def test_the_cuts_are_the_authors_own(name, rows, sha256):
    cuts = published_cuts(rows, TABLES[name].splits)
    numbers = b"".join(part.astype("<i8").tobytes() for cut in cuts for part in cut)
    assert hashlib.sha256(numbers).hexdigest().startswith(sha256)


@pytest.mark.parametrize("name", TABLES)
def test_a_real_table_is_cut_as_its_authors_cut_it(real, name):
    with np.load(real / f"{TABLES[name].folder}.npz") as packed:
        archive = dict(packed)
    x, y = archive["data"][:, archive["features"]], archive["data"][:, archive["target"]]
    for number, split in enumerate(uci(name)):
        train, test = archive[f"train_{number}"], archive[f"test_{number}"]
        assert np.array_equal(split.x_train, x[train])
        assert np.array_equal(split.y_train, y[train])
        assert np.array_equal(split.x_test, x[test])
        assert np.array_equal(split.y_test, y[test])


def test_a_split_holds_every_row_once_and_only_inputs_and_target(repository):
    for split in uci("yacht"):
        x, y = np.concatenate([split.x_train, split.x_test]), np.concatenate([split.y_train, split.y_test])
        rows = np.column_stack([x, y])
        assert (len(split.y_train), len(split.y_test)) == (27, 3)
        assert np.array_equal(rows[rows[:, 0].argsort()], TABLE[TABLE[:, 0].argsort(), :3])
        assert {array.dtype for array in vars(split).values()} == {np.dtype("float64")}


@pytest.mark.parametrize("load", [uci, uci_results])
def test_an_unknown_table_suggests_one(load):
    with pytest.raises(ValueError, match="did you mean `yacht`"):
        load("yatch")


def check_results(results):
    for values, expected in zip(vars(results).values(), RESULTS, strict=True):
        assert np.array_equal(values, expected)
    assert list(vars(results)) == ["weight_scaling_rmse", "rmse", "log_likelihood"]


def test_results_are_fetched_together_and_kept(repository):
    check_results(uci_results("yacht"))
    for measure in MEASURES:
        (repository / "yacht" / "net" / "results" / f"test_{measure}.txt").unlink()
    check_results(uci_results("yacht"))


def test_results_of_another_measure_are_refused(repository):
    results = repository / "yacht" / "net" / "results"
    (results / "test_ll.txt").write_bytes((results / "test_rmse.txt").read_bytes())
    with pytest.raises(MissingData, match="other numbers"):
        uci_results("yacht")


def test_results_are_read_from_the_archive(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("DROPSCOPE_DATA", str(tmp_path))
    archive = tmp_path / uci_published.ARCHIVE
    archive.parent.mkdir()
    with tarfile.open(archive, "w:xz") as members:
        for measure in reversed(MEASURES):
            content = (repository / "yacht" / "net" / "results" / f"test_{measure}.txt").read_bytes()
            member = tarfile.TarInfo(f"yacht/net/results/test_{measure}.txt")
            member.size = len(content)
            members.addfile(member, io.BytesIO(content))
    check_results(uci_results("yacht"))
    with pytest.raises(MissingData, match="holds no results"):
        uci_results("boston")
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(MissingData, match="holds no results"):
        uci_results("yacht")


@pytest.mark.parametrize("name", TABLES)
def test_the_published_means_are_those_of_the_results_of_each_cut(real, name):
    results = uci_results(name)
    for values, printed in zip((results.rmse, results.log_likelihood), PUBLISHED[name], strict=True):
        digits = len(printed.partition("±")[2]) - 2
        error = values.std() / len(values) ** 0.5
        assert len(values) == TABLES[name].splits
        assert f"{values.mean():.{digits}f}±{error:.{digits}f}" == printed
