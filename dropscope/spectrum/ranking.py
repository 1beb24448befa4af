"""Finding the terms behind the orders: survey all blocks, screen their pairs, then measure the strongest afresh."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, islice
from math import ceil, isqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dropscope.spectrum.arguments import Blocks, check_choice, whole_number
from dropscope.spectrum.calling import evaluation, examine
from dropscope.spectrum.cube import FEWEST_CUBES, PROBE, Evaluate, probe
from dropscope.spectrum.dependence import warn_of_dependence
from dropscope.spectrum.differences import Corners, Difference, measure_differences
from dropscope.spectrum.mixtures import Design
from dropscope.spectrum.ratios import Ratios
from dropscope.spectrum.reading import TableLike
from dropscope.spectrum.terms import Ranking, Terms

__all__ = ["rank_terms"]

Members = tuple[int, ...]
NOTHING: frozenset[int] = frozenset()

# Part of the budget for the survey of all blocks; parts of what is left for screening and for the last measurement.
SURVEY = 1 / 4
PAIRS, TRIPLES, LAST = 1 / 3, 1 / 6, 1 / 2
# Triples screened for each one that is measured.
CANDIDATES = 8
# Corners that a triple adds at most: itself, its blocks and its pairs.
TRIPLE_CORNERS = 7


def rank_terms(
    f: Any,
    inputs: TableLike,
    *,
    top: int = 10,
    budget: int = 1_000_000,
    inputs_law: str = "product",
    blocks: Blocks | None = None,
    feature_names: Sequence[str] | None = None,
    target: int | None = None,
    generator: torch.Generator | None = None,
) -> Terms:
    """Blocks, pairs and triples ranked by the variance that runs through them, with 95 % intervals.

    The share of a set u of blocks counts all terms of the functional ANOVA that hold u: `sum over v >= u of Var f_v /
    Var f`. For one block it is the total index, `E[(f(X) - f(X^i))^2] / 2`, where `X^i` has block i from another random
    row; for a pair `E[(f(X) - f(X^i) - f(X^j) + f(X^ij))^2] / 4`; and so on. These are squares: an absent term gives
    exactly zero. A survey finds which blocks share variance with others at all, their pairs are screened, and the
    strongest pairs and triples are measured on fresh rows, so that the intervals need no correction for the choice.

    Args:
        f: as in `interaction_spectrum`.
        inputs: as in `interaction_spectrum`.
        top: most pairs, and most triples, to measure.
        budget: most rows to evaluate.
        inputs_law: "product", the product of the blocks' laws in the table.
        blocks: as in `interaction_spectrum`.
        feature_names: name of each column; by default those of a DataFrame, or x0, x1, ...
        target: as in `interaction_spectrum`.
        generator: source of all draws.

    Returns:
        The ranked terms. Each interval holds for its own term, not for all of them together.

    Raises:
        ValueError: an argument is invalid, the budget is too small, or f is constant, random, or not finite.
        TypeError: an argument is of the wrong kind.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> inputs = torch.rand(1000, 4, generator=generator) - 0.5
        >>> f = lambda x: x[:, 0] * x[:, 1] + 0.1 * x[:, 2]
        >>> rank_terms(f, inputs, budget=20_000, generator=generator).pairs.members
        ((0, 1),)

    Reference:
        Liu and Owen, "Estimating mean dimensionality of analysis of variance decompositions", 2006; Jansen, "Analysis
        of variance designs for model output", 1999; Hooker, "Discovering additive structure in black box functions",
        2004.
    """
    check_choice("inputs_law", inputs_law, ("product",))
    top, budget = whole_number("top", top, least=1), whole_number("budget", budget)
    subject = examine(f, inputs, blocks, target=target, generator=generator)
    design = subject.design
    names = _names(design, subject.table.names if feature_names is None else feature_names)
    warn_of_dependence(subject.table, design)

    with evaluation(f):
        search = _Search(subject.evaluate, design, top, budget, generator)

        survey = search.survey()
        strongest, skipped = search.pairs(survey)
        triples = search.triples(strongest)
        pairs = strongest[:top]

        measured = search.measure([*pairs, *triples], search.left) if pairs else survey

    single = [(block,) for block in range(len(design.blocks))]
    interacting = Ranking.of(single, survey, len(single))
    ranked = Ranking.of(pairs, measured, within=[interacting])
    return Terms(
        totals=Ranking.of(single, survey),
        interacting=interacting,
        pairs=ranked,
        triples=Ranking.of(triples, measured, len(pairs), within=[interacting, ranked]),
        skipped=skipped,
        variance=survey.variance,
        budget=budget - search.left,
        inputs_law=inputs_law,
        blocks=design.blocks,
        names=names,
    )


class _Search:
    """Narrows all sets of blocks down to the strongest ones; every step draws its own rows."""

    def __init__(
        self, evaluate: Evaluate, design: Design, top: int, budget: int, generator: torch.Generator | None
    ) -> None:
        blocks = len(design.blocks)
        self.evaluate, self.design, self.top, self.generator = evaluate, design, top, generator
        self.all = frozenset(range(blocks))

        # The last step holds two corners for the variance, three for a pair and seven for a triple, or all there are.
        self.first = FEWEST_CUBES * (2 * blocks + 2)
        last = FEWEST_CUBES * min(2 + (3 + TRIPLE_CORNERS) * top, 2**blocks)
        least = 2 * min(PROBE, len(design.table)) + self.first + ceil(last / LAST)

        if budget < least:
            raise ValueError(f"`budget` must be at least {least} for {blocks} blocks and `top={top}`, got {budget}.")
        self.left = budget - probe(evaluate, design.table[:PROBE])

    def measure(self, sets: Sequence[Members], budget: float) -> Ratios:
        """Measure every set of blocks within part of the budget."""
        return self._spend(
            [[(NOTHING, (self.all,))], *([(NOTHING, tuple(frozenset((i,)) for i in members))] for members in sets)],
            budget,
        )

    def survey(self) -> Ratios:
        """Total index of every block, then the part of it that the block shares with the rest.

        Each block is toggled alone and all others without it: every total is seen from both ends of a pair of rows, and
        every such pair of mixtures is a pair of independent rows, which tells of the variance.
        """
        single = [frozenset((block,)) for block in sorted(self.all)]
        measured = self._spend(
            [
                [(start, (self.all,)) for start in (NOTHING, *single)],
                *([(NOTHING, (block,)), (self.all - block, (block,))] for block in single),
                *([(NOTHING, (block, self.all - block))] for block in single),
            ],
            max(SURVEY * self.left, self.first),
        )
        self.rest = self.left

        if measured.variance == 0:
            raise ValueError("`f` must vary with its inputs, but it gave the same output for every mixture of rows.")
        return _nested(measured, len(single))

    def pairs(self, survey: Ratios) -> tuple[list[Members], float]:
        """Pairs of blocks that interact, strongest first, and a bound for those left out: a block's own interactions.

        The screening step affords the pairs of so many blocks; those that interact most take part.
        """
        blocks = len(self.all)
        interacting, high = survey.share[blocks:], survey.high[blocks:]
        ranked = [block for block in np.argsort(-interacting, kind="stable").tolist() if interacting[block] > 0]

        # m blocks and their pairs are m (m + 1) / 2 corners, beside two for the variance; `top` pairs are not screened.
        corners = max(int(PAIRS * self.rest / FEWEST_CUBES) - 2, 0)
        kept = max(isqrt(8 * corners + 1) - 1, isqrt(8 * self.top + 1) + 1) // 2
        skipped = high[ranked[kept:]].max(initial=0.0)

        return self._screen(list(combinations(sorted(ranked[:kept]), 2)), PAIRS), float(skipped)

    def triples(self, pairs: Sequence[Members]) -> list[Members]:
        """The strongest triples, among those whose three pairs are strong."""
        affordable = int(TRIPLES * self.rest / FEWEST_CUBES) // TRIPLE_CORNERS
        candidates = list(islice(_triangles(pairs), max(self.top, min(CANDIDATES * self.top, affordable))))
        return self._screen(candidates, TRIPLES)[: self.top]

    def _screen(self, sets: list[Members], part: float) -> list[Members]:
        """Sets that are not empty, strongest first; few enough to be measured all, they are left as they are."""
        if len(sets) <= self.top:
            return sets

        share = self.measure(sets, part * self.rest).share
        return [sets[i] for i in np.argsort(-share, kind="stable") if share[i] > 0]

    def _spend(self, quantities: Sequence[Sequence[Difference]], budget: float) -> Ratios:
        corners = Corners(quantities, len(self.all))
        measured, spent = measure_differences(self.evaluate, self.design, corners, int(budget), self.generator)
        self.left -= spent
        return measured


def _nested(measured: Ratios, blocks: int) -> Ratios:
    """The survey with every part at most its whole: of two noisy estimates of nested quantities the lower counts."""

    def capped(side: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.append(side[:blocks], side.reshape(2, blocks).min(0))

    return replace(measured, share=capped(measured.share), low=capped(measured.low), high=capped(measured.high))


def _triangles(pairs: Sequence[Members]) -> Iterator[Members]:
    """Triples in falling order of their weakest pair: pairs join strongest first, and each closes its triangles.

    A triple's share is at most that of its weakest pair.
    """
    partners: defaultdict[int, set[int]] = defaultdict(set)

    for one, other in pairs:
        yield from (tuple(sorted((one, other, third))) for third in sorted(partners[one] & partners[other]))
        partners[one].add(other)
        partners[other].add(one)


def _names(design: Design, feature_names: Sequence[str]) -> tuple[str, ...]:
    """Name of each block: those of its columns."""
    columns = design.table.shape[1]
    names = [*map(str, feature_names)]
    if len(names) != columns:
        raise ValueError(f"`feature_names` must name all {columns} columns, got {len(names)} names.")

    return tuple(" + ".join(names[column] for column in block) for block in design.blocks)
