"""The answer to *which*: blocks, pairs and triples ranked by the variance that runs through them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dropscope.spectrum.ratios import Ratios

__all__ = ["Ranking", "Terms"]

# Rows of each ranking that a description shows.
SHOWN = 10
# Longest name of a set of blocks in a description, in characters.
LONGEST = 60


@dataclass(frozen=True, eq=False)
class Ranking:
    """Sets of blocks, largest share first, with 95 % intervals; a set without any share is left out.

    Attributes:
        members: indices of the blocks in each set.
        share: share of the variance.
        low: lower ends.
        high: upper ends.
    """

    members: tuple[tuple[int, ...], ...]
    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(
        cls, members: Sequence[tuple[int, ...]], measured: Ratios, start: int = 0, within: Sequence[Self] = ()
    ) -> Self:
        """Rank the measurements from `start` on, one for each of the members; empty ones are left out.

        Every term that holds all blocks of a set holds those of its subsets too: where a subset is ranked in `within`,
        its share and ends are the most that the set can have.
        """
        here = slice(start, start + len(members))
        found = np.array([measured.share[here], measured.low[here], measured.high[here]])
        most = {known: ends for ranking in within for known, ends in ranking._ends().items()}

        for i, blocks in enumerate(members):
            subsets = (part for size in range(1, len(blocks) + 1) for part in combinations(blocks, size))
            found[:, i] = np.min([found[:, i], *(most[part] for part in subsets if part in most)], axis=0)

        share, low, high = found
        order = [i for i in np.argsort(-share, kind="stable") if share[i] > 0]
        return cls(tuple(members[i] for i in order), share[order], low[order], high[order])

    def __len__(self) -> int:
        return len(self.members)

    def _ends(self) -> dict[tuple[int, ...], NDArray[np.float64]]:
        """Share and both ends of every set."""
        return dict(zip(self.members, np.stack([self.share, self.low, self.high], axis=1), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        members = [list(blocks) for blocks in self.members]
        return {"members": members, **{key: getattr(self, key).tolist() for key in ("share", "low", "high")}}


@dataclass(frozen=True, eq=False)
class Terms:
    """Which blocks, pairs and triples carry a model's variance, as shares of it.

    Every share counts all terms that hold the named blocks, alone or with others: the shares of pairs therefore add up
    to more than the share of order 2 when there are higher orders. Where noise would leave a triple above its pairs, a
    pair above what one of its blocks shares with others, or that above the block's total, the lower estimate counts.

    Attributes:
        totals: total index of every block.
        interacting: part of each total index that the block shares with others.
        pairs: superset importance of the strongest pairs.
        triples: superset importance of the strongest triples.
        skipped: upper bound on the share of any pair left unmeasured as too many blocks interact; 0 when none was.
        variance: variance of the output, summed over outputs.
        budget: rows on which the model was evaluated.
        inputs_law: law of the inputs that the shares speak of.
        blocks: column indices of each block.
        names: name of each block, those of its columns joined by " + ".
    """

    totals: Ranking
    interacting: Ranking
    pairs: Ranking
    triples: Ranking
    skipped: float
    variance: float
    budget: int
    inputs_law: str
    blocks: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]

    def describe(self) -> str:
        """Say what was measured, on which law of inputs, and show the head of each ranking with its intervals."""
        over = f"{len(self.blocks)} blocks ({sum(map(len, self.blocks))} columns)"
        lines = [
            f"terms over {over}, {self.inputs_law} law of inputs",
            f"{self.budget:,} evaluations, variance {self.variance:.4g}, shares of it with all higher terms",
        ]

        for title in ("totals", "interacting", "pairs", "triples"):
            lines += [f"  {title}", *self._rows(getattr(self, title))]

        if self.skipped:
            lines.append(f"  pairs of other blocks were not measured: none has a share above {self.skipped:.4f}")
        return "\n".join(lines)

    __str__ = describe

    def label(self, members: Sequence[int], most: int | None = None) -> str:
        """Name a set of blocks.

        Args:
            members: indices of the blocks.
            most: characters that the blocks share where the whole is longer; each is cut in its middle, as names of
                columns often differ at their ends alone.

        Returns:
            Such as "hour" or "hour × (day + month)".
        """
        joined = [len(members) > 1 and len(self.blocks[block]) > 1 for block in members]
        names = [" ".join(self.names[block].split()) for block in members]
        if most is not None and sum(map(len, names)) > most:
            names = [_shortened(name, most // len(names)) for name in names]
        return " × ".join(f"({name})" if several else name for name, several in zip(names, joined, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON."""
        rankings = {key: getattr(self, key).to_dict() for key in ("totals", "interacting", "pairs", "triples")}
        plain = {key: getattr(self, key) for key in ("skipped", "variance", "budget", "inputs_law")}
        return {**rankings, **plain, "blocks": [list(block) for block in self.blocks], "names": list(self.names)}

    def _rows(self, ranking: Ranking) -> list[str]:
        labels = [self.label(blocks, LONGEST) for blocks in ranking.members[:SHOWN]]
        width = max(map(len, labels), default=0)

        rows = [
            f"    {label:<{width}}  {share:.4f}  [{low:.4f}, {high:.4f}]"
            for label, share, low, high in zip(labels, ranking.share, ranking.low, ranking.high, strict=False)
        ]
        hidden = len(ranking) - len(rows)
        return [*rows, f"    and {hidden} more"] if hidden else rows or ["    none"]


def _shortened(name: str, most: int) -> str:
    head = most // 2
    return name if len(name) <= most else f"{name[:head]}…{name[head + 1 - most :]}"
