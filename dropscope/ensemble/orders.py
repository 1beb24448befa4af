"""How much of the variance over masks comes from interactions of each order: the bias of Monte-Carlo dropout."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dropscope.masks import check_p
from dropscope.results import Result

__all__ = ["OrderBias", "order_bias"]


@dataclass(frozen=True, eq=False)
class OrderBias(Result):
    """How the variance over masks is shared out among interaction orders, against the variance of the function.

    Attributes:
        p: probability of dropping.
        share: share of each order, from 1 on, in the variance of the function.
        variance_share: its share in the variance over masks, which is reported as uncertainty.
        growth: uncertainty per unit of variance, relative to order 1: `(q⁻ᵏ - 1) / (q⁻¹ - 1)`.
    """

    p: float
    share: NDArray[np.float64]
    variance_share: NDArray[np.float64]
    growth: NDArray[np.float64]

    def describe(self) -> str:
        """Say it in words and numbers, one line per order."""
        lines = [f"uncertainty by dropout at p={self.p:g} grows with the order of an interaction, right or wrong:"]
        for order, (share, variance, growth) in enumerate(
            zip(self.share, self.variance_share, self.growth, strict=True), start=1
        ):
            lines.append(
                f"  order {order}: {share:.1%} of the function's variance, {variance:.1%} of that over masks "
                f"({growth:.2f} times order 1, for equal effects)"
            )
        return "\n".join(lines)


def order_bias(shares: ArrayLike, rates: Sequence[float], p: float | None) -> OrderBias:
    """Share out the variance over masks: `W_k (q⁻ᵏ - 1)` for masks of mean one on what interacts."""
    share = np.asarray(shares, dtype=float)
    if share.ndim != 1 or len(share) == 0 or not np.isfinite(share).all() or (share < 0).any() or share.sum() == 0:
        raise ValueError(f"`shares` must be shares of orders 1, 2, ..., at least one above 0, got {shares!r}.")
    if p is None:
        if len(set(rates)) != 1:
            raise ValueError(f"`p` must be given where the model does not drop at one rate, got the rates {rates}.")
        p = rates[0]
    if check_p(p, below_one=True) == 0:
        raise ValueError(f"`p` must be above 0, got {p}.")

    # A product of k factors of mean one, each 0 or 1/q, has variance q⁻ᵏ - 1.
    growth = (1 - p) ** -np.arange(1.0, len(share) + 1) - 1
    variance = share * growth
    return OrderBias(float(p), share, variance / variance.sum(), growth / growth[0])
