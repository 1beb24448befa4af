"""What each column of a table is: target, number, category, time, text, or nothing a network may see."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Literal

import numpy as np

from dropscope.errors import BadTable, closest, need
from dropscope.study.options import Options
from dropscope.study.roles import sort_columns
from dropscope.study.times import Clock, holds_times
from dropscope.study.words import Words

__all__ = ["MAX_ONE_HOT", "Schema", "understand", "with_levels"]

MIN_ROWS = 50
MAX_ONE_HOT = 512
Task = Literal["regression", "classification"]
MISSING, OTHER = "(missing)", "(other)"
UNLEARNED = Words(np.zeros(0), np.zeros((0, 0)))


@dataclass(frozen=True, eq=False)
class Schema:
    """The roles of the columns: enough to turn any later table into what the networks were trained on.

    `levels` holds the levels of every category, `by_target` names those that are encoded by the target of their levels
    and not one-hot.
    """

    target: str
    task: Task
    classes: tuple[str, ...]
    numeric: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]
    times: Mapping[str, Clock] = field(default_factory=dict)
    texts: Mapping[str, Words] = field(default_factory=dict)
    by_target: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the table columns that the networks see: numbers, categories, times, texts."""
        return (*self.numeric, *self.levels, *self.times, *self.texts)

    @property
    def spans(self) -> dict[str, slice]:
        """Which columns of `raw` each feature has: one, or those of its parts."""
        plain = dict.fromkeys((*self.numeric, *self.levels), 1)
        parts = {name: len(clock.parts) for name, clock in self.times.items()}
        words = {name: words.directions.shape[1] for name, words in self.texts.items()}
        widths = {**plain, **parts, **words}
        return {
            name: slice(end - width, end)
            for (name, width), end in zip(widths.items(), accumulate(widths.values()), strict=True)
        }

    def raw(self, frame: Any) -> np.ndarray:
        """Read the features as one float64 matrix, categories as the index of their level.

        Args:
            frame: a polars DataFrame with every feature.

        Returns:
            Shape (rows, columns), one column a feature but for the parts of times and texts; missing numbers are nan,
            unknown levels -1.

        Raises:
            BadTable: a feature is absent or not a number where it must be.
        """
        polars = need("polars", "study")
        absent = [name for name in self.features if name not in frame.columns]
        if absent:
            raise BadTable(f"the table lacks the column `{absent[0]}`: {closest(absent[0], frame.columns)}")
        try:
            columns = [_numbers(frame[name]) for name in self.numeric]
        except polars.exceptions.PolarsError as error:
            raise BadTable(f"a numeric column holds text: {str(error).splitlines()[0]}") from error
        for name, levels in self.levels.items():
            index = {level: code for code, level in enumerate(levels)}
            spare = index.get(OTHER, -1)
            columns.append(np.array([index.get(level, spare) for level in _as_text(frame[name])], float))
        columns += [clock.read(frame[name]) for name, clock in self.times.items()]
        columns += [words.read(frame[name]) for name, words in self.texts.items()]
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
    aside = {target, *options.drop, *_cutters(options)}
    if options.time_column and holds_times(frame[options.time_column]):
        aside.remove(options.time_column)  # it cuts the rows, and still says what hour and weekday it was
    names = [name for name in frame.columns if name not in aside]
    roles = sort_columns(frame, names, options.categorical, notes)
    categories = roles.categorical[: MAX_ONE_HOT // 2]
    if len(categories) < len(roles.categorical):
        notes.append(f"{len(roles.categorical)} categorical columns were capped at the first {len(categories)}.")
    schema = Schema(
        target, task, classes, tuple(roles.numeric), dict.fromkeys(categories, ()),
        dict.fromkeys(roles.times, Clock()), dict.fromkeys(roles.texts, UNLEARNED),
    )  # fmt: skip
    if not schema.features:
        raise BadTable("no column is left for the networks to see: drop fewer columns.")
    return schema, notes


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


def with_levels(schema: Schema, frame: Any, notes: list[str], *, by_target: bool = False) -> Schema:
    """Learn the levels of each category; all together get `MAX_ONE_HOT` one-hot columns at most.

    Where there are more, the most frequent levels are kept and the rest become one; or, `by_target`, the categories of
    most levels are encoded by the target of their levels, those of two rows or more.

    Args:
        schema: the roles of the columns.
        frame: the rows to learn from.
        notes: what is decided is appended here.
        by_target: whether targets may encode categories.

    Returns:
        The schema with its levels.
    """
    counted = {name: Counter(_as_text(frame[name])) for name in schema.levels}
    ranked = {name: _most_frequent_first(counts) for name, counts in counted.items()}
    if by_target:
        encoded = _too_many(ranked)
        for name in encoded:
            notes.append(
                f"`{name}` has {len(ranked[name])} levels, too many for one-hot columns: networks see how far the "
                "target of each lies from the mean on other rows to fit."
            )
            ranked[name] = [level for level in ranked[name] if counted[name][level] > 1]
        return replace(schema, levels={name: tuple(levels) for name, levels in ranked.items()}, by_target=encoded)
    total = sum(map(len, ranked.values()))
    cap = max(map(len, ranked.values()), default=0)
    while sum(min(len(levels), cap) for levels in ranked.values()) > MAX_ONE_HOT:
        cap -= 1
    if total > MAX_ONE_HOT:
        notes.append(f"{total} one-hot columns were capped at {MAX_ONE_HOT}: rare levels became `{OTHER}`.")
    return replace(
        schema,
        levels={
            name: tuple(levels) if len(levels) <= cap else (*levels[: cap - 1], OTHER)
            for name, levels in ranked.items()
        },
    )


def _most_frequent_first(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda level: (-counts[level], level))


def _too_many(ranked: dict[str, list[str]]) -> tuple[str, ...]:
    """The categories of most levels, so many that all others fit into `MAX_ONE_HOT` columns."""
    left = sorted(ranked, key=lambda name: len(ranked[name]))
    while sum(len(ranked[name]) for name in left) > MAX_ONE_HOT:
        left.pop()
    return tuple(name for name in ranked if name not in left)


def _numbers(column: Any) -> np.ndarray:
    polars = need("polars", "study")
    if column.dtype == polars.Duration:
        return column.dt.total_microseconds().cast(polars.Float64).to_numpy() / 1e6
    return column.cast(polars.Float64).to_numpy()


def _as_text(column: Any) -> list[str]:
    return [MISSING if value is None else str(value) for value in column.to_list()]
