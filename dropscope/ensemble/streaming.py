"""Means and moments over passes that arrive chunk by chunk: ten thousand passes need no more memory than ten."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ClassMeans", "MixedMoment", "Moments", "class_means", "wide"]

GROUPS = 10  # of passes: left out one at a time, they tell how far a number that is no mean may be off


def wide(values: Tensor) -> torch.dtype:
    """Give the type in which sums over passes are kept: float64 where the device has it."""
    return torch.float32 if values.device.type == "mps" else torch.float64


class Moments:
    """The mean of each output over the passes so far, and its second to fourth central moment.

    Chunks are merged by exact formulas, so that the result does not depend on how the passes were cut into chunks.

    Example:
        >>> moments = Moments()
        >>> moments.add(torch.tensor([[1.0], [2.0]]))
        >>> moments.add(torch.tensor([[6.0]]))
        >>> moments.mean.item(), moments.variance().item()
        (3.0, 7.0)

    Reference:
        Chan, Golub & LeVeque, 1983, The American Statistician 37(3):242-247; higher orders: Pébay, 2008, SAND2008-6212.
    """

    def __init__(self) -> None:
        self.weight = 0.0
        self.mean: Tensor = torch.zeros(())
        self.powers: tuple[Tensor | float, ...] = (0.0, 0.0, 0.0)  # sums of the deviations, squared, cubed, to the 4th

    def add(self, values: Tensor, weights: Tensor | None = None) -> None:
        """Add passes.

        Args:
            values: outputs of shape (passes, ...).
            weights: of each pass; None: 1.
        """
        values = values.to(wide(values))
        if len(values) == 1:
            self._merge(1.0 if weights is None else weights.item(), values[0], (0.0, 0.0, 0.0))
            return
        factor = None if weights is None else weights.to(values).view(-1, *[1] * (values.dim() - 1))
        total = float(len(values)) if weights is None else weights.sum().item()

        def summed(terms: Tensor) -> Tensor:
            return (terms if factor is None else terms * factor).sum(0)

        mean = summed(values) / total
        deviations = values - mean
        squares = deviations * deviations
        self._merge(total, mean, (summed(squares), summed(squares * deviations), summed(squares * squares)))

    def variance(self, *, unbiased: bool = True) -> Tensor:
        """Give the variance over the passes, divided by `T - 1` or, if not unbiased, by `T`."""
        return self.mean.new_zeros(self.mean.shape) + self.powers[0] / (self.weight - unbiased)

    def mean_error(self) -> Tensor:
        """Give the standard error of the mean."""
        return (self.variance() / self.weight).sqrt()

    def variance_error(self) -> Tensor:
        """Give the standard error of the variance: `Var(s²) = (μ₄ - σ⁴ (T - 3) / (T - 1)) / T`."""
        n = self.weight
        spread = (self.powers[2] / n - self.variance() ** 2 * (n - 3) / (n - 1)) / n
        return torch.as_tensor(spread).clamp(min=0).sqrt()

    def _merge(self, weight: float, mean: Tensor, powers: Sequence[Tensor | float]) -> None:
        if self.weight == 0:
            self.weight, self.mean, self.powers = weight, mean, tuple(powers)
            return
        a, b, n = self.weight, weight, self.weight + weight
        a2, a3, a4 = self.powers
        b2, b3, b4 = powers
        step = mean - self.mean
        square = step * step
        fourth = square * (square * (a * b * (a * a - a * b + b * b) / n**3) + (a * a * b2 + b * b * a2) * (6 / n**2))
        fourth += step * (a * b3 - b * a3) * (4 / n)
        third = step * (square * (a * b * (a - b) / n**2) + (a * b2 - b * a2) * (3 / n))
        self.powers = (a2 + b2 + square * (a * b / n), a3 + b3 + third, a4 + b4 + fourth)
        self.mean = self.mean + step * (b / n)
        self.weight = n


class MixedMoment:
    """The sum over the passes so far of the deviation of the noise times the squared deviation of the value.

    Merged as `Moments` are.
    """

    def __init__(self) -> None:
        self.weight = 0.0
        self.means: tuple[Tensor | float, Tensor | float] = (0.0, 0.0)
        self.sums: tuple[Tensor | float, ...] = (0.0, 0.0, 0.0)  # of squares, products, and products with squares

    def add(self, values: Tensor, noise: Tensor) -> None:
        """Add passes.

        Args:
            values: outputs of shape (passes, ...).
            noise: variances of their noise, which broadcast with them.
        """
        values, noise = values.to(wide(values)), noise.to(wide(noise))
        a, b = self.weight, float(len(values))
        n, (mean, noise_mean) = a + b, (values.mean(0), noise.mean(0))
        off, noise_off = values - mean, noise - noise_mean
        b2, b11, b12 = (terms.sum(0) for terms in (off * off, off * noise_off, off * off * noise_off))

        (a2, a11, a12), step, noise_step = self.sums, mean - self.means[0], noise_mean - self.means[1]
        mixed = step * (a * b11 - b * a11) * (2 / n) + noise_step * (a * b2 - b * a2) * (1 / n)
        mixed = mixed + step * step * noise_step * (a * b * (a - b) / n**2)
        part = a * b / n
        self.sums = a2 + b2 + step * step * part, a11 + b11 + step * noise_step * part, a12 + b12 + mixed
        self.means = self.means[0] + step * (b / n), self.means[1] + noise_step * (b / n)
        self.weight = n

    def covariance(self) -> Tensor:
        """Give the covariance of the mean noise with the variance of the values: `mean (n_t - n̄)(y_t - ȳ)² / T`."""
        return torch.as_tensor(self.sums[2]) / self.weight**2


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """What is remembered of class probabilities, for groups of passes.

    Attributes:
        weights: how many passes are in each group.
        probabilities: their sums, (groups, rows, ..., classes).
        entropies: sums of the entropies of each pass, (groups, rows, ...).
        votes: how often each class was the likeliest, (groups, rows, ..., classes).
    """

    weights: Tensor
    probabilities: Tensor
    entropies: Tensor
    votes: Tensor

    def __add__(self, other: "ClassMeans") -> "ClassMeans":
        return ClassMeans(*(mine + theirs for mine, theirs in zip(self.parts, other.parts, strict=True)))

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four sums."""
        return self.weights, self.probabilities, self.entropies, self.votes

    def after(self, others: Sequence["ClassMeans"]) -> "ClassMeans":
        """Put the rows of further batches after these."""
        joined = (torch.cat(parts, 1) for parts in zip(self.parts[1:], *(one.parts[1:] for one in others), strict=True))
        return ClassMeans(self.weights, *joined)


def class_means(probabilities: Tensor, passes: Sequence[int], weights: Tensor | None = None) -> ClassMeans:
    """Sum up the probabilities of some passes, (passes, rows, ..., classes), by groups."""
    groups = torch.tensor([number % GROUPS for number in passes], device=probabilities.device)
    counted = probabilities.new_ones(len(groups)) if weights is None else weights.to(probabilities)

    def summed(values: Tensor) -> Tensor:
        factor = counted.view(-1, *[1] * (values.dim() - 1))
        return values.new_zeros(GROUPS, *values.shape[1:]).index_add_(0, groups, values * factor)

    likeliest = probabilities.argmax(-1, keepdim=True)
    votes = torch.zeros_like(probabilities).scatter_(-1, likeliest, 1.0)
    entropies = torch.special.entr(probabilities).sum(-1)
    return ClassMeans(summed(torch.ones_like(counted)), *map(summed, (probabilities, entropies, votes)))
