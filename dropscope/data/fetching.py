"""Where numbers that are not shipped come from: a folder of the user's, the cache, or else their official source.

What is read is checked by the SHA-256 of the numbers, not of the files: the same table may come as text or as npz.
"""

import contextlib
import hashlib
import io
import os
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

import numpy as np

from dropscope.errors import MissingData

__all__ = ["REMOVE", "cache_folder", "checked", "folders", "parsed", "text_numbers"]

TIMEOUT = 60.0  # seconds without an answer
REMOVE = "a file on disk must be removed; what was fetched is not kept."
ELSEWHERE = "set the environment variable DROPSCOPE_DATA to a folder that holds the data, or try again with a network."


def cache_folder() -> Path:
    """Return the folder that keeps what was fetched: `dropscope` in XDG_CACHE_HOME, or in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dropscope"


def folders() -> list[Path]:
    """List the folders to look in: DROPSCOPE_DATA, if that is set, then the cache."""
    own = os.environ.get("DROPSCOPE_DATA")
    return [*([Path(own).expanduser()] if own else []), cache_folder()]


def checked(numbers: np.ndarray, sha256: str, origin: Path | str) -> np.ndarray:
    """Return the numbers as float64 if they are the expected ones.

    Args:
        numbers: what was read.
        sha256: expected digest of the float64 numbers, little-endian, in C order.
        origin: the file or address they were read from.

    Raises:
        MissingData: they are others.
    """
    numbers = np.ascontiguousarray(numbers, dtype="<f8")
    if hashlib.sha256(numbers.tobytes()).hexdigest() != sha256:
        raise MissingData(f"{origin} holds other numbers than were published: {REMOVE}")
    return numbers


def parsed(contents: Sequence[bytes], origin: Path | str) -> np.ndarray:
    """Read files of numbers separated by blanks and lines, one file below the other.

    Args:
        contents: the bytes of each file.
        origin: where they come from.

    Raises:
        MissingData: there is something else in them.
    """
    try:
        return np.vstack([np.loadtxt(io.StringIO(content.decode("ascii"))) for content in contents])
    except ValueError as error:
        raise MissingData(f"{origin} holds no table of numbers: {REMOVE}") from error


def text_numbers(paths: Sequence[Path], address: str, sha256: str) -> np.ndarray:
    """Find text files that belong together, or fetch them and keep them in the cache if they are the expected ones.

    Args:
        paths: where they lie within a folder, and within the address.
        address: their official source.
        sha256: digest of their numbers.

    Returns:
        Their numbers, one file below the other.

    Raises:
        MissingData: they cannot be had, or hold other numbers.
    """
    for folder in folders():
        files = [folder / path for path in paths]
        if all(file.is_file() for file in files):
            return checked(parsed([file.read_bytes() for file in files], files[0]), sha256, files[0])

    urls = [f"{address}/{path.as_posix()}" for path in paths]
    contents = [_download(url) for url in urls]
    numbers = checked(parsed(contents, urls[0]), sha256, urls[0])
    # A cache that cannot be written costs the next download, no more.
    with contextlib.suppress(OSError):
        for path, content in zip(paths, contents, strict=True):
            _keep(content, cache_folder() / path)
    return numbers


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            return answer.read()
    except (OSError, HTTPException) as error:
        raise MissingData(f"{url} cannot be fetched ({error}): {ELSEWHERE}") from error


def _keep(content: bytes, path: Path) -> None:
    """Write a file so that nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
