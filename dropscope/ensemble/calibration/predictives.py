"""Predictive laws of a number: one normal law a row, or the mixture of what the passes say."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import torch
from torch import Tensor

from dropscope.ensemble.calibration.arguments import Numbers, moments_of, passes_of, variance_like
from dropscope.ensemble.prediction import Prediction

__all__ = ["Law", "law_of"]

# Halvings of the interval that holds a quantile.
HALVINGS = 50


@dataclass(frozen=True, eq=False)
class Normal:
    """`N(mean, std²)`."""

    mean: Tensor
    std: Tensor
    name: str = "normal"

    def cdf(self, y: Tensor) -> Tensor:
        """Give the chance of at most y."""
        return torch.special.ndtr((y - self.mean) / self.std)

    def quantile(self, q: float) -> Tensor:
        """Give the value that is exceeded with chance 1 - q."""
        return self.mean + self.std * NormalDist().inv_cdf(q)

    def log_density(self, y: Tensor) -> Tensor:
        """Give the log-density at y."""
        return _log_normal(y - self.mean, self.std)

    def crps(self, y: Tensor) -> Tensor:
        """Give `E|X - y| - E|X - X'| / 2`, here `σ (2 φ(z) + z (2 Φ(z) - 1) - 1/√π)`."""
        return _mean_distance(y - self.mean, self.std) - self.std / math.sqrt(math.pi)


@dataclass(frozen=True, eq=False)
class Mixture:
    """`1/T Σ_t N(f_t, std²)`: each pass with the data's noise around it."""

    passes: Tensor
    noise: Tensor
    name: str = "mixture"

    @property
    def mean(self) -> Tensor:
        """The mean of the passes."""
        return self.passes.mean(0)

    @property
    def std(self) -> Tensor:
        """Of passes and noise together."""
        return (self.passes.var(0) + self.noise**2).sqrt()

    def cdf(self, y: Tensor) -> Tensor:
        """Give the chance of at most y."""
        return torch.special.ndtr((y - self.passes) / self.noise).mean(0)

    def quantile(self, q: float) -> Tensor:
        """Give the value that is exceeded with chance 1 - q, between the least and the greatest of the passes' own."""
        own = self.passes + self.noise * NormalDist().inv_cdf(q)
        low, high = own.amin(0), own.amax(0)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = self.cdf(middle) < q
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def log_density(self, y: Tensor) -> Tensor:
        """Give `log mean_t N(y; f_t, std²)`."""
        return _log_normal(y - self.passes, self.noise).logsumexp(0) - math.log(len(self.passes))

    def crps(self, y: Tensor) -> Tensor:
        """Give `E|X - y| - E|X - X'| / 2`, the second mean over pairs of different passes, which has no bias in T."""
        n, both = len(self.passes), math.sqrt(2) * self.noise
        near = _mean_distance(y - self.passes, self.noise).mean(0)
        # Pass by pass: all pairs at once would need T² numbers a row.
        far = sum(_mean_distance(self.passes[t + 1 :] - self.passes[t], both).sum(0) for t in range(n - 1))
        return near - far / (n * (n - 1))


@dataclass(frozen=True, eq=False)
class Empirical:
    """The passes as they are, as equally likely values."""

    passes: Tensor
    name: str = "passes"

    @property
    def mean(self) -> Tensor:
        """The mean of the passes."""
        return self.passes.mean(0)

    @property
    def std(self) -> Tensor:
        """The standard deviation of the passes."""
        return self.passes.std(0)

    def cdf(self, y: Tensor) -> Tensor:
        """Give `(rank + 1/2) / (T + 1)`, which is uniform on its T + 1 values where y is one more draw."""
        rank = (self.passes < y).sum(0) + (self.passes == y).sum(0) / 2
        return (rank + 0.5) / (len(self.passes) + 1)

    def quantile(self, q: float) -> Tensor:
        """Give the quantile of the passes."""
        ordered = self.passes.sort(0).values
        place = min(max(q * (len(ordered) + 1) - 1, 0.0), len(ordered) - 1.0)
        return ordered[int(place)].lerp(ordered[math.ceil(place)], place - int(place))

    def log_density(self, y: Tensor) -> Tensor:
        """Give nan: single values have no density."""
        return torch.full_like(y, math.nan)

    def crps(self, y: Tensor) -> Tensor:
        """Give `mean_t |f_t - y| - Σ_{s<t} |f_s - f_t| / (T (T - 1))`: over pairs, which has no bias in T.

        Reference:
            Ferro, 2014, Quarterly Journal of the Royal Meteorological Society 140:1917-1923.
        """
        n = len(self.passes)
        # In order, the i-th value is the greater one of i pairs and the lesser of n - 1 - i.
        factors = 2 * torch.arange(n, device=y.device).to(y) - (n - 1)
        spread = torch.tensordot(factors, self.passes.sort(0).values, 1)
        return (self.passes - y).abs().mean(0) - spread / (n * (n - 1))


Law: TypeAlias = Normal | Mixture | Empirical


def law_of(prediction: Numbers, noise: float | Tensor, mixture: bool) -> Law:
    """Give the law that a prediction stands for, with noise of so much variance added.

    Raises:
        ValueError: a variance is 0, or the samples are needed and were not kept.
    """
    mean, variance = moments_of(prediction)
    added = variance_like(mean, noise, "noise")
    if not mixture:
        return Normal(mean, _positive(variance + added).sqrt())

    if isinstance(prediction, Prediction) and prediction.noise is not None:
        added = added + variance_like(mean, prediction.noise, "noise")
    return Mixture(passes_of(prediction), _positive(added).sqrt()) if added.any() else Empirical(passes_of(prediction))


def _positive(variance: Tensor) -> Tensor:
    if not (variance > 0).all():
        raise ValueError(
            "the predicted variance must be above 0 in every row: give the variance of the data's noise by `noise`, "
            "such as noise_variance(held_out, y)."
        )
    return variance


def _log_normal(off: Tensor, std: Tensor) -> Tensor:
    return -0.5 * (off / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)


def _mean_distance(off: Tensor, std: Tensor) -> Tensor:
    """Give `E|X|` for `X ~ N(off, std²)`: `2 σ φ(z) + off (2 Φ(z) - 1)`."""
    z = off / std
    density = torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return 2 * std * density + off * torch.erf(z / math.sqrt(2))
