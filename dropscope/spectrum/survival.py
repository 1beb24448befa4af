"""The dropout survival curve: the variance that a copy of the inputs, partly drawn anew, still explains."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["SurvivalCurve"]


@dataclass(frozen=True, eq=False)
class SurvivalCurve:
    """`S(p) = Cov(f(X), f(X resampled at p)) / Var f` on a grid, with 95 % intervals.

    Attributes:
        p: probability of drawing each block anew, from 0 to 1.
        share: share of the variance that survives.
        low: its lower ends.
        high: its upper ends.
    """

    p: NDArray[np.float64]
    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        return {name: values.tolist() for name, values in vars(self).items()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """The curve that `to_dict` wrote."""
        return cls(**{name: np.array(values, dtype=float) for name, values in plain.items()})
