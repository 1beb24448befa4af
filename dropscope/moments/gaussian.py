"""Closed forms and quadrature for functions of normal variables: mean, variance and mean slope."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.special import log_ndtr, ndtr

__all__ = ["clipped", "elu_mean", "gelu_mean", "leaky", "smooth"]

NODES = 32


def clipped(mean: Tensor, variance: Tensor, low: float = 0.0, high: float = math.inf) -> tuple[Tensor, Tensor, Tensor]:
    """Give mean, variance and mean slope of `min(max(x, low), high)` for `x ~ N(mean, variance)`; without `high`: ReLU.

    Moments are taken about the clipped mean, so that nothing large cancels.

    Example:
        >>> mean, variance, slope = clipped(torch.zeros(1), torch.ones(1))
        >>> round(mean.item(), 4), slope.item()
        (0.3989, 0.5)

    Reference:
        Frey & Hinton, 1999, Neural Computation 11(1):193-213.
    """
    s, center = _root(variance), mean.clamp(low, high)
    m = mean - center
    inside, first, second = torch.ones_like(m), m.clone(), m.square() + variance
    for bound, sign in ((low, -1.0), (high, 1.0)):  # take off the tail beyond the bound, and put the bound there
        if math.isinf(bound):
            continue
        b = bound - center
        z = sign * (b - m) / s
        tail, density = ndtr(-z), _density(z)
        inside = inside - tail
        first = first - (m * tail + sign * s * density) + b * tail
        second = second - ((m.square() + variance) * tail + sign * s * (m + b) * density) + b.square() * tail
    return center + first, (second - first.square()).clamp(min=0), inside


def leaky(mean: Tensor, variance: Tensor, slope: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give mean, variance and mean slope of `x` above 0 and `slope · x` below, for `x ~ N(mean, variance)`.

    It is `slope · x + (1 - slope) · ReLU(x)`, and `Cov(x, ReLU(x)) = variance · Φ(mean / √variance)`.
    """
    relu_mean, relu_variance, inside = clipped(mean, variance)
    rest = 1 - slope
    bent = slope**2 * variance + rest**2 * relu_variance + 2 * slope * rest * variance * inside
    return slope * mean + rest * relu_mean, bent, slope + rest * inside


def elu_mean(mean: Tensor, variance: Tensor, alpha: float = 1.0) -> Tensor:
    """Give the mean of ELU for `x ~ N(mean, variance)`, exactly.

    `E = E ReLU(x) + α (exp(m + v/2) Φ(-(m + v)/√v) - Φ(-m/√v))`.
    """
    s = _root(variance)
    falling = torch.exp(mean + variance / 2 + log_ndtr(-(mean + variance) / s)) - ndtr(-mean / s)
    return clipped(mean, variance)[0] + alpha * falling


def gelu_mean(mean: Tensor, variance: Tensor) -> Tensor:
    """Give the mean of GELU, `x Φ(x)`, for `x ~ N(mean, variance)`, exactly.

    `E = m Φ(d) + v/√(1 + v) φ(d)`, `d = m/√(1 + v)`.
    """
    wider = (1 + variance).sqrt()
    return mean * ndtr(mean / wider) + variance / wider * _density(mean / wider)


def smooth(function: Callable[[Tensor], Tensor], mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give mean, variance and mean slope of any function of one normal variable, by Gauss-Hermite quadrature.

    The slope is `E[f(x) z] / √variance` for `x = mean + √variance · z` (Stein's lemma): no derivative is needed.

    Args:
        function: applied element by element.
        mean: means.
        variance: variances.
    """
    nodes, weights = (torch.tensor(each, dtype=mean.dtype, device=mean.device) for each in _hermite())
    s = variance.sqrt().unsqueeze(-1)
    values = function(mean.unsqueeze(-1) + s * nodes)
    average = values @ weights
    centred = values - average.unsqueeze(-1)
    slope = (centred * nodes) @ weights / _root(variance)
    return average, centred.square() @ weights, slope


@lru_cache
def _hermite() -> tuple[list[float], list[float]]:
    """Nodes and weights for the standard normal law."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return nodes.tolist(), (weights / weights.sum()).tolist()


def _density(z: Tensor) -> Tensor:
    return torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


def _root(variance: Tensor) -> Tensor:
    """Standard deviation, above 0 so that it can be divided by."""
    return variance.clamp(min=torch.finfo(variance.dtype).tiny).sqrt()
