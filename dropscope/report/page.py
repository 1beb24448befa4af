"""The page of a study."""

from pathlib import Path
from typing import Any

from dropscope.report.filling import fill
from dropscope.report.picture import Figure
from dropscope.report.reading import p_text
from dropscope.report.tables import arms_table, references_table, refit_table, targets_table, trials_table
from dropscope.study import StudyResult
from dropscope.study.metrics import LABELS

__all__ = ["answer_of", "numbers_of", "render"]

ANSWERS = {
    "dropout": "Use dropout", "no dropout": "No dropout", "cannot tell": "The data cannot tell", "void": "No advice",
}  # fmt: skip
# Files of the report itself.
DRAWN = (".html", ".png", ".pdf")


def render(result: StudyResult, figures: list[Figure]) -> str:
    """Render the page.

    Args:
        result: a finished study.
        figures: its figures.

    Returns:
        The HTML.
    """
    return fill(
        "study.html", figures, result=result, answer=answer_of(result), numbers=numbers_of(result),
        options=_options(result), versions=result.versions, arms=arms_table(result),
        references=references_table(result), refit=refit_table(result), trials=trials_table(result),
        targets=targets_table(result),
        files=[name for file in result.files if not (name := Path(file).name).endswith(DRAWN)],
    )  # fmt: skip


def answer_of(result: StudyResult) -> dict[str, Any]:
    """Put the advice in the order in which it is read.

    Args:
        result: a finished study.

    Returns:
        `kind`, `title`, two `sentences` and `code`.
    """
    advice = result.advice
    if advice is None:
        return {
            "kind": "void",
            "title": "No advice",
            "sentences": ("This study was not asked for advice.", ""),
            "code": "",
        }
    return {"kind": advice.kind, "title": ANSWERS[advice.kind], "sentences": advice.sentences, "code": advice.code}


def numbers_of(result: StudyResult) -> list[tuple[str, str]]:
    """List the numbers that tell how large the study was.

    Args:
        result: a finished study.

    Returns:
        Pairs of name and number.
    """
    parts = [(f"{part} rows", f"{result.rows[part]:,}") for part in ("fit", "stop", "select", "test")]
    return [
        *parts,
        ("networks", f"{len(result.trials):,}"),
        (
            "epochs at most",
            f"{2 * result.epochs:,}" if any(t["extended"] for t in result.trials) else f"{result.epochs:,}",
        ),
        ("seconds", f"{result.seconds:,.0f}"),
        ("metric", LABELS[result.metric]),
    ]


def _options(result: StudyResult) -> list[tuple[str, str]]:
    """Options by name: a column that was not named is none; what else was left open the study chose."""
    return [
        (name, "none" if value is None and name.endswith("_column") else _option_text(value))
        for name, value in result.options.items()
    ]


def _option_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        inner = [f"({_option_text(one)})" if isinstance(one, list | tuple) else _option_text(one) for one in value]
        return ", ".join(inner) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "chosen by the study"
    return p_text(value) if isinstance(value, float) else str(value)
