"""Dependence between blocks of columns, which the product law of inputs breaks up."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from dropscope.spectrum.arguments import advise
from dropscope.spectrum.mixtures import Design
from dropscope.spectrum.tables import Table

__all__ = ["strongest_correlation", "warn_of_dependence"]

Array = NDArray[np.float64]

# Rows and columns that are looked at: the correlations of 784 columns then take a fifth of a second.
ROWS = 1_000
COLUMNS = 2_000
# Most frequent levels of a category that are looked at, each as a column of its own.
LEVELS = 8

STRONG = 0.3
# Correlations that chance alone may show among a million pairs of independent columns, in standard errors.
CHANCE = 6
# Entries in which a column must differ from its median: rarer ones coincide by chance.
FEWEST = 20


def warn_of_dependence(table: Table, design: Design) -> None:
    """Warn where columns of different blocks depend strongly on each other: their product law is not the data's.

    Args:
        table: the table.
        design: its rows and blocks.
    """
    # Random numbers of its own: whether one looks must not change what is measured.
    choice = np.random.default_rng(0)
    rows = np.sort(choice.permutation(len(table.rows))[:ROWS])
    columns = np.sort(choice.permutation(len(table.names))[:COLUMNS])

    numbers = table.numbers(table.rows[torch.from_numpy(rows).to(table.rows.device)])
    values, source = _spread_levels(numbers, columns, table.coded)
    correlation, one, other = strongest_correlation(values, design.owner.numpy()[source])

    if abs(correlation) > STRONG:
        names = " and ".join(f"`{table.names[source[column]]}`" for column in (one, other))
        advise(
            f"{names} have rank correlation {correlation:.2f} but belong to different blocks: the answer speaks of "
            "the product law of inputs, under which blocks are independent. Join columns that belong together "
            '(`blocks=`), or ask for the law of the data, which only regression can measure (`inputs_law="joint"`).'
        )


def strongest_correlation(values: Array, owner: NDArray[np.int64]) -> tuple[float, int, int]:
    """The largest rank correlation between columns of different blocks.

    Ranks, as neither the product law nor the orders change when a column is mapped monotonically.

    Args:
        values: shape (rows, columns), nan where missing.
        owner: block of each column.

    Returns:
        The correlation and its two columns; 0 where chance would show as much.
    """
    present = ~np.isnan(values)
    # Missing entries are ranked last and then put at the mean.
    ranks = np.where(present, rankdata(np.where(present, values, np.inf), axis=0), 0.0)
    ranks = np.where(present, ranks - ranks.sum(0) / np.maximum(present.sum(0), 1), 0.0)

    differ = (present & (ranks != np.median(ranks, axis=0))).sum(0)
    norm = np.linalg.norm(ranks, axis=0)
    seen = (differ >= min(FEWEST, len(values) // 4)) & (norm > 0)

    unit = (ranks / np.where(seen, norm, np.inf)).astype(np.float32)
    correlation = np.where(owner[:, None] == owner, 0, unit.T @ unit)
    one, other = divmod(int(np.abs(correlation).argmax()), len(owner))
    strongest = float(correlation[one, other])
    return (strongest if abs(strongest) > CHANCE / len(values) ** 0.5 else 0.0), one, other


def _spread_levels(
    numbers: Array, columns: NDArray[np.int64], coded: tuple[int, ...]
) -> tuple[Array, NDArray[np.int64]]:
    """The columns, each category as 0/1 columns of its frequent levels, and the column that each comes from."""
    spread: list[Array] = []
    source: list[int] = []

    for column in columns.tolist():
        values = numbers[:, column]
        parts = [values]
        if column in coded:
            levels, counts = np.unique(values[~np.isnan(values)], return_counts=True)
            frequent = levels[np.argsort(-counts, kind="stable")[:LEVELS]]
            parts = [(values == level).astype(float) for level in frequent]

        spread += parts
        source += [column] * len(parts)

    return np.stack(spread, axis=1), np.array(source)
