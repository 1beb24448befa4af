"""A table made ready for its study: checked, cut and encoded, once for all trials."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from dropscope.errors import BadTable, need
from dropscope.study.leak import find_leak
from dropscope.study.metrics import Scorer
from dropscope.study.options import METRICS, Options
from dropscope.study.preprocess import Encoder, correlated_blocks
from dropscope.study.schema import NOTHING_LEFT, Schema, understand, with_levels
from dropscope.study.splits import MOST_ROWS, Cut, Cutter
from dropscope.study.targets import Target
from dropscope.study.times import ISO, holds_times, learn_clock, parse_columns
from dropscope.study.trial import digest
from dropscope.study.weights import class_weights, read_weights, rows_that_count
from dropscope.study.words import learn_words

__all__ = ["Problem", "SeedData", "pose"]


@dataclass(frozen=True, eq=False)
class SeedData:
    """The table as the trials of one seed see it: scaled by the statistics of that seed's fit rows.

    `x` has shape (rows, encoded columns), float32; `y` holds standardised targets or labels (rows, targets), or class
    indices (rows,); a prediction in target units is `output * scale + mean`, with one number each or one a target.
    `weights` are what the rows count, None for all alike.
    """

    x: np.ndarray
    y: np.ndarray
    mean: Any
    scale: Any
    cut: Cut
    encoder: Encoder
    weights: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Problem:
    """A checked table: features as one matrix, targets, the cutter of its rows, and what was noticed on the way.

    `weights` are the sample weights of the rows, None for all alike; `balanced` has all classes count the same as well.
    """

    schema: Schema
    raw: np.ndarray
    y: np.ndarray
    cutter: Cutter
    metric: str
    notes: list[str] = field(default_factory=list)
    weights: np.ndarray | None = None
    balanced: bool = False

    @property
    def target(self) -> Target:
        """What is predicted."""
        return self.schema.target

    @cached_property
    def scorer(self) -> Scorer:
        """What scores outputs."""
        rest = self.cutter.rest
        _, units = self.target.scaling(self.y[rest], None if self.weights is None else self.weights[rest])
        return Scorer(self.target, self.y, np.atleast_1d(units))

    @cached_property
    def missing(self) -> np.ndarray:
        """Which numeric columns have missing values outside the test rows: these get an indicator."""
        return np.isnan(self.raw[:, : len(self.schema.numeric)])[self.cutter.rest].any(0)

    @cached_property
    def reference(self) -> Encoder:
        """The encoder of all rows that are not test rows: it decides the blocks of the spectrum."""
        rest = self.cutter.rest
        return Encoder.fit(self.schema, self.raw[rest], self.missing, self.y[rest])

    @cached_property
    def blocks(self) -> list[list[int]]:
        """Blocks of table columns, as the spectrum resamples them."""
        return correlated_blocks(self.reference.transform(self.raw[self.cutter.rest]), self.reference.columns)

    @cached_property
    def seen(self) -> str:
        """Digest of what may decide a trial: everything but the test rows."""
        return self._digest(self.cutter.rest)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the whole table: a store belongs to one."""
        return self._digest(np.arange(len(self.y)))

    def _digest(self, rows: np.ndarray) -> str:
        sha = hashlib.sha256(digest(self.reference.to_dict()).encode())
        cutter = self.cutter
        cuts = [cutter.units[rows], rows, *([] if cutter.given is None else [cutter.given[rows]])]
        cuts += [cutter.test] if cutter.samples else []
        cuts += [] if self.weights is None else [self.weights[rows]]
        for array in (self.raw[rows], self.y[rows], *cuts):
            sha.update(np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()

    def block_names(self) -> list[list[str]]:
        """Name the table columns of each block.

        Returns:
            One list of names a block.
        """
        return [[self.schema.features[j] for j in block] for block in self.blocks]

    def encoded_blocks(self) -> list[list[int]]:
        """List the encoded columns of each block.

        Returns:
            A partition of the encoded columns.
        """
        columns = np.array(self.reference.columns)
        return [np.flatnonzero(np.isin(columns, block)).tolist() for block in self.blocks]

    def seed_data(self, seed: int) -> SeedData:
        """Cut and encode the table for one trial seed; scales come from its fit rows alone.

        Args:
            seed: the trial's seed.

        Returns:
            The data of every trial with that seed.
        """
        return self.encoded(self.cutter.cut(seed))

    def encoded(self, cut: Cut) -> SeedData:
        """Encode the table with the statistics of one cut's fit rows.

        Args:
            cut: the cut.

        Returns:
            The data.
        """
        encoder = Encoder.fit(self.schema, self.raw[cut.fit], self.missing, self.y[cut.fit])
        x = encoder.transform(self.raw)
        if self.schema.by_target:
            x[cut.fit] = encoder.transform_fitted(self.raw[cut.fit], self.y[cut.fit])
        weights = self.weights
        if self.balanced:
            by_class = class_weights(self.y, weights, cut.fit)
            weights = by_class if weights is None else weights * by_class
        mean, scale = self.target.scaling(self.y[cut.fit], None if weights is None else weights[cut.fit])
        return SeedData(x, self.target.learned(self.y, mean, scale), mean, scale, cut, encoder, weights)


def pose(frame: Any, target: str | tuple[str, ...], options: Options) -> Problem:
    """Check a table and make it ready.

    Args:
        frame: a polars DataFrame.
        target: the name of its target column, or several.
        options: the study's options.

    Returns:
        The problem.

    Raises:
        BadTable: the table cannot be studied as it is.
    """
    targets = (target,) if isinstance(target, str) else target
    said: list[str] = []
    frame = rows_that_count(frame, options.weight_column, said)
    cutters = (options.group_column, options.split_column, options.weight_column)
    aside = {*targets, *options.drop, *options.categorical, *cutters} - {options.time_column}
    frame, forms = parse_columns(frame, [name for name in frame.columns if name not in aside], said)
    schema, notes = understand(frame, targets, options)
    notes += said
    metrics = METRICS["quantile" if options.quantile is not None else schema.task]
    metric = options.metric or metrics[0]
    if metric not in metrics:
        raise BadTable(f"`metric` must be one of {', '.join(metrics)} for {schema.task}, got {metric}.")
    y = schema.target.read(frame)
    weights = read_weights(frame, options.weight_column)
    keys = {name: _codes(frame, getattr(options, f"{name}_column"), name) for name in ("group", "time", "split")}
    cutter = Cutter(
        frame.height, options, classes=y if schema.target.classes else None,
        groups=keys["group"], times=keys["time"], given=keys["split"],
    )  # fmt: skip
    if cutter.samples:
        notes.append(f"of more than {MOST_ROWS:,} stop, selection or test rows so many were drawn; others go unused.")
    schema = _learn(schema, frame, cutter, forms, notes)
    schema, raw = _with_values(schema, schema.raw(frame), cutter.rest, notes)
    if not options.allow_leak:
        _refuse_leak(schema, raw, y, cutter.rest)
    if all(key is None for key in keys.values()):
        notes += _order_notes(frame, schema, raw, y)
    return Problem(schema, raw, y, cutter, metric, notes, weights, options.class_weight is not None)


def _learn(schema: Schema, frame: Any, cutter: Cutter, forms: dict[str, str], notes: list[str]) -> Schema:
    """Learn levels, the parts of times and the words of texts from all rows that are not test rows."""
    rest = {name: frame[name][cutter.rest] for name in (*schema.levels, *schema.times, *schema.texts)}
    schema = with_levels(schema, rest, notes, by_target=True)
    learned = {name: learn_clock(rest[name], forms.get(name, ISO), trend=not cutter.in_time) for name in schema.times}
    for name, clock in learned.items():
        notes.append(f"`{name}` holds dates or times: networks see of it {', '.join(clock.parts) or 'nothing'}.")
    if learned and cutter.in_time:
        notes.append(
            "rows are cut by time, so no date is a trend: the later rows would lie beyond all that was fitted."
        )
    times = {name: clock for name, clock in learned.items() if clock.parts}
    schema = replace(schema, times=times, texts={name: learn_words(rest[name]) for name in schema.texts})
    if not schema.features:
        raise BadTable(NOTHING_LEFT)
    return schema


def _with_values(schema: Schema, raw: np.ndarray, rows: np.ndarray, notes: list[str]) -> tuple[Schema, np.ndarray]:
    """Leave out numbers that no row to learn from knows: their indicator would be the same in all of them."""
    unknown = [j for j in range(len(schema.numeric)) if np.isnan(raw[rows, j]).all()]
    if not unknown:
        return schema, raw
    names = [schema.numeric[j] for j in unknown]
    notes.append(f"{', '.join(f'`{name}`' for name in names)} left out: no value outside the test rows.")
    schema = replace(schema, numeric=tuple(name for name in schema.numeric if name not in names))
    if not schema.features:
        raise BadTable(NOTHING_LEFT)
    return schema, np.delete(raw, unknown, axis=1)


def _codes(frame: Any, name: str | None, use: str) -> np.ndarray | None:
    if name is None:
        return None
    column = frame[name].fill_nan(None) if frame[name].dtype.is_float() else frame[name]
    if column.null_count():
        raise BadTable(f"`{name}` cuts the rows and must have a value in every row, got {column.null_count()} missing.")
    if column.dtype.is_temporal():
        column = column.to_physical()
    elif use == "time" and not column.dtype.is_numeric():
        raise BadTable(f"`{name}` must hold numbers or dates such as 2011-07-31 to cut by time, got {column[0]!r}.")
    if not column.dtype.is_numeric():
        return np.asarray(column.cast(str).to_list())
    try:
        codes = column.to_numpy()
    except need("polars", "study").exceptions.PolarsError:  # integers of more than 64 bits
        codes = np.empty(0, object)
    # Decimals become objects, whose bytes are addresses: their ranks cut alike.
    return np.asarray(column.rank("dense").to_numpy() if codes.dtype == object else codes)


def _refuse_leak(schema: Schema, raw: np.ndarray, y: np.ndarray, rows: np.ndarray) -> None:
    rows = rows[:: -(-len(rows) // MOST_ROWS)]
    numeric = raw[rows, : len(schema.numeric)]
    for name, values in zip(schema.target.names, y[rows].reshape(len(rows), -1).T, strict=True):
        leak = find_leak(numeric, list(schema.numeric), values.astype(float)) if schema.numeric else None
        if leak:
            target = f"the target `{name}`" if schema.target.several else "the target"
            columns = ", ".join(f"`{name}`" for name in leak)
            raise BadTable(
                f"{target} can be computed from {columns} (R² > .9999): leave out what is not known when predicting "
                f"(`--drop {leak[0]}`), or pass `--allow-leak`."
            )


def _order_notes(frame: Any, schema: Schema, raw: np.ndarray, y: np.ndarray) -> list[str]:
    """Warn where neighbouring rows look alike: a random cut would then test on near copies."""
    advice = "rows are cut at random all the same: `--time-column` or `--group-column` keeps neighbours together."
    dates = [name for name in frame.columns if holds_times(frame[name])]
    if dates:
        return [f"`{dates[0]}` holds dates; {advice}"]
    for j, name in enumerate(schema.numeric):
        steps = np.diff(raw[:, j])
        is_sorted = (steps >= 0).all() or (steps <= 0).all()
        if is_sorted and len(np.unique(raw[:, j])) > len(raw) / 10:
            return [f"rows are sorted by `{name}`; {advice}"]
    centred = y - y.mean(0)
    echo = float(((centred[1:] * centred[:-1]).mean(0) / np.square(centred).mean(0)).max())
    if echo > max(0.3, 5 / len(y) ** 0.5):
        return [f"neighbouring rows have alike targets (correlation {echo:.2f}: sorted or a time series); {advice}"]
    return []
