"""Open the folder of a study: its result, or one sentence on why there is none and what to run."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dropscope.study.result import StudyResult

__all__ = ["fingerprint_of", "load_result", "newer_trials"]

# What tables, figures and comparisons read of a trial.
TOLD = {
    "key", "p_input", "p_hidden", "lr", "seed", "best_epoch", "epochs", "extended", "diverged", "stop", "fit_curve",
    "stop_curve", "n_fit", "n_select", "select", "held", "test", "spectrum", "curve", "seconds",
}  # fmt: skip


def load_result(folder: str | Path) -> StudyResult:
    """Load the result that a finished study kept.

    Args:
        folder: the study's `out`.

    Returns:
        The result.

    Raises:
        ValueError: the folder holds no result that this version can read.
    """
    folder = Path(folder)
    path = folder / "result.json"
    if not path.is_file():
        raise ValueError(_why_none(folder))
    try:
        result = StudyResult.load(path)
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}): the `dropscope study` command of this study writes it again, from the "
            "trials that are kept beside it."
        ) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(_of_another_version(path)) from error
    if not result.trials or any(TOLD - trial.keys() for trial in result.trials):
        raise ValueError(_of_another_version(path))
    return result


def newer_trials(folder: str | Path, result: StudyResult) -> int:
    """Count the finished trials in a study's store that its result does not know.

    Args:
        folder: the study's `out`.
        result: its result.

    Returns:
        The number: 0 unless the study went on and did not end, or was last asked for fewer trials.
    """
    known = {trial["key"] for trial in result.trials}
    return sum(line["key"] not in known for line in _stored(Path(folder)) if "key" in line)


def fingerprint_of(folder: str | Path, result: StudyResult) -> str | None:
    """Find the digest of the table that a study's trials were made of.

    Args:
        folder: the study's `out`.
        result: its result.

    Returns:
        The digest; None where the store is gone, or holds the trials of another study.
    """
    lines = _stored(Path(folder))
    keys = {line.get("key") for line in lines}
    if not lines or any(trial["key"] not in keys for trial in result.trials):
        return None
    digest: str | None = lines[0].get("config", {}).get("data")
    return digest


def _stored(folder: Path) -> list[dict[str, Any]]:
    """Whole lines of the store; none where there is no store or a line is damaged."""
    path = folder / "trials.jsonl"
    if not path.is_file():
        return []
    content = path.read_bytes()
    try:
        return [dict(json.loads(line)) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    except ValueError:
        return []


def _why_none(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} must be the folder of a finished study: there is no such folder."
    if not (folder / "trials.jsonl").is_file():
        return (
            f"{folder} must be the folder of a finished study, but holds no result.json: "
            f"`dropscope study TABLE --target COLUMN --out {folder}` makes one."
        )
    if _is_running(folder):
        return f"the study in {folder} is still running: its result is written when it ends."
    done = sum("key" in line for line in _stored(folder))
    return (
        f"the study in {folder} did not end ({done} finished networks are kept): run its `dropscope study` command "
        f"again, with `--out {folder}` and without `--fresh`, and it goes on from there."
    )


def _is_running(folder: Path) -> bool:
    """Whether a process holds the lock of the store."""
    path = folder / "lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, blocking=False):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _of_another_version(path: Path) -> str:
    try:
        told = json.loads(path.read_text())["versions"]["dropscope"]
    except (ValueError, KeyError, TypeError):
        told = "unknown"
    return (
        f"{path} was written by another version of dropscope ({told}; this is {version('dropscope')}) and lacks "
        "numbers that this one shows: run the `dropscope study` command of this study again."
    )
