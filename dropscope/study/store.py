"""The append-only store: one JSON line a finished trial, so that a killed study goes on where it was."""

import json
import os
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from dropscope.errors import StoreConflict

__all__ = ["Store"]


class Store:
    """Finished trials of one study in one folder, used by one process at a time.

    The file `trials.jsonl` starts with the configuration of the study; then one line for the planned number of epochs,
    one for the learning rate where a pilot chose it, and one for each finished trial. Lines are appended and flushed to
    disk, never rewritten; a last line that a crash cut short is removed when the store is opened (and said in `notes`).

    Args:
        folder: where the store lives; made if missing.
        config: everything that decides the numbers of the study, as plain data.
        fresh: start over, whatever the folder holds.

    Raises:
        StoreConflict: another process uses the store, it belongs to another configuration, or a line is damaged.
        ValueError: the folder cannot be written.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, fresh: bool = False) -> None:
        self.path = folder / "trials.jsonl"
        self.notes: list[str] = []
        self.records: dict[str, dict[str, Any]] = {}
        self.epochs: int | None = None
        self.lr: float | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / "lock", blocking=False)
            self._lock.acquire()
        except Timeout as error:
            raise StoreConflict(
                f"another study is running in {folder}: wait for it, or choose another `--out`."
            ) from error
        except OSError as error:
            raise ValueError(f"`out` must be a folder that can be written, got {folder}: {error.strerror}.") from error
        try:
            self._open(json.loads(json.dumps(config)), fresh)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._lock.release()

    def plan(self, epochs: int) -> None:
        """Keep the number of epochs, so that a resumed study trains as long as it was planned to.

        Args:
            epochs: the number.
        """
        self.epochs = epochs
        self._append([{"kind": "plan", "epochs": epochs}])

    def pilot(self, lr: float) -> None:
        """Keep the learning rate of the pilot, so that a resumed study need not fly another.

        Args:
            lr: the learning rate.
        """
        self.lr = lr
        self._append([{"kind": "pilot", "lr": lr}])

    def add(self, records: list[dict[str, Any]]) -> None:
        """Append finished trials and flush them to disk.

        Args:
            records: plain data with a `key`.
        """
        self._append([{"kind": "trial", **record} for record in records])
        self.records.update({record["key"]: record for record in records})

    def _append(self, lines: list[dict[str, Any]]) -> None:
        self._file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _open(self, config: dict[str, Any], fresh: bool) -> None:
        whole = b"" if fresh or not self.path.exists() else self._whole_lines()
        lines = [self._parse(number, line) for number, line in enumerate(whole.splitlines(), start=1)]
        if lines:
            self._check(lines[0].get("config", {}), config)
        for line in lines[1:]:
            kind = line.pop("kind", None)
            if kind == "plan":
                self.epochs = line["epochs"]
            elif kind == "pilot":
                self.lr = line["lr"]
            else:
                self.records[line["key"]] = line
        self._file = self.path.open("ab")
        self._file.truncate(len(whole))
        if not lines:
            self._append([{"kind": "study", "config": config}])

    def _whole_lines(self) -> bytes:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self.notes.append(f"the last record of {self.path} was cut short by a crash and was removed.")
        return whole

    def _parse(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            return dict(json.loads(line))
        except ValueError as error:
            raise StoreConflict(
                f"line {number} of {self.path} is damaged: use `--fresh` to start over, or another `--out`."
            ) from error

    def _check(self, kept: dict[str, Any], asked: dict[str, Any]) -> None:
        changed = [name for name in {**kept, **asked} if kept.get(name) != asked.get(name)]
        if changed:
            shown = "; ".join(
                f"{name}: {_short(kept.get(name))} there, {_short(asked.get(name))} now" for name in changed
            )
            raise StoreConflict(
                f"{self.path.parent} holds another study ({shown}): use `--fresh` to start over, or another `--out`."
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
