"""Blocks that never interact may share a group: a few groups then show every order directly, and nothing is inverted.

Sparse models and shallow trees have few interactions. With blocks as nodes and interactions as edges, the blocks of one
colour of a proper colouring are additive given all others: an interaction of k blocks holds k colours. A colouring
found on a few rows is a guess, and every cube that uses it tests it.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscope.spectrum.cube import FEWEST_CUBES, Evaluate, Measured, measure, outputs_on
from dropscope.spectrum.mixtures import GROUPS, Design, draw_mixtures

__all__ = ["measure_separated"]

# Pairs of rows on which every block, and every pair of blocks, is seen to do nothing before it is taken to do nothing.
PAIRS = 16
# Part of the budget that each of the two steps of the search may cost.
SEARCH = 0.1
# Differences below this part of the outputs' spread hold less than 1e-8 of the variance.
NEGLIGIBLE = 1e-4
# Looks at what the cubes say of the groups, and the fewest cubes between two of them.
LOOKS = 16
CUBES_BETWEEN = 64


def measure_separated(
    evaluate: Evaluate, design: Design, budget: int, generator: torch.Generator | None
) -> tuple[Design, Measured | None, int]:
    """Look for groups of blocks that are additive given all other blocks, and measure cubes of them.

    Blocks whose toggling changes nothing are inactive; pairs of active blocks whose mixed difference is always zero do
    not interact. Where two to six colours are enough for what interacts, the colours are the groups. Every cube then
    halves a group at random: what the halves do together must be the sum of what they do alone. A single cube that
    says otherwise ends the measurement, and what is left of the budget is for cubes of random groups.

    Args:
        evaluate: maps rows to outputs of shape (1, rows, outputs).
        design: table and blocks, with random groups.
        budget: rows left to evaluate.
        generator: source of the draws.

    Returns:
        The design with its partition, its cubes, and the number of rows evaluated. Where there is no such partition,
        the design as it was and None; the rows left then pay for 50 cubes of random groups.
    """
    # What measuring anew with random groups costs at least.
    reserve = FEWEST_CUBES * design.rows
    search = _Search(evaluate, design, budget - reserve, generator)
    partition = search.partition()
    if partition is None:
        return design, None, search.spent

    found = replace(design, partition=tuple(partition.tolist()))
    tested = (budget - search.spent - reserve) // found.rows
    step = max(CUBES_BETWEEN, tested // LOOKS)
    parts: list[Measured] = []

    for start in range(0, tested, step):
        count = min(step, tested - start)
        part = measure(evaluate, found, count, generator)
        search.spent += count * found.rows
        if part.checks is None or bool((part.checks > search.negligible).any()):
            return design, None, search.spent
        parts.append(part)

    # Nothing could be done any more about what the reserve says of the groups.
    count = (budget - search.spent) // found.rows
    parts.append(measure(evaluate, found, count, generator))
    groups = torch.cat([part.groups for part in parts], dim=1)
    return found, Measured(groups, None, parts[0].rounding), search.spent + count * found.rows


class _Search:
    """Differences on a few pairs of rows, and what they cost.

    Attributes:
        spent: rows evaluated.
        negligible: variance too small to speak of.
    """

    def __init__(self, evaluate: Evaluate, design: Design, budget: int, generator: torch.Generator | None) -> None:
        self.evaluate, self.design, self.budget, self.generator = evaluate, design, budget, generator
        self.blocks = len(design.blocks)
        self.spent = 0
        self.negligible = 0.0

    def partition(self) -> NDArray[np.int64] | None:
        """Group of each block; None where two to six groups do not do, or the search costs too much."""
        single = torch.eye(self.blocks, dtype=torch.bool)
        if PAIRS * (1 + self.blocks) > SEARCH * self.budget:
            return None

        active = self._seen(self._changes(single, PAIRS))
        if not active.any():
            return None

        interacting = self._interacting(single[active])
        if interacting is None or not interacting.any():
            return None

        groups = np.full(self.blocks, -1)
        groups[active.nonzero()[:, 0]] = _colouring(interacting)
        # Inactive blocks go where there is room.
        for block in np.flatnonzero(groups < 0):
            groups[block] = np.bincount(groups[groups >= 0]).argmin()
        return groups

    def _interacting(self, single: Tensor) -> NDArray[np.bool_] | None:
        """Which pairs of active blocks have a mixed difference, as a matrix; None if too many have one."""
        count = len(single)
        interacting = np.zeros((count, count), dtype=bool)
        one, other = np.triu_indices(count, 1)

        toggled = torch.cat([single, single[one] | single[other]])
        if PAIRS * (1 + len(toggled)) > SEARCH * self.budget:
            return None

        for _ in range(PAIRS):
            changes = self._changes(toggled, 1)
            seen = self._seen(changes[count:] - changes[one] - changes[other]).numpy()
            interacting[one[seen], other[seen]] = interacting[other[seen], one[seen]] = True

            # Most networks show after one pair of rows that everything interacts.
            if _colouring(interacting).max(initial=0) >= GROUPS:
                return None
        return interacting

    def _changes(self, toggled: Tensor, pairs: int) -> Tensor:
        """What each toggling changes in the outputs, of shape (togglings, pairs, outputs)."""
        nothing = torch.zeros(1, self.blocks, dtype=torch.bool)
        rows = draw_mixtures(self.design, torch.cat([nothing, toggled]), pairs, self.generator)
        self.spent += rows.shape[0] * pairs

        values = outputs_on(self.evaluate, rows)[0].double().cpu()
        if self.negligible == 0:
            self.negligible = NEGLIGIBLE**2 * float(values.flatten(0, 1).var(0).sum())
        return values[1:] - values[0]

    def _seen(self, differences: Tensor) -> Tensor:
        """Whether a difference of shape (differences, pairs, outputs) is more than negligible in any pair of rows."""
        return (differences.square().sum(-1) > self.negligible).any(1)


def _colouring(interacting: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A proper colouring with few colours: the block next to most colours takes the first one free (DSATUR)."""
    colours = np.full(len(interacting), -1)

    for _ in range(len(interacting)):
        near = [set(colours[row & (colours >= 0)]) for row in interacting]
        waiting = np.flatnonzero(colours < 0)
        block = max(waiting, key=lambda b: (len(near[b]), interacting[b].sum()))
        colours[block] = next(colour for colour in range(len(colours)) if colour not in near[block])
    return colours
