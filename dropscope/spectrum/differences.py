"""Squared finite differences between random rows: all variance that runs through given blocks, without cancellation.

Let X and X' be independent rows. Toggling disjoint sets of blocks `s_1 ... s_k` from X to X' in all 2^k ways gives the
k-th difference `D = sum over v of (-1)^|v| f(X toggled in v)`, and `E[D^2] / 2^k` is the variance of all terms of the
functional ANOVA that hold a block of every set. One block: its total index (Jansen). Two blocks: their superset
importance. All blocks as one set: the variance of f. Terms that are absent cancel in every single difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from torch import Tensor

from dropscope.spectrum.cube import CALL_BYTES, CALL_ROWS, Evaluate
from dropscope.spectrum.mixtures import Design

__all__ = ["Corners", "Difference", "Measured", "measure_differences"]

Array = NDArray[np.float64]

# The disjoint sets of blocks that are toggled.
Difference = tuple[frozenset[int], ...]

# Mean squares below this part of the outputs' own mean square are rounding of float32.
ROUNDING = 1e-13
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Measured:
    """What some differences say: shares of the variance of f with 95 % intervals.

    Attributes:
        share: `E[D^2] / 2^k / Var f` of each difference.
        low: lower ends.
        high: upper ends.
        variance: variance of f.
        spent: rows evaluated.
    """

    share: Array
    low: Array
    high: Array
    variance: float
    spent: int


class Corners:
    """The mixtures that a list of differences needs, each of them once.

    Args:
        differences: what to measure.
        blocks: number of blocks.

    Attributes:
        toggled: which blocks each corner takes from the other row, of shape (corners, blocks).
    """

    def __init__(self, differences: Sequence[Difference], blocks: int) -> None:
        everything = frozenset(range(blocks))
        self.differences = [(everything,), *differences]

        number: dict[frozenset[int], int] = {}
        by_size: dict[int, list[tuple[int, list[int]]]] = {}
        for row, sets in enumerate(self.differences):
            corners = [number.setdefault(corner, len(number)) for corner in _toggles(sets)]
            by_size.setdefault(len(sets), []).append((row, corners))

        self.toggled = torch.tensor([[block in corner for block in range(blocks)] for corner in number])
        self._by_size = {
            size: (torch.tensor([row for row, _ in found]), torch.tensor([corners for _, corners in found]))
            for size, found in by_size.items()
        }

    def __len__(self) -> int:
        return len(self.toggled)

    def squares(self, values: Tensor) -> Tensor:
        """Normalised squares of all differences; the first is the variance.

        Args:
            values: outputs on the corners, of shape (corners, draws, outputs).

        Returns:
            `D^2 / 2^k` of shape (1 + differences, draws), summed over outputs.
        """
        squares = values.new_empty(len(self.differences), values.shape[1])

        for size, (rows, corners) in self._by_size.items():
            difference = torch.zeros_like(values[corners[:, 0]])
            for toggles in range(2**size):
                difference.add_(values[corners[:, toggles]], alpha=(-1) ** toggles.bit_count())
            squares[rows] = difference.square_().sum(-1) / 2**size

        return squares


def _toggles(sets: Difference) -> list[frozenset[int]]:
    """Union of every selection of the sets; set j is in selection s when bit j of s is."""
    unions = [frozenset[int]()]
    for blocks in sets:
        unions += [union | blocks for union in unions]
    return unions


def measure_differences(
    evaluate: Evaluate,
    design: Design,
    corners: Corners,
    budget: int,
    generator: torch.Generator | None,
) -> Measured:
    """Measure differences on fresh pairs of rows; of each pair, only sums are kept.

    Args:
        evaluate: maps rows to outputs of shape (1, rows, outputs).
        design: table and blocks.
        corners: mixtures to evaluate, for the differences to measure.
        budget: most rows to evaluate, at least two draws of the corners.
        generator: source of the draws.

    Returns:
        Shares in the order of the differences.
    """
    draws = budget // len(corners)
    row_bytes = design.table.shape[1] * design.table.element_size()
    per_call = max(1, min(CALL_ROWS, CALL_BYTES // row_bytes) // len(corners))

    # Sums over the draws of a, a^2 and a b, where a are the squares and b is the one for the variance.
    sums = np.zeros((3, len(corners.differences)))
    level = 0.0

    for start in range(0, draws, per_call):
        rows = _mix(design, corners.toggled, min(per_call, draws - start), generator)
        outputs = evaluate(rows.flatten(0, 1))[0].double()
        values = outputs.view(*rows.shape[:2], -1)

        squares = corners.squares(values).cpu()
        sums += torch.stack([squares.sum(1), squares.square().sum(1), (squares * squares[0]).sum(1)]).numpy()
        level += float(values[0].square().sum())

    return _summary(sums, level, draws, draws * len(corners))


def _mix(design: Design, toggled: Tensor, draws: int, generator: torch.Generator | None) -> Tensor:
    """Draw pairs of rows, block by block, and mix them: rows of shape (corners, draws, columns)."""
    table, device = design.table, design.table.device
    source = generator.device if generator is not None else torch.device("cpu")

    shape = (2, draws, len(design.blocks))
    chosen = torch.randint(len(table), shape, generator=generator, device=source).to(device)
    one, other = (table.gather(0, rows[:, design.owner]) for rows in chosen)

    return torch.where(toggled[:, None, design.owner].to(device), other, one)


def _summary(sums: Array, level: float, draws: int, spent: int) -> Measured:
    """Ratios to the variance, with intervals that are symmetric in the logarithm (delta method, Student's t)."""
    variance = sums[0, 0]
    if variance <= ROUNDING * level:
        nothing = np.zeros(sums.shape[1] - 1)
        return Measured(nothing, nothing, nothing, 0.0, spent)

    first, second, cross = sums
    ratio = np.where(first > ROUNDING * level, first / variance, 0.0)
    influence = np.maximum(second - 2 * ratio * cross + ratio**2 * second[0], 0.0)
    error = np.sqrt(influence * draws / (draws - 1)) / variance

    half = student.ppf((1 + LEVEL) / 2, draws - 1) * np.divide(error, ratio, out=np.zeros_like(ratio), where=ratio > 0)
    low, high = ratio * np.exp(-half), np.minimum(ratio * np.exp(half), 1.0)

    return Measured(np.minimum(ratio, 1.0)[1:], np.minimum(low, 1.0)[1:], high[1:], variance / draws, spent)
