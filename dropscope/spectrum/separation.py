"""Blocks that never interact may share a group: a few groups then show every order directly, and nothing is inverted.

Sparse models, additive ones and shallow trees have few interactions. With blocks as nodes and interactions as edges,
the blocks of one colour of a proper colouring are additive given all others: k interacting blocks have k colours.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscope.spectrum.cube import FEWEST_CUBES, Evaluate, outputs_on
from dropscope.spectrum.mixtures import GROUPS, Design, draw_mixtures

__all__ = ["separate"]

# Pairs of rows on which every block, and every pair of blocks, is seen to do nothing before it is taken to do nothing.
PAIRS = 16
# Part of the budget that each step of the search may cost.
SEARCH = 0.1
# Part of the budget that goes into checking what was found; at least so many pairs of rows, for at most such a part.
CHECK = 0.03
FEWEST_CHECKS = 64
DEAREST = 0.25
# Differences below this part of the outputs' spread hold less than 1e-8 of the variance.
NEGLIGIBLE = 1e-4


def separate(evaluate: Evaluate, design: Design, budget: int, generator: torch.Generator | None) -> tuple[Design, int]:
    """Look for groups of blocks that are additive given all other blocks.

    Blocks whose toggling changes nothing are inactive; pairs of active blocks whose mixed difference is always zero do
    not interact. If six colours are enough for what interacts, the groups of the colouring are checked on fresh pairs
    of rows: toggling a group must change the output by the sum of what its blocks change alone.

    Args:
        evaluate: maps rows to outputs of shape (1, rows, outputs).
        design: table and blocks, with random groups.
        budget: rows left to evaluate.
        generator: source of the draws.

    Returns:
        The design with its partition, or as it was where none was found; and the number of rows evaluated.
    """
    search = _Search(evaluate, design, budget, generator)
    colours = search.colours()
    if colours is None:
        return design, search.spent

    partition = _spread(colours)
    if not search.holds(partition):
        return design, search.spent
    return replace(design, partition=tuple(partition.tolist())), search.spent


class _Search:
    """Evaluations of differences, and what they cost."""

    def __init__(self, evaluate: Evaluate, design: Design, budget: int, generator: torch.Generator | None) -> None:
        self.evaluate, self.design, self.budget, self.generator = evaluate, design, budget, generator
        self.blocks = len(design.blocks)
        self.spent = 0

    def colours(self) -> NDArray[np.int64] | None:
        """Colour of each block, -1 where it is inactive; None where six are not enough or the search costs too much."""
        single = torch.eye(self.blocks, dtype=torch.bool)
        left = (1 - 2 * SEARCH) * self.budget
        if PAIRS * (1 + self.blocks) > SEARCH * self.budget or left < FEWEST_CUBES * self.design.rows:
            return None

        changes, negligible = self._changes(single, PAIRS)
        active = (changes.abs() > negligible).flatten(1).any(1).numpy().nonzero()[0]
        if len(active) == 0:
            return None

        colours = np.full(self.blocks, -1)
        interacting = self._interacting(single[active])
        if interacting is None:
            return None
        colours[active] = _colouring(interacting)
        return colours if colours.max() < GROUPS else None

    def _interacting(self, single: Tensor) -> NDArray[np.bool_] | None:
        """Which pairs of active blocks have a mixed difference, as a matrix; None if too many have one."""
        count = len(single)
        interacting = np.zeros((count, count), dtype=bool)
        one, other = np.triu_indices(count, 1)
        toggled = torch.cat([single, single[one] | single[other]])
        if PAIRS * (1 + len(toggled)) > SEARCH * self.budget:
            return None

        for _ in range(PAIRS):
            changes, negligible = self._changes(toggled, 1)
            mixed = changes[count:] - changes[one] - changes[other]
            seen = (mixed.abs() > negligible).flatten(1).any(1).numpy()
            interacting[one[seen], other[seen]] = interacting[other[seen], one[seen]] = True

            # Most networks show after one pair of rows that everything interacts.
            if _colouring(interacting).max() >= GROUPS:
                return None
        return interacting

    def holds(self, partition: NDArray[np.int64]) -> bool:
        """Whether every group is additive on fresh pairs of rows."""
        groups = torch.arange(partition.max() + 1)[:, None] == torch.from_numpy(partition)
        toggled = torch.cat([torch.eye(self.blocks, dtype=torch.bool), groups])

        pairs = max(FEWEST_CHECKS, int(CHECK * self.budget) // (1 + len(toggled)))
        cost = pairs * (1 + len(toggled))
        if cost > DEAREST * self.budget or self.budget - self.spent - cost < FEWEST_CUBES * self.design.rows:
            return False

        changes, negligible = self._changes(toggled, pairs)
        alone, together = changes[: self.blocks], changes[self.blocks :]
        excess = together - torch.einsum("gb,bro->gro", groups.double().to(alone.device), alone)
        return bool((excess.abs() <= negligible).all())

    def _changes(self, toggled: Tensor, pairs: int) -> tuple[Tensor, Tensor]:
        """What each toggling changes in the outputs, of shape (togglings, pairs, outputs); and what is negligible."""
        nothing = torch.zeros(1, self.blocks, dtype=torch.bool)
        rows = draw_mixtures(self.design, torch.cat([nothing, toggled]), pairs, self.generator)
        self.spent += rows.shape[0] * pairs

        values = outputs_on(self.evaluate, rows)[0].cpu()
        spread = values.flatten(0, 1).std(0)
        return values[1:] - values[0], NEGLIGIBLE * spread


def _colouring(interacting: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A proper colouring with few colours: the block next to most colours takes the first one free (DSATUR)."""
    colours = np.full(len(interacting), -1)

    for _ in range(len(interacting)):
        near = [set(colours[row & (colours >= 0)]) for row in interacting]
        waiting = np.flatnonzero(colours < 0)
        block = max(waiting, key=lambda b: (len(near[b]), interacting[b].sum()))
        colours[block] = next(colour for colour in range(len(colours)) if colour not in near[block])
    return colours


def _spread(colours: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups of all blocks, at least two of them: those of the colours, and inactive blocks where there is room."""
    groups = colours.copy()
    if groups.max() == 0:
        # All active blocks are additive; in two groups their interactions, if there were any, would show.
        active = np.flatnonzero(groups == 0)
        groups[active[1::2]] = 1

    count = max(groups.max() + 1, 2)
    for block in np.flatnonzero(groups < 0):
        groups[block] = np.bincount(groups[groups >= 0], minlength=count).argmin()
    return groups
