"""The quantile of held-out scores that a further score exceeds with no more than a given chance."""

import math
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from scipy import special
from torch import Tensor

from dropscope.ensemble.calibration.arguments import check_share, numbers

__all__ = ["Ranked", "ranked"]

# Above what rounding of (1 - alpha)(n + 1) can do.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Ranked:
    """Held-out scores in order, column by column, with the weights up to each.

    Attributes:
        scores: (rows, columns), ascending.
        weights: sums of the weights up to each score, (rows, columns).
    """

    scores: Tensor
    weights: Tensor

    def quantiles(self, alpha: float, rows: int = 1, weights: Tensor | ArrayLike | None = None) -> Tensor:
        """Give the least score up to which the weights reach `1 - alpha` of all, that of a new row included.

        Args:
            alpha: chance of a higher score.
            rows: number of new rows.
            weights: of new rows; None: all 1, and then one line of quantiles is for all rows.

        Returns:
            The quantiles, (rows, columns) or (1, columns); infinite where the weights do not reach.

        Raises:
            ValueError: weights are none.
        """
        new = self.weights.new_ones(1) if weights is None else _read_weights(weights, rows, "new row").to(self.weights)
        total = self.weights[-1]
        needed = (1 - alpha) * (total + new.unsqueeze(1)) * (1 - ROUNDING)
        place = torch.searchsorted(self.weights.T.contiguous(), needed.T.contiguous()).T
        beyond = torch.cat([self.scores, self.scores.new_full((1, self.scores.shape[1]), math.inf)])
        return beyond.gather(0, place)

    def coverage_range(self, alpha: float) -> tuple[float, float]:
        """Give the 95 % range of the coverage of new rows: for given scores without ties, `Beta(k, n + 1 - k)`."""
        n = len(self.scores)
        k = math.ceil((1 - alpha) * (n + 1) * (1 - ROUNDING))
        low, high = special.betaincinv(k, n + 1 - k, (0.025, 0.975))
        return float(low), float(high)


def ranked(scores: Tensor, alpha: float, weights: Tensor | ArrayLike | None) -> Ranked:
    """Order scores, (rows, columns).

    Raises:
        ValueError: there are too few for `alpha`, or weights are none.
    """
    n = len(scores)
    if check_share("alpha", alpha) * (n + 1) < 1 - ROUNDING:
        raise ValueError(
            f"`alpha` must be at least 1 / (rows + 1) = {1 / (n + 1):.3g} with {n} held-out rows, got {alpha}: "
            f"hold out at least {math.ceil(1 / alpha - ROUNDING) - 1}."
        )
    own = scores.new_ones(n) if weights is None else _read_weights(weights, n, "held-out row").to(scores)
    if not own.any():
        raise ValueError("`weights` must be above 0 for some held-out row.")
    ordered, order = scores.sort(0)
    return Ranked(ordered, own[order].cumsum(0))


def _read_weights(weights: Tensor | ArrayLike, rows: int, whose: str) -> Tensor:
    given = numbers("weights", weights).flatten()
    if len(given) != rows or not ((given >= 0) & given.isfinite()).all():
        raise ValueError(f"`weights` must be {rows} finite numbers of at least 0, one for each {whose}.")
    return given
