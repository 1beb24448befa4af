"""From table columns to network inputs: impute, standardise, one-hot; one group of inputs for each table column."""

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from dropscope.errors import need
from dropscope.study.schema import Schema

__all__ = ["Encoder", "correlated_blocks"]

CORRELATED = 0.9
RARE = 10  # rows
NUMBERS = ("median", "mean", "scale")


@dataclass(frozen=True, eq=False)
class Encoder:
    """A fitted preprocessing: numbers only, so that it can be kept as JSON beside a model.

    Numeric column j becomes `(x_j - mean_j) / scale_j` with missing values at the median, or 0 where it was constant
    when fitted (scale 0), and one more 0/1 column where values were missing when fitted. A category becomes its one-hot
    columns, as they are: dropping all of them says "unknown", as does a level never seen.
    """

    schema: Schema
    medians: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    missing: np.ndarray

    @classmethod
    def fit(cls, schema: Schema, raw: np.ndarray, missing: np.ndarray) -> "Encoder":
        """Learn medians, means and scales.

        Args:
            schema: the roles of the columns.
            raw: shape (rows, features), from `Schema.raw`: the rows to learn from.
            missing: shape (numeric columns,), true where the table has missing values: these get an indicator.

        Returns:
            The fitted encoder.
        """
        impute, preprocessing = need("sklearn.impute", "study"), need("sklearn.preprocessing", "study")
        numeric = raw[:, : len(schema.numeric)]
        if not schema.numeric:
            nothing = np.zeros(0)
            return cls(schema, nothing, nothing, nothing, missing)
        imputer = impute.SimpleImputer(strategy="median", keep_empty_features=True).fit(numeric)
        scaler = preprocessing.StandardScaler().fit(imputer.transform(numeric))
        # A column that is constant when fitted says nothing: scale 0 marks it, and it is encoded as 0.
        scales = np.where(scaler.var_ > 0, scaler.scale_, 0.0)
        return cls(schema, imputer.statistics_, scaler.mean_, scales, missing)

    def transform(self, raw: np.ndarray) -> np.ndarray:
        """Encode rows.

        Args:
            raw: shape (rows, features), from `Schema.raw`.

        Returns:
            Shape (rows, encoded columns), float32.
        """
        numeric = raw[:, : len(self.means)]
        absent = np.isnan(numeric)
        factors = np.divide(1.0, self.scales, out=np.zeros_like(self.scales), where=self.scales > 0)
        standard = (np.where(absent, self.medians, numeric) - self.means) * factors
        parts = [standard, absent[:, self.missing]]
        for j, levels in enumerate(self.schema.levels.values(), start=len(self.means)):
            parts.append(raw[:, j, None] == np.arange(len(levels)))
        return np.concatenate(parts, axis=1, dtype=np.float32, casting="unsafe")

    @property
    def columns(self) -> tuple[int, ...]:
        """For each encoded column, the index of the table column it comes from."""
        numbers = len(self.schema.numeric)
        coded = [[j] * len(levels) for j, levels in enumerate(self.schema.levels.values(), start=numbers)]
        return (*range(numbers), *map(int, np.flatnonzero(self.missing)), *chain.from_iterable(coded))

    def to_dict(self) -> dict[str, Any]:
        """Write the encoder as plain lists.

        Returns:
            What `from_dict` reads.
        """
        schema = self.schema
        return {
            "target": schema.target,
            "task": schema.task,
            "classes": list(schema.classes),
            "numeric": [
                {"name": name, "median": median, "mean": mean, "scale": scale, "indicator": bool(indicator)}
                for name, median, mean, scale, indicator in zip(
                    schema.numeric, self.medians.tolist(), self.means.tolist(), self.scales.tolist(), self.missing,
                    strict=True,
                )
            ],
            "levels": {name: list(levels) for name, levels in schema.levels.items()},
        }  # fmt: skip

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> "Encoder":
        """Read an encoder that `to_dict` wrote.

        Args:
            kept: the dictionary.

        Returns:
            An encoder that transforms as the kept one did.
        """
        numeric = kept["numeric"]
        levels = {name: tuple(values) for name, values in kept["levels"].items()}
        names = tuple(column["name"] for column in numeric)
        schema = Schema(kept["target"], kept["task"], tuple(kept["classes"]), names, levels)
        medians, means, scales = (np.array([column[key] for column in numeric], float) for key in NUMBERS)
        return cls(schema, medians, means, scales, np.array([column["indicator"] for column in numeric], bool))


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
