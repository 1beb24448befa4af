"""What each column of a table is: target, number, category, or nothing a network may see."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from dropscope.errors import BadTable, closest, need
from dropscope.study.options import Options

__all__ = ["MAX_ONE_HOT", "Schema", "understand", "with_levels"]

MIN_ROWS = 50
MAX_ONE_HOT = 512
Task = Literal["regression", "classification"]
MISSING, OTHER = "(missing)", "(other)"


@dataclass(frozen=True, eq=False)
class Schema:
    """The roles of the columns: enough to turn any later table into what the networks were trained on."""

    target: str
    task: Task
    classes: tuple[str, ...]
    numeric: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the table columns that the networks see, numbers first."""
        return (*self.numeric, *self.levels)

    def raw(self, frame: Any) -> np.ndarray:
        """Read the features as one float64 matrix, categories as the index of their level.

        Args:
            frame: a polars DataFrame with every feature.

        Returns:
            Shape (rows, features); missing numbers are nan, unknown levels -1.

        Raises:
            BadTable: a feature is absent or not a number where it must be.
        """
        polars = need("polars", "study")
        absent = [name for name in self.features if name not in frame.columns]
        if absent:
            raise BadTable(f"the table lacks the column `{absent[0]}`: {closest(absent[0], frame.columns)}")
        try:
            columns = [frame[name].cast(polars.Float64).to_numpy() for name in self.numeric]
        except polars.exceptions.PolarsError as error:
            raise BadTable(f"a numeric column holds text: {str(error).splitlines()[0]}") from error
        for name, levels in self.levels.items():
            index = {level: code for code, level in enumerate(levels)}
            spare = index.get(OTHER, -1)
            columns.append(np.array([index.get(level, spare) for level in _as_text(frame[name])], float))
        return np.column_stack(columns)

    def labels(self, frame: Any) -> np.ndarray:
        """Read the target: float64 values, or int64 class indices.

        Args:
            frame: a polars DataFrame with the target.

        Returns:
            Shape (rows,).
        """
        if self.task == "regression":
            return frame[self.target].cast(need("polars", "study").Float64).to_numpy()
        index = {label: code for code, label in enumerate(self.classes)}
        return np.array([index[label] for label in _as_text(frame[self.target])])


def understand(frame: Any, target: str, options: Options) -> tuple[Schema, list[str]]:
    """Decide the role of every column, and refuse what cannot be studied.

    Args:
        frame: a polars DataFrame.
        target: the name of the target column.
        options: the study's options.

    Returns:
        The schema, and one sentence for each decision that the user did not take.

    Raises:
        BadTable: the table or its target cannot be studied; the message says what to change.
    """
    notes: list[str] = []
    for name in (*options.drop, *options.categorical, *_cutters(options)):
        if name not in frame.columns:
            raise BadTable(f"`{name}` must be a column of the table: {closest(name, frame.columns)}")
        if name == target:
            raise BadTable(f"`{name}` is the target: it cannot be dropped, be a category or cut the rows.")
    if frame.height < MIN_ROWS:
        raise BadTable(f"a study needs at least {MIN_ROWS} rows, got {frame.height}.")
    task, classes = _target(frame, target, options, notes)
    names = [name for name in frame.columns if name not in {target, *options.drop, *_cutters(options)}]
    numeric, categorical = _kinds(frame, names, options, notes)
    if not numeric and not categorical:
        raise BadTable("no column is left for the networks to see: drop fewer columns.")
    if len(categorical) > MAX_ONE_HOT // 2:
        notes.append(f"{len(categorical)} categorical columns were capped at the first {MAX_ONE_HOT // 2}.")
    return Schema(target, task, classes, tuple(numeric), dict.fromkeys(categorical[: MAX_ONE_HOT // 2], ())), notes


def _cutters(options: Options) -> list[str]:
    return [name for name in (options.split_column, options.group_column, options.time_column) if name]


def _target(frame: Any, target: str, options: Options, notes: list[str]) -> tuple[Task, tuple[str, ...]]:
    column = frame[target]
    missing = column.null_count() + (column.is_nan().sum() if column.dtype.is_float() else 0)
    if missing:
        raise BadTable(
            f"`target` must have a value in every row, got {missing} missing in `{target}`: remove those rows."
        )
    distinct = column.n_unique()
    if distinct < 2:
        raise BadTable(f"`target` must vary, got the same value in every row of `{target}`.")
    few = column.dtype.is_integer() and distinct <= 10
    numeric = column.dtype.is_numeric() and not few
    task: Task = (
        "regression" if options.task == "regression" or (options.task == "auto" and numeric) else "classification"
    )
    if options.task == "auto":
        notes.append(f"`{target}` is read as a {task} target ({distinct} distinct values); `--task` changes it.")
    if task == "regression":
        if not column.dtype.is_numeric():
            raise BadTable(f"a regression target must be numbers, got {column.dtype} in `{target}`.")
        if column.dtype.is_float() and not column.is_finite().all():
            raise BadTable(f"`{target}` must be finite, got an infinite value: remove those rows.")
        return task, ()
    values, counts = np.unique(np.array(_as_text(column)), return_counts=True)
    if len(values) > 100:
        raise BadTable(f"a classification target may have 100 classes, got {len(values)}: use `--task regression`?")
    if counts.min() < 2:
        raise BadTable(f"every class needs two rows or more, got one row of `{values[counts.argmin()]}`: remove it.")
    return task, tuple(str(value) for value in values)


def _kinds(frame: Any, names: list[str], options: Options, notes: list[str]) -> tuple[list[str], list[str]]:
    numeric, categorical = [], []
    for name in names:
        column = frame[name]
        if column.null_count() == frame.height or (column.dtype.is_float() and column.is_nan().all()):
            raise BadTable(f"`{name}` has no value in any row: drop it (`--drop {name}`).")
        if column.dtype.is_float() and column.is_infinite().any():
            row = int(column.is_infinite().arg_max() or 0)
            raise BadTable(f"`{name}` must be finite, got {column[row]} in row {row + 1}: remove or replace it.")
        if column.n_unique() < 2:
            notes.append(f"`{name}` is constant and was dropped.")
        elif name in options.categorical or column.dtype == need("polars", "study").Boolean:
            categorical.append(name)
        elif column.dtype.is_numeric():
            numeric.append(name)
        elif column.dtype.is_temporal():
            notes.append(f"`{name}` holds dates and was dropped; `--time-column {name}` cuts the rows by it.")
        elif column.n_unique() > max(20, frame.height // 2):
            notes.append(f"`{name}` has {column.n_unique()} distinct texts, looks like an identifier and was dropped.")
        else:
            categorical.append(name)
    return numeric, categorical


def with_levels(schema: Schema, frame: Any, notes: list[str]) -> Schema:
    """Learn the levels of each category, the most frequent where all together pass `MAX_ONE_HOT`.

    Args:
        schema: the roles of the columns.
        frame: the rows to learn from.
        notes: what is decided is appended here.

    Returns:
        The schema with its levels.
    """
    counted = {}
    for name in schema.levels:
        values, counts = np.unique(np.array(_as_text(frame[name])), return_counts=True)
        counted[name] = [str(values[i]) for i in np.argsort(-counts, kind="stable")]
    total = sum(map(len, counted.values()))
    cap = max(map(len, counted.values()), default=0)
    while sum(min(len(levels), cap) for levels in counted.values()) > MAX_ONE_HOT:
        cap -= 1
    if total > MAX_ONE_HOT:
        notes.append(f"{total} one-hot columns were capped at {MAX_ONE_HOT}: rare levels became `{OTHER}`.")
    return replace(
        schema,
        levels={
            name: tuple(levels) if len(levels) <= cap else (*levels[: cap - 1], OTHER)
            for name, levels in counted.items()
        },
    )


def _as_text(column: Any) -> list[str]:
    return [MISSING if value is None else str(value) for value in column.to_list()]
