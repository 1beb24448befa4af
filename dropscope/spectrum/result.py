"""The answer: how much of a model's variance lies at each interaction order, and how well that is known."""

from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dropscope.spectrum.survival import SurvivalCurve

__all__ = ["Spectrum"]

# Wider intervals than this say too little about a share to show it as a number.
WIDEST = 0.3


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Variance shares of a model per interaction order, with 95 % intervals.

    Order counts *blocks* of columns. `low` and `high` are nan when intervals were not asked for; all shares are nan
    when the model is constant.

    Attributes:
        share: share of the variance at orders 1 to max_order.
        rest: share at all higher orders together.
        low: lower ends for `share`, then for `rest`.
        high: upper ends for `share`, then for `rest`.
        total: variance of the output, summed over outputs.
        mean_order: mean interaction order, `sum_k k W_k / Var`.
        mean_order_low: its lower end.
        mean_order_high: its upper end.
        orders: fitted share of every order, 1 to the number of blocks; single high orders are not identified.
        budget: rows on which the model was evaluated.
        method: "cube"; "exact-cube" when every block was toggled by itself; "separated-cube" when blocks that do not
            interact were toggled together; with "+pce" after it where a control variate helped; "nested",
            "distill-text" or "distill-code" where a surrogate was fitted.
        inputs_law: law of the inputs that the shares speak of.
        blocks: column indices of each block.
        point: how the point estimate was chosen, "smooth" or "nnls"; of a surrogate, "held-out" or "in-sample".
        survival_curve: the survival S(p) on a grid, with intervals that hold for every spectrum that fits; None where
            intervals were not asked for, and for surrogates.
    """

    share: NDArray[np.float64]
    rest: float
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    total: float
    mean_order: float
    mean_order_low: float
    mean_order_high: float
    orders: NDArray[np.float64]
    budget: int
    method: str
    inputs_law: str
    blocks: tuple[tuple[int, ...], ...]
    point: str
    survival_curve: SurvivalCurve | None = field(default=None, kw_only=True)

    @property
    def max_order(self) -> int:
        """Highest order with a share of its own."""
        return len(self.share)

    @property
    def n_orders(self) -> int:
        """Number of blocks, which is the highest order there is."""
        return len(self.blocks)

    @property
    def identified(self) -> NDArray[np.bool_]:
        """Whether the interval of each share, and of the rest, is there and narrow enough to speak of a number."""
        return self.high - self.low < WIDEST

    def survival(self, p: float) -> float:
        """Share of the variance that a copy of the inputs, each resampled with probability p, still explains.

        `S(p) = Cov(f(X), f(X resampled at p)) / Var f = sum_k (1 - p)^k W_k / Var f`, from the fitted `orders`.

        Args:
            p: probability of resampling each block.

        Returns:
            The share, 1 at p = 0 and 0 at p = 1.

        Raises:
            ValueError: p is outside [0, 1].
        """
        if not 0 <= p <= 1:
            raise ValueError(f"`p` must be in [0, 1], got {p}.")
        return float((1 - p) ** np.arange(1, self.n_orders + 1) @ self.orders)

    def describe(self) -> str:
        """Say what was measured, on which law of inputs, and every share with its interval."""
        over = f"{self.n_orders} blocks ({sum(map(len, self.blocks))} columns)"
        lines = [
            f"interaction spectrum over {over}, {self.inputs_law} law of inputs",
            f"method {self.method}, {self.budget:,} evaluations, variance {self.total:.4g}",
        ]

        for k, (low, high, sure) in enumerate(zip(self.low, self.high, self.identified, strict=True), 1):
            if k > self.n_orders:
                continue
            name = f"order {k}" if k <= self.max_order else f"order > {self.max_order}"
            share = self.share[k - 1] if k <= self.max_order else self.rest
            shown = "not identified" if np.isfinite(high) and not sure else f"{share:.3f}"
            lines.append(f"  {name:<10} {shown}{_brackets(low, high)}")

        lines.append(f"  mean order {self.mean_order:.3f}{_brackets(self.mean_order_low, self.mean_order_high)}")
        return "\n".join(lines)

    __str__ = describe

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON; nan becomes None."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """The spectrum that `to_dict` wrote.

        Args:
            plain: what `to_dict` returned, possibly after a round trip through JSON.

        Returns:
            An equal spectrum.
        """
        arrays = {key: np.array(plain[key], dtype=float) for key in ("share", "low", "high", "orders")}
        numbers = {key: _number(plain[key]) for key in ("rest", "mean_order", "mean_order_low", "mean_order_high")}
        curve = plain.get("survival_curve")
        others = {
            "blocks": tuple(map(tuple, plain["blocks"])),
            "survival_curve": SurvivalCurve.from_dict(curve) if curve else None,
        }
        return cls(**{**plain, **arrays, **numbers, **others})


def _brackets(low: float, high: float) -> str:
    return f"  [{low:.3f}, {high:.3f}]" if np.isfinite(high) else ""


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, SurvivalCurve):
        return value.to_dict()
    if isinstance(value, float):
        return None if np.isnan(value) else float(value)
    return value


def _number(value: float | None) -> float:
    return np.nan if value is None else value
