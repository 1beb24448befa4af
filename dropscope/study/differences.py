"""What was run differently in two studies: their tables, their options, and whether they cut the same rows alike."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from dropscope.study.options import Options
from dropscope.study.result import StudyResult

__all__ = ["changed_options", "changed_table", "one_cut"]

Changed = tuple[tuple[str, str, str], ...]

# What decides, with the table, which rows fit, stop and select.
CUTS = ("study_seed", "test", "fractions", "split_column", "group_column", "time_column")
# Told elsewhere: what a study made of them counts, not what it was asked.
ASIDE = {"task", "metric", "epochs", "max_seconds", "lr"}
LONGEST = 60
OF_NUMBERS = ("rmse", "mae", "pinball")


def one_cut(a: StudyResult, b: StudyResult, digest_a: str | None, digest_b: str | None) -> tuple[bool, str]:
    """Decide whether two studies fit, stop and select on the same rows, seed by seed.

    They do if they cut alike and their stores know the same table. Numbers in place of labels also give it away: the
    constant prediction then scores the same, to the last digit, only on the same rows.

    Args:
        a: the first study.
        b: the second one.
        digest_a: digest of the first table, None where it is not known.
        digest_b: digest of the second one.

    Returns:
        Whether they do, and a sentence that says why.
    """
    first, second = ({**asdict(Options()), **one.options} for one in (a, b))
    cuts = [name for name in CUTS if _plain(first[name]) != _plain(second[name])]
    if cuts:
        return False, f"Not paired: the rows are cut differently ({', '.join(f'`{name}`' for name in cuts)})."
    if digest_a is not None and digest_a == digest_b:
        return True, "Paired by seed: both studies use the same table and cut it alike."
    if a.metric in OF_NUMBERS and a.rows == b.rows and _constants(a) and _constants(a) == _constants(b):
        return True, "Paired by seed: the constant prediction scores the same in both, so rows and cuts are the same."
    return False, "Not paired: nothing tells for certain that the rows of each seed are the same in both studies."


def _constants(result: StudyResult) -> list[Any]:
    """Scores of the constant prediction on the seeds that every study has."""
    rows = [row for row in result.references if row["name"] == "constant"]
    return [scores for row in rows for part in ("select", "test") for scores in row[part][:2]]


def changed_table(a: StudyResult, b: StudyResult, digest_a: str | None, digest_b: str | None) -> Changed:
    """List how two tables differ.

    Args:
        a: the first study.
        b: the second one.
        digest_a: digest of the first table, None where it is not known.
        digest_b: digest of the second one.

    Returns:
        Triples of what differs and its two values.
    """
    found = [
        (name, str(first), str(second))
        for name, first, second in (
            ("name", a.name, b.name), ("source", a.source, b.source), ("rows", a.rows["all"], b.rows["all"]),
        )
        if first != second
    ]  # fmt: skip
    own, others = ([name for name in x.features if name not in y.features] for x, y in ((a, b), (b, a)))
    if own or others:
        found.append(("columns of its own", _text(own), _text(others)))
    elif a.blocks != b.blocks:
        found.append(("blocks of columns", f"{len(a.blocks)}", f"{len(b.blocks)}"))
    if not found and digest_a and digest_b and digest_a != digest_b:
        found.append(("values, or how they are read", digest_a[:8], digest_b[:8]))
    return tuple(found)


def changed_options(a: StudyResult, b: StudyResult) -> Changed:
    """List how the options of two studies differ, with the epochs and learning rates that came of them.

    Args:
        a: the first study.
        b: the second one.

    Returns:
        Triples of the option and its two values; what an older study did not know has its default.
    """
    first, second = ({**asdict(Options()), **one.options} for one in (a, b))
    for options, one in ((first, a), (second, b)):
        options |= {"epochs planned": one.epochs, "learning rates": sorted({arm.lr for arm in one.arms})}
        options |= {f"{name} version": number for name, number in one.versions.items()}
    return tuple(_differing(first, second))


def _differing(first: dict[str, Any], second: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name in (*first, *(name for name in second if name not in first)):
        values = _plain(first.get(name)), _plain(second.get(name))
        if name not in ASIDE and values[0] != values[1]:
            yield name.replace("_", " "), _text(values[0]), _text(values[1])


def _plain(value: Any) -> Any:
    """Lists for tuples, as JSON has them."""
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _text(value: Any) -> str:
    if isinstance(value, list):
        return _short(", ".join(f"({_text(one)})" if isinstance(one, list) else _text(one) for one in value) or "none")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "default" if value is None else f"{value:g}" if isinstance(value, float) else _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
