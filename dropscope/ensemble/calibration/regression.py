"""Are predicted numbers and their uncertainty true? Scores, coverage and where the measured values fall."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dropscope.ensemble.calibration.arguments import Numbers, check_share, numbers, targets_like
from dropscope.ensemble.calibration.predictives import law_of
from dropscope.results import Result

__all__ = ["RegressionScores", "regression_scores"]

LEVELS = tuple(k / 20 for k in range(1, 20))


@dataclass(frozen=True, eq=False)
class RegressionScores(Result):
    """How true predicted numbers and their uncertainty are, with standard errors over rows.

    Attributes:
        n_rows: number of rows.
        law: "normal", "mixture" of normal laws around each pass, or "passes" alone, which have no density.
        rmse: root mean square error of the mean.
        nll: mean of minus the log-density, nats; nan for passes alone.
        crps: mean continuous ranked probability score, in units of y.
        sharpness: root mean square of the predicted standard deviation.
        pit: where each measured value falls in its law, `F(y)`; uniform if the laws are true. Shaped as y.
        levels: nominal levels of central intervals.
        coverage: how often they hold the measured value.
        coverage_error: standard errors of `coverage`.
        area: area between `coverage` at all levels and the nominal line, the miscalibration area.
        expected_area: what it would be on average for true laws and as many independent rows.
        level: level of `width` and `interval_score`.
        width: mean width of the central intervals of that level.
        interval_score: mean of width plus `2 / α` times how far outside y lies, α = 1 - level.
        errors: standard errors of "rmse", "nll", "crps", "width" and "interval_score".
    """

    n_rows: int
    law: str
    rmse: float
    nll: float
    crps: float
    sharpness: float
    pit: Tensor
    levels: Tensor
    coverage: Tensor
    coverage_error: Tensor
    area: float
    expected_area: float
    level: float
    width: float
    interval_score: float
    errors: Mapping[str, float]

    def pit_histogram(self, bins: int = 10) -> Tensor:
        """Count the values of `pit` in bins of equal width; of true laws all bins have as many, but for chance."""
        return torch.histc(self.pit.flatten(), bins, 0, 1)

    def describe(self) -> str:
        """Say how good and how true the predictions are."""
        rmse, nll, crps, width, score = (
            f"{getattr(self, name):.4g} ± {self.errors[name]:.2g}"
            for name in ("rmse", "nll", "crps", "width", "interval_score")
        )
        held = (self.pit - 0.5).abs().le(self.level / 2).double().mean().item()
        likelihood = "" if math.isnan(self.nll) else f"negative log-likelihood {nll}, "
        return (
            f"scores of {self.n_rows} rows, law: {self.law}\n"
            f"  RMSE {rmse}, {likelihood}CRPS {crps}\n"
            f"  predicted standard deviation {self.sharpness:.4g} (root mean square)\n"
            f"  {self.level:.0%} intervals hold {held:.1%}, width {width}, interval score {score}\n"
            f"  miscalibration area {self.area:.4g}; {self.expected_area:.4g} if the laws were true"
        )


def regression_scores(
    prediction: Numbers,
    y: Tensor | ArrayLike,
    *,
    noise: float | Tensor = 0.0,
    mixture: bool = False,
    level: float = 0.9,
    levels: float | Sequence[float] = LEVELS,
) -> RegressionScores:
    """Score predictions of numbers and of their uncertainty against measured values.

    Args:
        prediction: a `Prediction` or `Moments`; a pair of means and variances; or the outputs of all passes, of shape
            (passes, rows, ...). Of a model with a variance head, the total variance counts.
        y: measured values, one for each predicted number.
        noise: variance of the data's noise, to be added: what dropout varies is not all that is unknown. See
            `noise_variance`.
        mixture: whether the law is the mixture of all passes, `1/T Σ_t N(f_t, noise)`, rather than one normal law with
            their mean and variance; this takes T² operations a row. Without noise, the passes are the law.
        level: of the interval score.
        levels: nominal level, or levels, at which coverage is measured.

    Returns:
        The scores. Several outputs of one row count together in the standard errors.

    Raises:
        ValueError: a variance is 0, shapes do not fit, or the samples are needed and were not kept.

    Example:
        >>> scores = regression_scores((torch.zeros(1000), torch.ones(1000)), torch.randn(1000))
        >>> scores.errors["nll"] < 0.05
        True

    Reference:
        Gneiting & Raftery, 2007, JASA 102:359-378; miscalibration area: Kuleshov et al., 2018, arXiv:1807.00263;
        likelihood of the mixture: Gal & Ghahramani, 2016, arXiv:1506.02142, equation 8 of the appendix.
    """
    law = law_of(prediction, noise, mixture)
    measured = targets_like(y, law.mean)
    nominal = measured.new_tensor(
        [check_share("levels", one) for one in numbers("levels", levels).reshape(-1).tolist()]
    )
    tail = (1 - check_share("level", level)) / 2
    low, high = law.quantile(tail), law.quantile(1 - tail)

    pit = law.cdf(measured)
    # A central interval holds y if its level is at least this.
    reached = (2 * pit - 1).abs()
    outside = (low - measured).clamp(min=0) + (measured - high).clamp(min=0)
    means = {
        "rmse": (measured - law.mean) ** 2,
        "nll": -law.log_density(measured),
        "crps": law.crps(measured),
        "width": high - low,
        "interval_score": high - low + outside / tail,
    }
    found = {name: _over_rows(values) for name, values in means.items()}
    square, error = found["rmse"]
    found["rmse"] = (square**0.5, error / (2 * square**0.5) if square > 0 else 0.0)
    held = [_over_rows((reached <= one).to(measured)) for one in nominal]
    return RegressionScores(
        n_rows=len(measured),
        law=law.name,
        sharpness=law.std.square().mean().sqrt().item(),
        pit=pit,
        levels=nominal,
        coverage=nominal.new_tensor([mean for mean, _ in held]),
        coverage_error=nominal.new_tensor([error for _, error in held]),
        area=_area(reached.flatten()),
        expected_area=math.sqrt(math.pi / 32 / len(measured)),
        level=level,
        **{name: mean for name, (mean, _) in found.items()},
        errors={name: error for name, (_, error) in found.items()},
    )


def _over_rows(values: Tensor) -> tuple[float, float]:
    """Mean over all, and its standard error over rows."""
    rows = values.flatten(1).mean(1) if values.dim() > 1 else values
    error = rows.std() / len(rows) ** 0.5 if len(rows) > 1 else rows.new_tensor(math.nan)
    return rows.mean().item(), error.item()


def _area(reached: Tensor) -> float:
    """Give `∫ |share of reached <= level - level| d level` exactly: between two that are reached the share is constant.

    For true laws and n rows its mean is near `√(2 / πn) ∫ √(l (1 - l)) dl = √(π / 32 n)`.
    """
    ends = torch.cat([reached.new_zeros(1), reached.sort().values, reached.new_ones(1)])
    share = torch.arange(len(reached) + 1, device=reached.device).to(reached) / len(reached)
    above, below = ends[1:] - share, ends[:-1] - share
    return ((above * above.abs() - below * below.abs()) / 2).sum().item()
