"""Decide what the target columns of a table hold: numbers, classes or labels; and refuse what cannot be learned."""

from typing import Any, cast

import numpy as np

from dropscope.errors import BadTable
from dropscope.study.options import Options
from dropscope.study.targets import Target, Task, codes_of

__all__ = ["understand_target"]

MOST_CLASSES = 100
RARE = 0.05  # of the rows


def understand_target(frame: Any, names: tuple[str, ...], options: Options, notes: list[str]) -> Target:
    """Decide what the target columns hold, and refuse what cannot be learned.

    Args:
        frame: a polars DataFrame.
        names: its target columns.
        options: the study's options.
        notes: what is decided is appended here.

    Returns:
        The target.

    Raises:
        BadTable: a column cannot be a target; the message says what to change.
        ValueError: an option makes no sense for these targets.
    """
    for name in names:
        _check_values(frame[name])
    task = _task(frame, names, options, notes)
    if task == "regression":
        for name in names:
            _check_numbers(frame[name])
        target = Target(names, task, quantile=options.quantile)
    else:
        target = Target(names, task, tuple(_levels(frame[name], len(names)) for name in names))
    _check_options(target, options)
    notes += _said(target, options)
    if target.levels and options.class_weight is None:
        notes += _rare(frame, target)
    return target


def _check_values(column: Any) -> None:
    missing = column.null_count() + (column.is_nan().sum() if column.dtype.is_float() else 0)
    if missing:
        raise BadTable(
            f"`target` must have a value in every row, got {missing} missing in `{column.name}`: remove those rows."
        )
    if column.n_unique() < 2:
        raise BadTable(f"`target` must vary, got the same value in every row of `{column.name}`.")


def _task(frame: Any, names: tuple[str, ...], options: Options, notes: list[str]) -> Task:
    if options.task != "auto":
        return cast(Task, options.task)
    if len(names) == 1:
        column = frame[names[0]]
        distinct = column.n_unique()
        few = column.dtype.is_integer() and distinct <= 10
        task: Task = "regression" if column.dtype.is_numeric() and not few else "classification"
        notes.append(f"`{names[0]}` is read as a {task} target ({distinct} distinct values); `--task` changes it.")
        return task
    listed = ", ".join(f"`{name}`" for name in names)
    if all(frame[name].n_unique() == 2 for name in names):
        notes.append(f"{listed} are read as labels of two values each; `--task` changes it.")
        return "classification"
    for name in names:
        if not frame[name].dtype.is_numeric():
            raise BadTable(
                f"several targets must be numbers, or all of two values, got neither in `{name}`: leave it out."
            )
    notes.append(f"{listed} are read as regression targets; `--task` changes it.")
    return "regression"


def _check_numbers(column: Any) -> None:
    name = column.name
    if not column.dtype.is_numeric():
        raise BadTable(f"a regression target must be numbers, got {column.dtype} in `{name}`.")
    if column.dtype.is_float() and not column.is_finite().all():
        raise BadTable(f"`{name}` must be finite, got an infinite value: remove those rows.")


def _levels(column: Any, targets: int) -> tuple[str, ...]:
    values, counts = np.unique(np.array([str(value) for value in column.to_list()]), return_counts=True)
    if targets > 1 and len(values) != 2:
        raise BadTable(
            f"each of several class targets must have two values, got {len(values)} in `{column.name}`: study it alone."
        )
    if len(values) > MOST_CLASSES:
        raise BadTable(
            f"a classification target may have {MOST_CLASSES} classes, got {len(values)}: use `--task regression`?"
        )
    if counts.min() < 2:
        raise BadTable(f"every class needs two rows or more, got one row of `{values[counts.argmin()]}`: remove it.")
    return tuple(str(value) for value in values)


def _check_options(target: Target, options: Options) -> None:
    if options.quantile is not None and target.levels:
        raise ValueError("`quantile` needs a target of numbers, got classes: leave it out.")
    if options.label_smoothing and not target.levels:
        raise ValueError("`label_smoothing` needs labels: leave it out for regression.")
    if options.class_weight and not target.classes:
        held = "several labels" if target.levels else "numbers"
        raise ValueError(f"`class_weight` needs one target of classes, got {held}: leave it out.")


def _said(target: Target, options: Options) -> list[str]:
    notes = []
    if target.quantile is not None:
        notes.append(
            f"networks predict the {target.quantile:g} quantile and are scored by the pinball loss; coverage is the "
            "share of rows at or below what they predict."
        )
    if target.several and target.task == "regression":
        notes.append(
            f"errors of {len(target.names)} targets are scored in units of each one's standard deviation on the rows "
            "that are not test rows, and averaged."
        )
    if target.loss == "multilabel":
        notes.append(f"scores are means over {len(target.names)} labels.")
    if options.class_weight:
        notes.append("every class counts the same, in training and in all scores: its rows count n / (classes n_c).")
    return notes


def _rare(frame: Any, target: Target) -> list[str]:
    """Say where a class is so rare that the error rate hardly counts it."""
    notes = []
    for name, levels in zip(target.names, target.levels, strict=True):
        counts = np.bincount(codes_of(frame[name], levels))
        share = counts.min() / counts.sum()
        if share < min(RARE, 0.5 / len(levels)):
            more = "" if target.several else "; `--class-weight balanced` makes all classes count the same"
            notes.append(
                f"`{levels[counts.argmin()]}` is the rarest class of `{name}`, {100 * share:.2g} % of the rows: the "
                f"error rate hardly counts it, `--metric log_loss` (the default) and `balanced_error` do{more}."
            )
    return notes
