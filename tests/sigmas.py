"""How far a sample lies from what is expected, in standard errors."""

import math

import torch
from torch import Tensor


def sigmas(values: Tensor, expected: float) -> float:
    """How many standard errors the mean of the values lies from the expected one."""
    values = values.double().flatten()
    error = values.std().item() / math.sqrt(values.numel())
    return abs(values.mean().item() - expected) / error


def rate_sigmas(kept: Tensor, p: float) -> float:
    """How many standard errors the share of dropped elements lies from p."""
    return abs((~kept).double().mean().item() - p) / math.sqrt(p * (1 - p) / kept.numel())


def neighbour_sigmas(kept: Tensor, p: float, lags: tuple[int, ...] = (1, 2, 3, 4, 8, 16, 64)) -> float:
    """How many standard errors the largest covariance between elements so far apart lies from 0; p not near 0 or 1."""
    centred = kept.double().flatten() - (1 - p)
    error = p * (1 - p) / math.sqrt(centred.numel())
    return max(abs((centred[:-lag] * centred[lag:]).mean().item()) / error for lag in lags)


def most_sigmas(found: Tensor, expected: Tensor, errors: Tensor) -> float:
    """How many of its standard errors the farthest element lies off; one that cannot err may be off by rounding."""
    rounding = torch.finfo(torch.float32).eps * expected.abs().max()
    return ((found - expected).abs() / errors.clamp(min=rounding)).max().item()
