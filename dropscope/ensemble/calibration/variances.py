"""Predicted variances made true on held-out rows: multiplied by a factor, and noise added to them."""

import math
from dataclasses import dataclass

from numpy.typing import ArrayLike
from torch import Tensor

from dropscope.ensemble.calibration.arguments import Numbers, moments_of, targets_like
from dropscope.ensemble.calibration.searching import lowest
from dropscope.results import Result

__all__ = ["VarianceScale", "fit_variance", "noise_variance"]

# Noise below this part of the largest squared error counts as none.
LEAST = 1e-8


@dataclass(frozen=True, eq=False)
class VarianceScale(Result):
    """Makes predicted variances true: `scale · variance + noise`.

    Attributes:
        scale: factor of the variance; that of the standard deviation is its root.
        noise: variance added to every row.
        nll: negative log-likelihood on the rows it was fitted on, nats.
        nll_before: that of the variances as they were; infinite where one is 0.
        n_rows: number of those rows.
    """

    scale: float
    noise: float
    nll: float
    nll_before: float
    n_rows: int

    def __call__(self, prediction: Numbers) -> tuple[Tensor, Tensor]:
        """Give means and corrected variances of a prediction, as `regression_scores` and others take them."""
        mean, variance = moments_of(prediction)
        return mean, self.scale * variance + self.noise

    def describe(self) -> str:
        """Say what becomes of a variance, and what it gains."""
        return (
            f"variance -> {self.scale:.4g} · variance + {self.noise:.4g}, fitted on {self.n_rows} rows\n"
            f"  negative log-likelihood {self.nll_before:.4g} -> {self.nll:.4g} nats"
        )


def noise_variance(prediction: Numbers, y: Tensor | ArrayLike) -> float:
    """Find the variance of the data's noise that, added to the predicted one, is likeliest on held-out rows.

    `min_{s >= 0} Σ_i log(v_i + s) + (y_i - μ_i)² / (v_i + s)`.

    Args:
        prediction: what `regression_scores` takes.
        y: measured values, of rows that the model was not trained on.

    Returns:
        The variance s; 0 where the predicted variances are large enough.

    Raises:
        ValueError: shapes do not fit, or the mean is right to the last digit in every row.

    Example:
        >>> noise_variance(([0.0] * 4, [0.0] * 4), [1.0, -1.0, 3.0, -3.0])
        5.0
    """
    return fit_variance(prediction, y, scale=False).noise


def fit_variance(
    prediction: Numbers, y: Tensor | ArrayLike, *, scale: bool = True, noise: bool = True
) -> VarianceScale:
    """Find the factor of the predicted variances and the noise to add that are likeliest on held-out rows.

    Under the normal law `N(μ_i, a v_i + b)`. Without noise `a = mean((y_i - μ_i)² / v_i)`.

    Args:
        prediction: what `regression_scores` takes.
        y: measured values, of rows that the model was not trained on.
        scale: whether a may differ from 1.
        noise: whether b may be above 0.

    Returns:
        The correction: a function of predictions.

    Raises:
        ValueError: nothing is to be fitted, a variance is 0 and no noise is added, shapes do not fit, or the mean is
            right to the last digit in every row, or in every one of variance 0.

    Example:
        >>> correction = fit_variance(([0.0] * 4, [1.0] * 4), [1.0, -1.0, 3.0, -3.0], noise=False)
        >>> correction.scale, correction(([0.0], [2.0]))[1].item()
        (5.0, 10.0)

    Reference:
        Laves et al., 2020, MIDL, arXiv:2104.12376 (the factor).
    """
    if not (scale or noise):
        raise ValueError("`scale` and `noise` must not both be off: there is nothing to fit.")
    mean, variance = moments_of(prediction)
    v = variance.flatten()
    squares = (targets_like(y, mean).flatten() - mean.flatten()) ** 2
    if not squares.any():
        raise ValueError("`y` must differ from its prediction in some row: no variance is likeliest.")
    if not noise and not (v > 0).all():
        raise ValueError("the predicted variance must be above 0 in every row to be scaled: let noise=True.")
    sure = v == 0
    if v.any() and sure.any() and not squares[sure].any():
        raise ValueError(
            "`y` must differ from its prediction in some row of variance 0: where all of them are right to the last "
            "digit, no noise is little enough; leave these rows out."
        )

    a, b = _both(v, squares) if scale and noise else _scale(v, squares) if scale else _noise(v, squares)
    return VarianceScale(a, b, _nll(a * v + b, squares), _nll(v, squares), len(v))


def _scale(v: Tensor, squares: Tensor) -> tuple[float, float]:
    return (squares / v).mean().item(), 0.0


def _noise(v: Tensor, squares: Tensor) -> tuple[float, float]:
    """Above the largest square the likelihood only falls; of several maxima the highest is taken."""
    if not v.any():
        return 1.0, squares.mean().item()
    top = math.log(squares.max().item())
    s = math.exp(lowest(lambda at: _nll(v + math.exp(at), squares), top + math.log(LEAST), top))
    return 1.0, s if _nll(v + s, squares) < _nll(v, squares) else 0.0


def _both(v: Tensor, squares: Tensor) -> tuple[float, float]:
    """For each share of noise, the best common factor is known; so one number is left to be searched for."""
    size = v.mean()
    if size == 0:
        return 1.0, squares.mean().item()

    def mixed(share: float) -> tuple[float, Tensor]:
        shape = (1 - share) * v / size + share
        return (squares / shape).mean().item(), shape

    def loss(share: float) -> float:
        factor, shape = mixed(share)
        return _nll(factor * shape, squares)

    share = lowest(loss, 0.0, 1.0)
    factor, _ = mixed(share)
    return factor * (1 - share) / size.item(), factor * share


def _nll(variance: Tensor, squares: Tensor) -> float:
    if not (variance > 0).all():
        return math.inf
    return (variance.log() + squares / variance + math.log(2 * math.pi)).mean().item() / 2
