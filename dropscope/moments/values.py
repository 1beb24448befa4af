"""A tensor that is not known exactly: its mean, its variance and, on request, its covariances."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from dropscope.errors import UnsupportedModule

__all__ = ["Sources", "Uncertain", "total"]


class Sources:
    """Counts the independent random numbers, of mean 0 and variance 1, that one row has met so far."""

    def __init__(self) -> None:
        self.count = 0


@dataclass(frozen=True, eq=False)
class Uncertain:
    """Mean and variance of each element of a tensor whose axis 0 holds independent rows.

    With `factors`, element `i` is `mean_i + Σ_k factors_ki ε_k` with independent `ε_k`, so that covariances within a
    row are `Σ_k factors_ki factors_kj`; without them elements are treated as independent.

    Attributes:
        mean: means.
        variance: variances, of the same shape.
        factors: what each source adds to each element, (sources, *shape); None: covariances are not kept.
        sources: counts them; None: covariances are not kept.
    """

    mean: Tensor
    variance: Tensor
    factors: Tensor | None = None
    sources: Sources | None = None

    @classmethod
    def known(cls, x: Tensor, sources: Sources | None) -> "Uncertain":
        """Give a tensor that is known, whose covariances are kept from now on if there are `sources`."""
        return cls(x, torch.zeros_like(x), None if sources is None else x.new_zeros(0, *x.shape), sources)

    def mapped(
        self,
        linear: Callable[[Tensor], Tensor],
        *,
        affine: Callable[[Tensor], Tensor] | None = None,
        squared: Callable[[Tensor], Tensor] | None = None,
    ) -> "Uncertain":
        """Apply a linear map `A` that treats each row by itself.

        Args:
            linear: `x -> A x`.
            affine: `x -> A x + b`, for the mean; None: `linear`.
            squared: `v -> (A∘A) v`, for variances of independent elements; None: `linear`, as where elements are only
                picked, moved or copied.
        """
        mean = (affine or linear)(self.mean)
        if self.factors is None:
            return replace(self, mean=mean, variance=(squared or linear)(self.variance))
        return self._with(mean, torch.vmap(linear)(self.factors))

    def bent(self, mean: Tensor, variance: Tensor, slope: Tensor) -> "Uncertain":
        """Give an element-by-element function of this, of which these are the moments.

        Args:
            mean: mean of each element of the result.
            variance: its variance.
            slope: its covariance with the element it is made from, divided by that one's variance: for normal
                elements the mean of the derivative.
        """
        variance = variance.clamp(min=0)
        if self.factors is None:
            return replace(self, mean=mean, variance=variance)
        rest = (variance - slope.square() * self.variance).clamp(min=0)  # what is not linear in the sources
        return self._with(mean, slope * self.factors).noisier(rest.sqrt())

    def noisier(self, amplitude: Tensor, draws: Sequence[int] | None = None) -> "Uncertain":
        """Add independent noise of mean 0: `amplitude · ε`.

        Args:
            amplitude: standard deviation of what is added to each element, with a sign where elements share draws.
            draws: shape of the draws, which broadcasts to that of the elements; None: one for each.
        """
        if self.factors is None or self.sources is None:
            return replace(self, variance=self.variance + amplitude.square())
        inner = amplitude.shape[1:]
        shape = inner if draws is None else torch.Size(draws[1:])
        which = torch.arange(shape.numel(), device=amplitude.device).view(shape).expand(inner)
        each = torch.arange(shape.numel(), device=amplitude.device).view(-1, 1, *[1] * len(inner))
        added = torch.where(which == each, amplitude, 0)

        start, self.sources.count = self.sources.count, self.sources.count + len(added)
        return self._with(self.mean, torch.cat([_padded(self.factors, start), added]))

    def covariance(self) -> Tensor:
        """Give the covariances between the elements of each row, (rows, elements, elements)."""
        if self.factors is None:
            raise ValueError("covariances are not known: they were not kept.")
        flat = self.factors.flatten(2)
        return torch.einsum("knc,knd->ncd", flat, flat)

    def __getitem__(self, index: Any) -> "Uncertain":
        """Pick elements; the rows must stay on axis 0."""
        first, *others = index if isinstance(index, tuple) else (index,)
        spares_rows = first is Ellipsis and sum(each is not None for each in others) < self.mean.dim()
        if not (spares_rows or (isinstance(first, slice) and first == slice(None))):
            raise UnsupportedModule(f"an index must leave all rows, on axis 0, in their place, got {index!r}.")
        return self.mapped(lambda x: x[index])

    def _with(self, mean: Tensor, factors: Tensor) -> "Uncertain":
        return replace(self, mean=mean, variance=factors.square().sum(0), factors=factors)


def total(x: "Uncertain", y: "Uncertain | Tensor | float") -> "Uncertain":
    """Add what may be known or uncertain; without factors the two are taken as independent."""
    mean = x.mean + (y.mean if isinstance(y, Uncertain) else y)
    both = [x, y] if isinstance(y, Uncertain) else [x]
    if x.factors is None:
        variance = torch.stack([each.variance.expand_as(mean) for each in both]).sum(0)
        return replace(x, mean=mean, variance=variance)
    factors = [each.expand(-1, *mean.shape) for each in aligned_factors(both)]
    return x._with(mean, torch.stack(factors).sum(0))


def aligned_factors(values: Sequence[Uncertain]) -> list[Tensor]:
    """Give the factors of several tensors by the same sources: those that a tensor has not met are 0."""
    factors = [value.factors for value in values if value.factors is not None]
    most = max(map(len, factors))
    return [_padded(each, most) for each in factors]


def _padded(factors: Tensor, count: int) -> Tensor:
    return pad(factors, (0, 0) * (factors.dim() - 1) + (0, count - len(factors)))
