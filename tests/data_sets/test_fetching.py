"""Data that is not shipped: found in the user's folder, in the cache, or fetched; kept only if it is the right one."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from small_repository import TABLE, TEXT, write

from dropscope.data import uci, uci_tables
from dropscope.data.fetching import cache_folder, checked
from dropscope.errors import DropscopeError, MissingData


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_is_fetched_is_kept_and_fetched_only_once(repository):
    first = uci("yacht")
    (repository / TEXT).unlink()
    again = uci("yacht")
    assert np.array_equal(first[7].x_train, again[7].x_train)
    assert files(cache_folder()) == [cache_folder() / TEXT]


def test_a_corrupt_download_is_refused_and_not_kept(repository):
    wrong = TABLE.copy()
    wrong[3, 1] += 1e-12
    write(repository / TEXT, wrong)
    with pytest.raises(MissingData, match=r"data.txt holds other numbers than were published"):
        uci("yacht")
    assert not files(cache_folder())


@pytest.mark.parametrize("content", [b"<html>429: slow down</html>", b"1 2 3\n4 5\n", b"\xff\xfe\x00"])
def test_a_page_in_place_of_a_table_is_refused_and_not_kept(repository, content):
    (repository / TEXT).write_bytes(content)
    with pytest.raises(MissingData, match="holds no table of numbers"):
        uci("yacht")
    assert not files(cache_folder())


def test_without_a_network_the_error_says_what_to_do(repository, monkeypatch):
    monkeypatch.setattr(uci_tables, "ADDRESS", (repository / "nowhere").as_uri())
    with pytest.raises(MissingData, match="set the environment variable DROPSCOPE_DATA to a folder") as raised:
        uci("yacht")
    assert isinstance(raised.value, DropscopeError)
    assert isinstance(raised.value, OSError)
    assert "\n" not in str(raised.value)


class Handler(BaseHTTPRequestHandler):
    """Knows one file, and breaks off in the middle of another."""

    def do_GET(self):
        content = "\n".join(" ".join(map(repr, row)) for row in TABLE.tolist()).encode()
        self.send_response(200 if self.path.startswith(("/good/", "/short/")) else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:100] if self.path.startswith("/short/") else content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_server_is_asked_and_its_refusals_are_one_error(repository, server, monkeypatch):
    for folder, message in (("missing", "404"), ("short", "IncompleteRead")):
        monkeypatch.setattr(uci_tables, "ADDRESS", f"{server}/{folder}")
        with pytest.raises(MissingData, match=message):
            uci("yacht")
        assert not files(cache_folder())
    monkeypatch.setattr(uci_tables, "ADDRESS", f"{server}/good")
    assert len(uci("yacht")) == 20
    assert files(cache_folder())


def test_a_cache_that_cannot_be_written_costs_nothing_else(repository, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(uci("yacht")) == 20


def test_a_full_disk_leaves_no_part_of_a_file(repository, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert len(uci("yacht")) == 20
    assert not files(cache_folder())


def test_a_wrong_file_in_the_cache_is_named(repository):
    write(cache_folder() / TEXT, TABLE[::-1])
    with pytest.raises(MissingData, match="must be removed") as raised:
        uci("yacht")
    assert str(cache_folder() / TEXT) in str(raised.value)


def test_the_users_folder_comes_first_as_text_and_as_npz(repository, tmp_path, monkeypatch):
    own = tmp_path / "own"
    monkeypatch.setenv("DROPSCOPE_DATA", str(own))
    write(own / TEXT, TABLE[::-1])
    with pytest.raises(MissingData, match="own"):
        uci("yacht")

    (own / "uci_gal").mkdir()
    np.savez(own / "uci_gal" / "yacht.npz", data=TABLE)
    assert len(uci("yacht")) == 20
    assert not cache_folder().exists()


def test_a_broken_archive_is_named(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("DROPSCOPE_DATA", str(tmp_path))
    (tmp_path / "uci_gal").mkdir()
    for content in (b"", b"PK\x03\x04 and no more", b"text"):
        (tmp_path / "uci_gal" / "yacht.npz").write_bytes(content)
        with pytest.raises(MissingData, match=r"yacht\.npz holds no table"):
            uci("yacht")


def test_the_checksum_is_that_of_the_numbers_whatever_their_layout():
    from small_repository import digest

    assert np.array_equal(checked(np.asfortranarray(TABLE), digest(TABLE), "here"), TABLE)
    with pytest.raises(MissingData, match="here"):
        checked(TABLE.T, digest(TABLE), "here")
