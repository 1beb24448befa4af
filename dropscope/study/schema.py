"""What each column of a table is: target, number, category, time, text, or nothing a network may see."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import numpy as np

from dropscope.errors import BadTable, closest, need
from dropscope.study.conversion import level_name
from dropscope.study.options import Options
from dropscope.study.roles import sort_columns
from dropscope.study.target_roles import understand_target
from dropscope.study.targets import Target
from dropscope.study.times import Clock, holds_times
from dropscope.study.words import Words

__all__ = ["MAX_ONE_HOT", "NOTHING_LEFT", "Schema", "understand", "with_levels"]

MIN_ROWS = 50
MAX_ONE_HOT = 512
FEWEST_LEVELS = 2  # that any category keeps
SHOWN = 5  # names in a note
NOTHING_LEFT = "no column is left for the networks to see: drop fewer columns."
MISSING, OTHER = "(missing)", "(other)"
UNLEARNED = Words(np.zeros(0), np.zeros((0, 0)))


@dataclass(frozen=True, eq=False)
class Schema:
    """The roles of the columns: enough to turn any later table into what the networks were trained on.

    `levels` holds the levels of every category, `by_target` names those that are encoded by the target of their levels
    and not one-hot.
    """

    target: Target
    numeric: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]
    times: Mapping[str, Clock] = field(default_factory=dict)
    texts: Mapping[str, Words] = field(default_factory=dict)
    by_target: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """Regression or classification."""
        return self.target.task

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


def understand(frame: Any, targets: tuple[str, ...], options: Options) -> tuple[Schema, list[str]]:
    """Decide the role of every column, and refuse what cannot be studied.

    Args:
        frame: a polars DataFrame.
        targets: the names of the target columns.
        options: the study's options.

    Returns:
        The schema, and one sentence for each decision that the user did not take.

    Raises:
        BadTable: the table or its target cannot be studied; the message says what to change.
    """
    notes: list[str] = []
    for name in (*options.drop, *options.categorical, *_aside(options)):
        if name not in frame.columns:
            raise BadTable(f"`{name}` must be a column of the table: {closest(name, frame.columns)}")
        if name in targets:
            raise BadTable(f"`{name}` is the target: it cannot be dropped, be a category, or cut or weigh the rows.")
    if frame.height < MIN_ROWS:
        raise BadTable(f"a study needs at least {MIN_ROWS} rows, got {frame.height}.")
    target = understand_target(frame, targets, options, notes)
    cutters = {*_aside(options)}
    if options.time_column and holds_times(frame[options.time_column]):
        cutters.remove(options.time_column)  # it cuts the rows, and still says what hour and weekday it was
    aside = {*targets, *options.drop, *cutters}
    names = [name for name in frame.columns if name not in aside]
    roles = sort_columns(frame, names, options.categorical, notes)
    schema = Schema(
        target, tuple(roles.numeric), dict.fromkeys(roles.categorical, ()),
        dict.fromkeys(roles.times, Clock()), dict.fromkeys(roles.texts, UNLEARNED),
    )  # fmt: skip
    if not schema.features:
        raise BadTable(NOTHING_LEFT)
    return schema, notes


def _aside(options: Options) -> list[str]:
    """Columns that cut or weigh the rows."""
    columns = (options.split_column, options.group_column, options.time_column, options.weight_column)
    return [name for name in columns if name]


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
        if encoded:
            notes.append(_said_of({name: len(ranked[name]) for name in encoded}))
        for name in encoded:
            ranked[name] = [level for level in ranked[name] if counted[name][level] > 1]
        single = [name for name in encoded if not ranked[name]]
        if single:
            notes.append(f"{', '.join(f'`{name}`' for name in single)} left out: no level has two rows to learn from.")
        levels = {name: tuple(levels) for name, levels in ranked.items() if levels}
        return replace(schema, levels=levels, by_target=tuple(name for name in encoded if name in levels))
    total = sum(map(len, ranked.values()))
    cap = max(map(len, ranked.values()), default=0)
    while cap > FEWEST_LEVELS and sum(min(len(levels), cap) for levels in ranked.values()) > MAX_ONE_HOT:
        cap -= 1
    kept = sum(min(len(levels), cap) for levels in ranked.values())
    if kept < total:
        notes.append(f"{total} one-hot columns were capped at {kept}: rare levels became `{OTHER}`.")
    return replace(
        schema,
        levels={
            name: tuple(levels) if len(levels) <= cap else (*levels[: cap - 1], OTHER)
            for name, levels in ranked.items()
        },
    )


def _said_of(levels: dict[str, int]) -> str:
    """Say of some categories, by their numbers of levels, that their targets encode them."""
    shown = ", ".join(f"`{name}`" for name in list(levels)[:SHOWN])
    more = f" and {len(levels) - SHOWN} more" if len(levels) > SHOWN else ""
    have = f"has {next(iter(levels.values()))}" if len(levels) == 1 else f"have {sum(levels.values())}"
    return (
        f"{shown}{more} {have} levels, too many for one-hot columns: networks see how far the target of each lies from "
        "the mean on other rows to fit."
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
    return [MISSING if value is None or value != value else level_name(value) for value in column.to_list()]
