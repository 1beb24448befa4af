"""Squared finite differences between random rows: all variance that runs through given blocks, without cancellation.

Let X and X' be independent rows. Toggling disjoint sets of blocks `s_1 ... s_k` from X to X' in all 2^k ways gives the
k-th difference `D = sum over v of (-1)^|v| f(X toggled in v)`, and `E[D^2] / 2^k` is the variance of all terms of the
functional ANOVA that hold a block of every set. One block: its total index (Jansen). Two blocks: their superset
importance. All blocks as one set: the variance of f. Terms that are absent cancel in every single difference.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from dropscope.spectrum.cube import CALL_BYTES, CALL_ROWS, Evaluate
from dropscope.spectrum.mixtures import Design, draw_mixtures
from dropscope.spectrum.ratios import Ratios, RatioSums, rounding

__all__ = ["Corners", "Difference", "measure_differences"]

Blocks = frozenset[int]
# Blocks already toggled at the start, and the disjoint sets of blocks whose toggling is compared.
Difference = tuple[Blocks, tuple[Blocks, ...]]


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
) -> tuple[Ratios, int]:
    """Measure differences on fresh pairs of rows; of each pair, only sums are kept.

    Args:
        evaluate: maps rows to outputs of shape (1, rows, outputs).
        design: table and blocks.
        corners: mixtures to evaluate, and what to make of them.
        budget: most rows to evaluate, at least two draws of the corners.
        generator: source of the draws.

    Returns:
        Ratios of the quantities to the first, which is the variance, and the number of rows evaluated.
    """
    draws = budget // len(corners)
    row_bytes = design.table.shape[1] * design.table.element_size()
    per_call = max(1, min(CALL_ROWS, CALL_BYTES // row_bytes) // len(corners))
    sums: RatioSums | None = None

    for start in range(0, draws, per_call):
        rows = draw_mixtures(design, corners.toggled, min(per_call, draws - start), generator)
        outputs = evaluate(rows.flatten(0, 1))[0]
        sums = sums or RatioSums(corners.quantities, rounding(outputs.dtype))

        values = outputs.double().view(*rows.shape[:2], -1)
        sums.add(corners.squares(values).cpu().numpy(), float(values[0].square().sum()))

    if sums is None:
        raise ValueError(f"`budget` must pay for {len(corners)} rows or more, got {budget}.")
    return sums.ratios(), draws * len(corners)
