"""The tables of the page, as texts: arms, reference models, and every single trial."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dropscope.report.reading import number, orders_of, shown_arms, trials_of
from dropscope.study import Arm, StudyResult
from dropscope.study.metrics import LABELS
from dropscope.study.rates import rate_of, rate_text

__all__ = ["Table", "arms_table", "number_text", "references_table", "refit_table", "targets_table", "trials_table"]

# Beside the metric of the study, what a reader knows best.
MORE = {"regression": ("r2", "coverage"), "classification": ("accuracy", "balanced_accuracy")}


@dataclass(frozen=True)
class Table:
    """Column names and rows of texts; `marked` are the rows that stand out."""

    columns: list[str]
    rows: list[list[str]]
    marked: frozenset[int] = frozenset()


def number_text(value: float | None, digits: int = 4) -> str:
    """Write a number to a few digits.

    Args:
        value: the number.
        digits: significant digits.

    Returns:
        The text, a dash for nan.
    """
    value = number(value)
    return f"{value:.{digits}g}" if math.isfinite(value) else "–"


def arms_table(result: StudyResult) -> Table:
    """List the arms.

    Args:
        result: the study.

    Returns:
        One row an arm; the advised one is marked.
    """
    several = len({trial["lr"] for trial in result.trials}) > 1
    orders = orders_of(result)
    label = LABELS[result.metric]
    columns = ["input p", "hidden p", *(["learning rate"] if several else [])]
    columns += [f"selection {label}", "estimate", f"test {label}"]
    columns += [*orders, *(["mean order", "variance"] if orders else []), "best epoch", "remark"]
    rows = []
    for arm in result.arms:
        cells = [f"{arm.p_input:g}", rate_text(arm.p_hidden), *([f"{arm.lr:g}"] if several else [])]
        estimate, _, _ = _with_error(arm.estimate, arm.select_se).partition(" ±")
        cells += [_with_error(arm.select, arm.select_se), estimate, _with_error(arm.test, arm.test_se)]
        cells += _spectrum_cells((*arm.share, arm.rest), arm.mean_order, arm.total, len(orders))
        rows.append([*cells, number_text(arm.best_epoch), _flags(arm)])
    mark = result.advised_arm
    marked = frozenset(i for i, arm in enumerate(result.arms) if mark is not None and arm.rates == mark.rates)
    return _with_remarks(columns, rows, marked)


def references_table(result: StudyResult) -> Table:
    """List the reference models.

    Args:
        result: the study.

    Returns:
        One row a model.
    """
    told = result.references[0]["select"][0]
    names = [result.metric, *(name for name in MORE.get(result.task, ()) if name != result.metric and name in told)]
    columns = ["model", *(f"selection {LABELS[name]}" for name in names), *(f"test {LABELS[name]}" for name in names)]
    rows = [
        [row["label"], *(_over_seeds(s.get(name) for s in row[part]) for part in ("select", "test") for name in names)]
        for row in result.references
    ]
    return Table(columns, rows)


def refit_table(result: StudyResult) -> Table | None:
    """Describe the model that was trained once more and kept.

    Args:
        result: the study.

    Returns:
        One row; None where nothing was kept.
    """
    kept = result.refit
    if not kept:
        return None
    columns = ["rows trained on", "learning rate", "best epoch", *(f"test {LABELS[name]}" for name in kept["test"])]
    cells = [f"{kept['rows']:,}", f"{kept['lr']:g}", f"{kept['best_epoch']}", *map(number_text, kept["test"].values())]
    return Table(columns, [cells])


def targets_table(result: StudyResult) -> Table | None:
    """List the scores of each of several targets: of the networks that matter, and of the reference models.

    Args:
        result: the study.

    Returns:
        One row a model, two columns a target; None for a single target.
    """
    if len(result.targets) < 2:
        return None
    label = LABELS[result.metric]
    columns = ["model", *(f"{name}: {part} {label}" for name in result.targets for part in ("selection", "test"))]
    rows = []
    for name, arm in shown_arms(result):
        told = [trial["by_target"] for trial in trials_of(result, arm)]
        rows.append([name, *_by_target(result, {part: [one[part] for one in told] for part in ("select", "test")})])
    rows += [[row["label"], *_by_target(result, row["by_target"])] for row in result.references]
    return Table(columns, rows)


def _by_target(result: StudyResult, scores: dict[str, list[dict[str, Any]]]) -> list[str]:
    return [
        _over_seeds(seed[name][result.metric] for seed in scores[part])
        for name in result.targets
        for part in ("select", "test")
    ]


def trials_table(result: StudyResult) -> Table:
    """List every trial.

    Args:
        result: the study.

    Returns:
        One row a trial.
    """
    orders, label = orders_of(result), LABELS[result.metric]
    columns = ["input p", "hidden p", "learning rate", "seed", "best epoch", "epochs", "stop loss"]
    columns += [f"selection {label}", f"test {label}"]
    columns += [*orders, *(["mean order", "variance"] if orders else []), "seconds", "remark"]
    return _with_remarks(columns, [_trial_row(trial, result.metric, len(orders)) for trial in result.trials])


def _with_remarks(columns: list[str], rows: list[list[str]], marked: frozenset[int] = frozenset()) -> Table:
    """Keep the last column, the remarks, only where there are some."""
    if any(row[-1] for row in rows):
        return Table(columns, rows, marked)
    return Table(columns[:-1], [row[:-1] for row in rows], marked)


def _trial_row(trial: dict[str, Any], metric: str, orders: int) -> list[str]:
    cells = [f"{trial['p_input']:g}", rate_text(rate_of(trial["p_hidden"]))]
    cells += [f"{trial[name]:g}" for name in ("lr", "seed", "best_epoch", "epochs")]
    cells += [number_text(value) for value in (trial["stop"], trial["select"][metric], trial["test"][metric])]
    spectrum = trial["spectrum"] or {"share": (), "rest": None, "mean_order": None, "total": None}
    cells += _spectrum_cells((*spectrum["share"], spectrum["rest"]), spectrum["mean_order"], spectrum["total"], orders)
    flags = [name for name in ("extended", "diverged") if trial[name]]
    flags += ["left early"] if trial.get("left_at") is not None else []
    return [*cells, number_text(trial["seconds"], 3), ", ".join(flags)]


def _spectrum_cells(
    shares: Sequence[float | None], mean_order: float | None, total: float | None, orders: int
) -> list[str]:
    """Shares, mean order and variance; dashes where this network or arm was not measured, nothing where none was."""
    if not orders:
        return []
    shown = shares[:orders] if len(shares) >= orders else [None] * orders
    return [*(_fixed(share, 3) for share in shown), _fixed(mean_order, 2), number_text(total, 3)]


def _fixed(value: float | None, decimals: int) -> str:
    return f"{number(value):.{decimals}f}" if math.isfinite(number(value)) else "–"


def _with_error(mean: float, error: float) -> str:
    """Both with the same decimals, so that a column can be read down."""
    size = max(abs(mean), error) if math.isfinite(error) else 0.0
    if not 0 < size < math.inf:
        return number_text(mean)
    decimals = max(0, 3 - math.floor(math.log10(size)))
    return f"{mean:.{decimals}f} ± {error:.{decimals}f}"


def _over_seeds(values: Iterable[float | None]) -> str:
    kept = np.array([number(value) for value in values])
    error = float(kept.std(ddof=1) / len(kept) ** 0.5) if len(kept) > 1 else math.nan
    return _with_error(float(kept.mean()), error)


def _flags(arm: Arm) -> str:
    flags = ["diverged"] * arm.diverged + ["not converged"] * (not arm.converged) + ["left early"] * arm.left
    return ", ".join(flags)
