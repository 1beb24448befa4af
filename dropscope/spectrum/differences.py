"""Squared finite differences between random rows: all variance that runs through given blocks, without cancellation.

Let X and X' be independent rows. Toggling disjoint sets of blocks `s_1 ... s_k` from X to X' in all 2^k ways gives the
k-th difference `D = sum over v of (-1)^|v| f(X toggled in v)`, and `E[D^2] / 2^k` is the variance of all terms of the
functional ANOVA that hold a block of every set. One block: its total index (Jansen). Two blocks: their superset
importance. All blocks as one set: the variance of f. Terms that are absent cancel in every single difference.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student
from torch import Tensor

from dropscope.spectrum.cube import CALL_BYTES, CALL_ROWS, Evaluate
from dropscope.spectrum.mixtures import Design

__all__ = ["Corners", "Difference", "Measured", "measure_differences"]

Array = NDArray[np.float64]

Blocks = frozenset[int]
# Blocks already toggled at the start, and the disjoint sets of blocks whose toggling is compared.
Difference = tuple[Blocks, tuple[Blocks, ...]]

# Mean squares below this part of the outputs' own mean square are rounding of float32.
ROUNDING = 1e-13
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Measured:
    """What differences say: shares of the variance of f with 95 % intervals.

    Attributes:
        share: `E[D^2] / 2^k / Var f` of each quantity.
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
    """The mixtures that some differences need, each of them once.

    Args:
        quantities: what to measure: the normalised squares of a few differences each, averaged; the variance is first.
        blocks: number of blocks.

    Attributes:
        toggled: which blocks each corner takes from the other row, of shape (corners, blocks).
        quantities: number of quantities.
    """

    def __init__(self, quantities: Sequence[Sequence[Difference]], blocks: int) -> None:
        number: dict[Blocks, int] = {}
        by_size: defaultdict[int, list[tuple[int, list[int]]]] = defaultdict(list)

        for row, differences in enumerate(quantities):
            for start, sets in differences:
                corners = [number.setdefault(start ^ union, len(number)) for union in _unions(sets)]
                by_size[len(sets)].append((row, corners))

        self.toggled = torch.tensor([[block in corner for block in range(blocks)] for corner in number])
        self.quantities = len(quantities)
        self._count = torch.tensor([len(differences) for differences in quantities])
        self._by_size = {
            size: (torch.tensor([row for row, _ in found]), torch.tensor([corners for _, corners in found]))
            for size, found in by_size.items()
        }

    def __len__(self) -> int:
        return len(self.toggled)

    def squares(self, values: Tensor) -> Tensor:
        """The quantities in every draw.

        Args:
            values: outputs on the corners, of shape (corners, draws, outputs).

        Returns:
            Averages of `D^2 / 2^k` of shape (quantities, draws), summed over outputs.
        """
        squares = values.new_zeros(self.quantities, values.shape[1])

        for size, (rows, corners) in self._by_size.items():
            difference = torch.zeros_like(values[corners[:, 0]])
            for selection in range(2**size):
                difference.add_(values[corners[:, selection]], alpha=(-1) ** selection.bit_count())
            squares.index_add_(0, rows.to(values.device), difference.square_().sum(-1) / 2**size)

        return squares / self._count[:, None].to(values.device)


def _unions(sets: Sequence[Blocks]) -> list[Blocks]:
    """Union of every selection of the sets; set j is in selection s when bit j of s is."""
    unions: list[Blocks] = [frozenset()]
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
        corners: mixtures to evaluate, and what to make of them.
        budget: most rows to evaluate, at least two draws of the corners.
        generator: source of the draws.

    Returns:
        Shares of the quantities after the first, which is the variance.
    """
    draws = budget // len(corners)
    row_bytes = design.table.shape[1] * design.table.element_size()
    per_call = max(1, min(CALL_ROWS, CALL_BYTES // row_bytes) // len(corners))

    sums = {k: np.zeros((k + 1, corners.quantities)) for k in (1, 2, 4)}
    level = 0.0

    for start in range(0, draws, per_call):
        rows = _mix(design, corners.toggled, min(per_call, draws - start), generator)
        outputs = evaluate(rows.flatten(0, 1))[0].double()
        values = outputs.view(*rows.shape[:2], -1)

        squares = corners.squares(values).cpu()
        for k in sums:
            sums[k] += torch.stack([(squares**i * squares[0] ** (k - i)).sum(1) for i in range(k + 1)]).numpy()
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


def _summary(sums: dict[int, Array], level: float, draws: int, spent: int) -> Measured:
    """Shares and their intervals from sums over the draws of `a^i b^(k - i)`: a are the quantities, b the variance.

    The delta method sees every draw through its influence `a - ratio b`. Intervals are symmetric in the logarithm, with
    Student's t at the degrees of freedom that the influences' kurtosis leaves to their variance: products are
    heavy-tailed, and the plain count of draws covers too seldom.
    """
    variance, first = sums[1][0, 0], sums[1][1]
    if variance <= ROUNDING * level:
        nothing = np.zeros(len(first) - 1)
        return Measured(nothing, nothing, nothing, 0.0, spent)

    ratio = np.where(first > ROUNDING * level, first / variance, 0.0)
    second, fourth = _influence(sums[2], ratio), _influence(sums[4], ratio)

    kurtosis = np.divide(fourth * draws, second**2, out=np.full_like(ratio, 3.0), where=second > 0)
    freedom = np.clip(2 * draws / np.maximum(kurtosis - 1, 1e-9), 1, draws - 1)

    error = np.sqrt(second * draws / (draws - 1)) / variance
    relative = np.divide(error, ratio, out=np.zeros_like(ratio), where=ratio > 0)
    half = student.ppf((1 + LEVEL) / 2, freedom) * relative

    # No share is above one; an estimate that is keeps the width of its interval.
    share = np.minimum(ratio, 1.0)
    low, high = share * np.exp(-half), np.minimum(ratio * np.exp(half), 1.0)

    return Measured(share[1:], low[1:], high[1:], float(variance / draws), spent)


def _influence(sums: Array, ratio: Array) -> Array:
    """Sum over the draws of `(a - ratio b)^k`, k even, by its binomial expansion."""
    k = len(sums) - 1
    terms = [comb(k, i) * (-ratio) ** (k - i) * sums[i] for i in range(k + 1)]
    return np.maximum(np.sum(terms, axis=0), 0.0)
