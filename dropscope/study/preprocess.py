"""From table columns to network inputs: impute, standardise, one-hot; one group of inputs for each table column."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from dropscope.errors import need
from dropscope.study.level_effects import as_targets, cross_fitted, level_effects
from dropscope.study.schema import Schema
from dropscope.study.targets import Target
from dropscope.study.times import TREND, Clock
from dropscope.study.words import Words

__all__ = ["Encoder", "correlated_blocks"]

CORRELATED = 0.9
RARE = 10  # rows
BLOCK = 65_536  # rows
NUMBERS = ("median", "mean", "scale")


@dataclass(frozen=True, eq=False)
class Encoder:
    """A fitted preprocessing: numbers only, so that it can be kept as JSON beside a model.

    Numeric column j becomes `(x_j - mean_j) / scale_j` with missing values at the median, or 0 where it was constant
    when fitted (scale 0), and one more 0/1 column where values were missing when fitted. A category becomes its one-hot
    columns, as they are: dropping all of them says "unknown", as does a level never seen; or the effects of its levels
    on the target, in standard deviations. Times become a standardised trend, and sine and cosine of each cycle; texts
    the standardised numbers of their words.

    `trends` holds the median, mean and scale of each time's trend, `words` the means and scales of each text, and
    `effects` one row a level.
    """

    schema: Schema
    medians: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    missing: np.ndarray
    trends: Mapping[str, np.ndarray] = field(default_factory=dict)
    words: Mapping[str, np.ndarray] = field(default_factory=dict)
    effects: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def fit(cls, schema: Schema, raw: np.ndarray, missing: np.ndarray, y: np.ndarray | None = None) -> "Encoder":
        """Learn medians, means and scales, and the effects of levels where targets encode them.

        Args:
            schema: the roles of the columns.
            raw: shape (rows, columns), from `Schema.raw`: the rows to learn from.
            missing: shape (numeric columns,), true where the table has missing values: these get an indicator.
            y: shape (rows,) or (rows, targets), values or class indices; needed if targets encode categories.

        Returns:
            The fitted encoder.
        """
        medians, means, scales = _statistics(raw[:, : len(schema.numeric)])
        spans = schema.spans
        trends = {name: _trend(clock, raw[:, spans[name]]) for name, clock in schema.times.items()}
        words = {name: np.stack(_statistics(raw[:, spans[name]])[1:]) for name in schema.texts}
        effects = {}
        for name, codes, targets in _to_code(schema, raw, y):
            levels = len(schema.levels[name])
            spread = cross_fitted(codes, targets, levels).std(0)
            effects[name] = level_effects(codes, targets, levels) * _factors(spread)
        return cls(schema, medians, means, scales, missing, trends, words, effects)

    def transform(self, raw: np.ndarray) -> np.ndarray:
        """Encode rows.

        Args:
            raw: shape (rows, columns), from `Schema.raw`.

        Returns:
            Shape (rows, encoded columns), float32.
        """
        encoded = np.empty((len(raw), len(self.columns)), np.float32)
        for start in range(0, len(raw), BLOCK):
            encoded[start : start + BLOCK] = self._encode(raw[start : start + BLOCK])
        return encoded

    def transform_fitted(self, raw: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Encode the very rows that were fitted: the effect of a level comes from other rows than the one encoded.

        Args:
            raw: shape (rows, columns), as given to `fit`.
            y: targets, as given to `fit`.

        Returns:
            Shape (rows, encoded columns), float32.
        """
        encoded = self.transform(raw)
        features, columns = self.schema.features, np.array(self.columns)
        for name, codes, targets in _to_code(self.schema, raw, y):
            effects = cross_fitted(codes, targets, len(self.schema.levels[name]))
            encoded[:, columns == features.index(name)] = effects * _factors(effects.std(0))
        return encoded

    def _encode(self, raw: np.ndarray) -> np.ndarray:
        schema, spans = self.schema, self.schema.spans
        numeric = raw[:, : len(self.means)]
        absent = np.isnan(numeric)
        standard = (np.where(absent, self.medians, numeric) - self.means) * _factors(self.scales)
        parts = [standard, absent[:, self.missing]]
        for name, levels in schema.levels.items():
            if name not in schema.by_target:
                parts.append(raw[:, spans[name]] == np.arange(len(levels)))
        for name, (median, mean, scale) in self.trends.items():
            parts.append(schema.times[name].encode(raw[:, spans[name]], median, mean, float(_factors(scale))))
        for name, (means, scales) in self.words.items():
            parts.append((raw[:, spans[name]] - means) * _factors(scales))
        for name, effects in self.effects.items():
            unknown = np.zeros_like(effects[:1])  # the last row, which is that of code -1
            parts.append(np.concatenate([effects, unknown])[raw[:, spans[name]][:, 0].astype(int)])
        return np.concatenate(parts, axis=1, dtype=np.float32, casting="unsafe")

    @property
    def columns(self) -> tuple[int, ...]:
        """For each encoded column, the index of the table column it comes from."""
        schema = self.schema
        indicators = [name for name, indicator in zip(schema.numeric, self.missing, strict=True) if indicator]
        widths = [
            *((name, 1) for name in (*schema.numeric, *indicators)),
            *((name, len(levels)) for name, levels in schema.levels.items() if name not in schema.by_target),
            *((name, clock.width) for name, clock in schema.times.items()),
            *((name, scales.shape[1]) for name, scales in self.words.items()),
            *((name, effects.shape[1]) for name, effects in self.effects.items()),
        ]
        index = {name: j for j, name in enumerate(schema.features)}
        return tuple(index[name] for name, width in widths for _ in range(width))

    def to_dict(self) -> dict[str, Any]:
        """Write the encoder as plain lists.

        Returns:
            What `from_dict` reads.
        """
        schema = self.schema
        kept: dict[str, Any] = {
            **schema.target.to_dict(),
            "numeric": [
                {"name": name, "median": median, "mean": mean, "scale": scale, "indicator": bool(indicator)}
                for name, median, mean, scale, indicator in zip(
                    schema.numeric, self.medians.tolist(), self.means.tolist(), self.scales.tolist(), self.missing,
                    strict=True,
                )
            ],
            "levels": {name: list(levels) for name, levels in schema.levels.items()},
        }  # fmt: skip
        # What a table has none of is left out: its stores were written before there was any.
        if schema.times:
            kept["times"] = {
                name: {"clock": asdict(clock), "trend": self.trends[name].tolist()}
                for name, clock in schema.times.items()
            }
        if schema.texts:
            kept["texts"] = {
                name: {
                    "weights": words.weights.tolist(),
                    "directions": words.directions.tolist(),
                    "scales": self.words[name].tolist(),
                }
                for name, words in schema.texts.items()
            }
        if schema.by_target:
            kept["by_target"] = {name: effects.tolist() for name, effects in self.effects.items()}
        return kept

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> "Encoder":
        """Read an encoder that `to_dict` wrote.

        Args:
            kept: the dictionary.

        Returns:
            An encoder that transforms as the kept one did.
        """
        numeric, times, texts = kept["numeric"], kept.get("times", {}), kept.get("texts", {})
        effects = {name: np.array(table, float) for name, table in kept.get("by_target", {}).items()}
        schema = Schema(
            Target.from_dict(kept),
            tuple(column["name"] for column in numeric),
            {name: tuple(values) for name, values in kept["levels"].items()},
            {name: Clock(**{**one["clock"], "parts": tuple(one["clock"]["parts"])}) for name, one in times.items()},
            {name: Words(np.array(one["weights"]), np.array(one["directions"])) for name, one in texts.items()},
            tuple(effects),
        )
        medians, means, scales = (np.array([column[key] for column in numeric], float) for key in NUMBERS)
        missing = np.array([column["indicator"] for column in numeric], bool)
        trends = {name: np.array(one["trend"], float) for name, one in times.items()}
        words = {name: np.array(one["scales"], float) for name, one in texts.items()}
        return cls(schema, medians, means, scales, missing, trends, words, effects)


def _statistics(numeric: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Medians of what is known, then means and scales with the rest at the median; a constant column has scale 0."""
    if not numeric.shape[1]:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    known = [column[~np.isnan(column)] for column in numeric.T]
    medians = np.array([np.median(values) if len(values) else 0.0 for values in known])
    filled = np.where(np.isnan(numeric), medians, numeric)
    scaler = need("sklearn.preprocessing", "study").StandardScaler().fit(filled)
    return medians, scaler.mean_, np.where(scaler.var_ > 0, scaler.scale_, 0.0)


def _trend(clock: Clock, raw: np.ndarray) -> np.ndarray:
    if TREND not in clock.parts:
        return np.zeros(3)
    return np.concatenate(_statistics(raw[:, :1]))


def _factors(scales: np.ndarray) -> np.ndarray:
    """1 / scale; and 0 where a column was constant when fitted, which says nothing."""
    return np.divide(1.0, scales, out=np.zeros_like(scales), where=scales > 0)


def _to_code(schema: Schema, raw: np.ndarray, y: np.ndarray | None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, level of each row and targets of the categories that are encoded by target."""
    if not schema.by_target:
        return
    if y is None:
        raise ValueError("`y` must be given, got None: categories of this schema are encoded by target.")
    targets = as_targets(y, len(schema.target.classes))
    for name in schema.by_target:
        yield name, raw[:, schema.spans[name]][:, 0].astype(int), targets


def correlated_blocks(x: np.ndarray, columns: tuple[int, ...]) -> list[list[int]]:
    """Join table columns whose encoded columns correlate by more than .9 into blocks of the spectrum.

    Args:
        x: shape (rows, encoded columns).
        columns: for each encoded column, the index of its table column.

    Returns:
        Blocks of table-column indices: a partition, each block sorted.

    Example:
        >>> x = np.array([[0, 0.1, 1], [1, 0.9, 0], [2, 2.1, 1], [3, 2.9, 0.0]])
        >>> correlated_blocks(x, (0, 1, 2))
        [[0, 1], [2]]
    """
    # A level that stands in a few rows correlates with any other rare one by chance.
    varies = (x != np.median(x, axis=0)).sum(0) >= max(1, min(RARE, len(x) // 4))
    columns_that_vary = np.array(columns)[varies]
    strong = np.abs(np.corrcoef(x[:, varies].T.astype(float))) > CORRELATED
    linked = np.zeros((max(columns) + 1,) * 2, bool)
    rows, others = np.nonzero(np.atleast_2d(strong))
    linked[columns_that_vary[rows], columns_that_vary[others]] = True
    count, label = need("scipy.sparse.csgraph", "study").connected_components(linked, directed=False)
    return sorted([np.flatnonzero(label == block).tolist() for block in range(count)])
