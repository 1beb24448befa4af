"""How well scores tell two sets apart: exact counts at each distinct score, and the curves that follow from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

__all__ = ["Counts", "auroc", "auroc_error", "average_precision", "false_positive_rate"]


@dataclass(frozen=True, eq=False)
class Counts:
    """How many rows of each set have each of the distinct scores, highest score first.

    Attributes:
        negative: number of negative rows at each score, float64.
        positive: number of positive rows at each score.
    """

    negative: Tensor
    positive: Tensor

    @classmethod
    def of(cls, negative: Tensor, positive: Tensor) -> "Counts":
        """Count the scores of two sets of rows."""
        n = len(negative)
        levels, level = torch.cat([negative.double(), positive.double()]).unique(return_inverse=True)
        return cls(*(part.bincount(minlength=len(levels)).flip(0).double() for part in (level[:n], level[n:])))

    def reversed(self) -> "Counts":
        """Exchange the sets and turn their scores around, so that what was negative is looked for."""
        return Counts(self.positive.flip(0), self.negative.flip(0))

    def resampled(self, times: int, generator: torch.Generator | None) -> Iterator["Counts"]:
        """Draw the rows of each set anew with replacement, so many times."""
        levels = [torch.arange(len(part)).repeat_interleave(part.long()) for part in (self.negative, self.positive)]
        for _ in range(times):
            drawn = (rows[torch.randint(len(rows), (len(rows),), generator=generator)] for rows in levels)
            yield Counts(*(rows.bincount(minlength=len(self.negative)).double() for rows in drawn))

    def rates(self) -> tuple[Tensor, Tensor]:
        """False and true positive rate from the highest threshold down: 0, and after each distinct score."""
        false, true = (
            torch.cat([part.new_zeros(1), part.cumsum(0)]) / part.sum() for part in (self.negative, self.positive)
        )
        return false, true


def auroc(counts: Counts) -> float:
    """Chance that a positive row scores higher than a negative one, equal scores counted half."""
    pairs = counts.negative.sum() * counts.positive.sum()
    return ((counts.positive * _twice_beaten(counts)).sum() / (2 * pairs)).item()


def auroc_error(counts: Counts) -> float:
    """Standard error of the AUROC in closed form; nan where a set has a single row.

    Reference:
        DeLong, DeLong & Clarke-Pearson, 1988, Biometrics 44(3):837-845.
    """
    variance = 0.0
    for side in (counts, counts.reversed()):
        rows = side.positive.sum().item()
        if rows == 1:
            return nan
        # For each positive row, the share of negative ones that it beats.
        share = _twice_beaten(side) / (2 * side.negative.sum())
        variance += (side.positive * (share - auroc(side)).square()).sum().item() / (rows - 1) / rows
    return variance**0.5


def average_precision(counts: Counts) -> float:
    """Area under the steps of precision against recall: `Σ (R_i - R_(i-1)) P_i` over the distinct scores."""
    found = counts.positive.cumsum(0)
    precision = found / (found + counts.negative.cumsum(0)).clamp(min=1)
    return ((counts.positive * precision).sum() / counts.positive.sum()).item()


def false_positive_rate(counts: Counts, percent: int) -> float:
    """Smallest share of negative rows at or above a threshold that at least so many percent of positive ones reach."""
    enough = 100 * counts.positive.cumsum(0) >= percent * counts.positive.sum()
    first = int(enough.int().argmax())
    return (counts.negative[: first + 1].sum() / counts.negative.sum()).item()


def _twice_beaten(counts: Counts) -> Tensor:
    """Twice the number of negative rows below each distinct score, and those at it once."""
    return 2 * (counts.negative.sum() - counts.negative.cumsum(0)) + counts.negative
