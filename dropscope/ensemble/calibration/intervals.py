"""An interval for every predicted number."""

from dataclasses import dataclass

from numpy.typing import ArrayLike
from torch import Tensor

from dropscope.ensemble.calibration.arguments import Numbers, check_share, targets_like
from dropscope.ensemble.calibration.predictives import law_of
from dropscope.results import Result

__all__ = ["Intervals", "central_intervals"]


@dataclass(frozen=True, eq=False)
class Intervals(Result):
    """An interval for every predicted number.

    Attributes:
        mean: the predicted numbers.
        low: lower ends.
        high: upper ends.
        level: share of the measured values that they should hold.
    """

    mean: Tensor
    low: Tensor
    high: Tensor
    level: float

    @property
    def width(self) -> Tensor:
        """How wide they are."""
        return self.high - self.low

    def covers(self, y: Tensor | ArrayLike) -> Tensor:
        """Say of each measured value whether its interval holds it."""
        measured = targets_like(y, self.mean)
        return (self.low <= measured) & (measured <= self.high)

    def describe(self) -> str:
        """Say how many there are, and how wide."""
        return f"{self.mean.numel()} intervals of level {self.level:g}, mean width {self.width.mean().item():.4g}"


def central_intervals(
    prediction: Numbers, level: float = 0.9, *, noise: float | Tensor = 0.0, mixture: bool = False
) -> Intervals:
    """Give the central interval of each prediction's law, from its quantile `(1 - level) / 2` to `(1 + level) / 2`.

    Args:
        prediction: what `regression_scores` takes; so `noise` and `mixture`.
        level: share of the measured values that the intervals should hold.
        noise: variance of the data's noise, to be added.
        mixture: whether the law is the mixture of all passes rather than one normal law.

    Returns:
        The intervals.

    Raises:
        ValueError: a variance is 0, or the samples are needed and were not kept.

    Example:
        >>> central_intervals(([1.0], [4.0]), level=0.95).low
        tensor([-2.9199], dtype=torch.float64)
    """
    law = law_of(prediction, noise, mixture)
    tail = (1 - check_share("level", level)) / 2
    return Intervals(law.mean, law.quantile(tail), law.quantile(1 - tail), level)
