"""Intervals and sets that hold the truth with a chance that needs no belief in the model: split conformal."""

from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dropscope import masks
from dropscope.ensemble.calibration.arguments import (
    Numbers,
    Probabilities,
    class_probabilities,
    class_rows,
    in_rows,
    moments_of,
    targets_like,
)
from dropscope.ensemble.calibration.intervals import Intervals
from dropscope.ensemble.calibration.ranks import Ranked, ranked
from dropscope.errors import closest
from dropscope.results import Result

__all__ = ["ConformalIntervals", "ConformalSets", "conformal_intervals", "conformal_sets"]

METHODS = ["aps", "lac"]


@dataclass(frozen=True, eq=False)
class ConformalIntervals(Result):
    """Gives intervals around predictions: `mean ± quantile · std`, or `mean ± quantile`.

    Attributes:
        alpha: chance that an interval misses.
        quantile: of the held-out scores, one for each output.
        n_rows: number of held-out rows.
        scaled: whether scores are in units of the predicted standard deviation.
        coverage_range: 95 % range of the coverage of new rows, given held-out rows of equal weights.
        ranks: the held-out scores.
    """

    alpha: float
    quantile: Tensor
    n_rows: int
    scaled: bool
    coverage_range: tuple[float, float]
    ranks: Ranked
    left_out = ("ranks",)

    def __call__(self, prediction: Numbers, weights: Tensor | ArrayLike | None = None) -> Intervals:
        """Give the intervals of new predictions; `weights` of their rows belong with those of held-out rows."""
        mean, variance = moments_of(prediction)
        units = _units(mean, variance, self.scaled)
        if units.shape[1] != len(self.quantile):
            raise ValueError(f"`prediction` must have {len(self.quantile)} outputs a row, got {units.shape[1]}.")
        half = (self.ranks.quantiles(self.alpha, len(mean), weights) * units).view_as(mean)
        return Intervals(mean, mean - half, mean + half, 1 - self.alpha)

    def describe(self) -> str:
        """Say what is guaranteed."""
        unit = "standard deviations" if self.scaled else "units of y"
        size = ", ".join(f"{one:.4g}" for one in self.quantile.tolist())
        return f"intervals of mean ± {size} {unit}, {_guarantee(self.alpha, self.n_rows, self.coverage_range)}"


@dataclass(frozen=True, eq=False)
class ConformalSets(Result):
    """Gives sets of classes: all whose score is at most `quantile`. A set may be empty: no class conforms.

    Attributes:
        alpha: chance that a set misses the true class.
        quantile: of the held-out scores.
        n_rows: number of held-out rows.
        n_classes: number of classes.
        method: "aps" or "lac".
        randomised: whether scores are randomised.
        single: whether probabilities are those of class 1 alone.
        coverage_range: 95 % range of the coverage of new rows, given held-out rows of equal weights.
        ranks: the held-out scores.
    """

    alpha: float
    quantile: float
    n_rows: int
    n_classes: int
    method: str
    randomised: bool
    single: bool
    coverage_range: tuple[float, float]
    ranks: Ranked
    left_out = ("ranks",)

    def __call__(
        self,
        probabilities: Probabilities,
        weights: Tensor | ArrayLike | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Say of each row which classes are in its set, (rows, classes); `generator` is that of randomised scores."""
        rows = _both(in_rows(class_probabilities(probabilities), self.single))
        if rows.shape[1] != self.n_classes:
            raise ValueError(f"`probabilities` must be of {self.n_classes} classes, got {rows.shape[1]}.")
        scores = class_scores(rows, self.method, self.randomised, generator)
        return scores <= self.ranks.quantiles(self.alpha, len(rows), weights)

    def describe(self) -> str:
        """Say what is guaranteed."""
        kind = f"{'randomised ' * self.randomised}{self.method.upper()}"
        return f"{kind} sets, {_guarantee(self.alpha, self.n_rows, self.coverage_range)}"


def conformal_intervals(
    prediction: Numbers,
    y: Tensor | ArrayLike,
    alpha: float = 0.1,
    *,
    scaled: bool = True,
    weights: Tensor | ArrayLike | None = None,
) -> ConformalIntervals:
    """Learn from held-out rows how wide intervals must be to hold all but a share `alpha` of new measured values.

    The quantile is the ⌈(1 - α)(n + 1)⌉-th smallest of the n scores `|y - mean| / std`. If held-out and new rows are
    exchangeable, then `1 - α <= P(y in interval) <= 1 - α + 1/(n + 1)` (the right one without ties), whatever the model
    and the data's law: on average over rows, not for each kind of row. Given the held-out rows, the coverage of new
    ones is spread as `Beta(k, n + 1 - k)`.

    Args:
        prediction: what `regression_scores` takes, for rows that were used for neither training nor choosing.
        y: their measured values; of several outputs, each has its own quantile.
        alpha: chance that an interval misses.
        scaled: whether intervals are in units of the predicted standard deviation, or all as wide.
        weights: how many times likelier each row is among new ones than among held-out ones, if it is not the same.

    Returns:
        The intervals: a function of predictions.

    Raises:
        ValueError: there are too few rows for `alpha`, shapes do not fit, or a standard deviation is 0.

    Example:
        >>> intervals = conformal_intervals((torch.zeros(9), torch.ones(9)), torch.arange(9.0), alpha=0.2)
        >>> intervals.quantile.item(), intervals((torch.tensor([1.0]), torch.tensor([4.0]))).high.item()
        (7.0, 15.0)

    Reference:
        Lei et al., 2018, arXiv:1604.04173; weights: Tibshirani et al., 2019, arXiv:1904.06019.
    """
    mean, variance = moments_of(prediction)
    off = (targets_like(y, mean) - mean).abs().reshape(len(mean), -1)
    ranks = ranked(off / _units(mean, variance, scaled), alpha, weights)
    return ConformalIntervals(alpha, ranks.quantiles(alpha)[0], len(mean), scaled, ranks.coverage_range(alpha), ranks)


def conformal_sets(
    probabilities: Probabilities,
    labels: Tensor | ArrayLike,
    alpha: float = 0.1,
    *,
    method: str = "aps",
    randomised: bool = True,
    weights: Tensor | ArrayLike | None = None,
    generator: torch.Generator | None = None,
) -> ConformalSets:
    """Learn from held-out rows which classes to name so that all but a share `alpha` of the true ones are among them.

    "lac" (least ambiguous sets): the score of a class is `1 - p_k`; sets are smallest on average. "aps" (adaptive
    prediction sets): the sum of all probabilities down to that class; sets grow where the model is unsure. Randomised,
    a random part of its own probability is left out of the sum, without which sets hold more than they should.
    What is guaranteed is as for `conformal_intervals`.

    Args:
        probabilities: what `reliability` takes, for rows that were used for neither training nor choosing.
        labels: their true classes, from 0.
        alpha: chance that a set misses.
        method: "aps" or "lac".
        randomised: whether "aps" is randomised.
        weights: how many times likelier each row is among new ones than among held-out ones, if it is not the same.
        generator: source of randomness; None: torch's own stream.

    Returns:
        The sets: a function of probabilities.

    Raises:
        ValueError: there are too few rows for `alpha`, or the labels are not those of the probabilities.

    Example:
        >>> p = torch.tensor([[0.6, 0.3, 0.1]]).expand(9, 3)
        >>> sets = conformal_sets(p, [0, 0, 0, 0, 0, 0, 1, 1, 2], alpha=0.2, method="lac")
        >>> sets(p[:1])
        tensor([[ True,  True, False]])

    Reference:
        Sadinle, Lei & Wasserman, 2019, arXiv:1609.00451; Romano, Sesia & Candès, 2020, arXiv:2006.02544.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be a way to score, got {method!r}: {closest(method, METHODS)}")
    rows, truth = class_rows(probabilities, labels)
    both = _both(rows)
    randomised = randomised and method == "aps"
    scores = class_scores(both, method, randomised, generator)
    ranks = ranked(scores.gather(1, truth.unsqueeze(1)), alpha, weights)
    n_rows, n_classes = both.shape
    return ConformalSets(
        alpha, ranks.quantiles(alpha).item(), n_rows, n_classes, method, randomised, rows.dim() == 1,
        ranks.coverage_range(alpha), ranks,
    )  # fmt: skip


def class_scores(rows: Tensor, method: str, randomised: bool, generator: torch.Generator | None) -> Tensor:
    """Score every class of every row: the higher, the less it conforms."""
    if method == "lac":
        return 1 - rows
    ordered, order = rows.sort(dim=-1, descending=True, stable=True)
    sums = ordered.cumsum(-1)
    if randomised:
        drawn = masks.uniform((len(rows), 1), dtype=rows.dtype, device=rows.device, generator=generator)
        sums = sums - drawn * ordered
    return torch.empty_like(sums).scatter_(-1, order, sums)


def _both(rows: Tensor) -> Tensor:
    return torch.stack([1 - rows, rows], -1) if rows.dim() == 1 else rows


def _units(mean: Tensor, variance: Tensor, scaled: bool) -> Tensor:
    """What scores are measured in, (rows, outputs)."""
    if not scaled:
        return torch.ones_like(mean).reshape(len(mean), -1)
    if not (variance > 0).all():
        raise ValueError(
            "the predicted variance must be above 0 in every row for scaled intervals: add noise by fit_variance, or "
            "let scaled=False."
        )
    return variance.sqrt().reshape(len(mean), -1)


def _guarantee(alpha: float, n_rows: int, found: tuple[float, float]) -> str:
    return (
        f"from {n_rows} held-out rows\n"
        f"  they hold the truth of at least {1 - alpha:.4g} of new rows like those, on average over held-out rows;\n"
        f"  given these, with 95 % chance, of {found[0]:.3f} to {found[1]:.3f}"
    )
