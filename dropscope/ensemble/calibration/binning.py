"""Confidences in bins, with how often each bin is right and how often it would be if the confidences were true."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dropscope import masks

__all__ = ["Bins", "Grouping", "equal_mass", "equal_width", "redrawn_counts"]

# Numbers drawn at once.
CHUNK = 2**22


@dataclass(frozen=True, eq=False)
class Bins:
    """Bins of equal width, (bins,) each; empty ones hold nan.

    Attributes:
        edges: ends of the bins, (bins + 1,).
        count: rows.
        confidence: mean confidence.
        accuracy: how often the prediction is right; for one class, how often it is that class.
        error: standard error of the accuracy, `√(a (1 - a) / count)`.
        low: with `high`, the 95 % range of the accuracy if every confidence were true.
        high: its upper end.
    """

    edges: Tensor
    count: Tensor
    confidence: Tensor
    accuracy: Tensor
    error: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which rows are in which bin.

    Attributes:
        members: 1 where a row is in a bin, else 0; (rows, bins).
        confidence: sum of the confidences of each bin.
    """

    members: Tensor
    confidence: Tensor

    @property
    def count(self) -> Tensor:
        """Rows of each bin."""
        return self.members.sum(0)

    def errors(self, right: Tensor) -> tuple[Tensor, Tensor]:
        """Give the expected and the largest calibration error for numbers of right rows, (..., bins).

        `ECE = Σ_b |confidence_b - accuracy_b| n_b / n`, `MCE = max_b |confidence_b - accuracy_b|`.
        """
        off = (self.confidence - right).abs()
        return off.sum(-1) / len(self.members), (off / self.count.clamp(min=1)).amax(-1)


def equal_width(confidence: Tensor, bins: int) -> tuple[Grouping, Tensor]:
    """Group into bins of equal width, and give their edges; a bin holds its lower edge, the last one both."""
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)
    return _grouped(confidence, edges[1:-1], bins), edges


def equal_mass(confidence: Tensor, bins: int) -> Grouping:
    """Group into bins of as equal a number of rows as ties allow."""
    n = len(confidence)
    cuts = torch.arange(1, bins, device=confidence.device) * n // bins
    return _grouped(confidence, confidence.sort().values[cuts], bins)


def _grouped(confidence: Tensor, inner: Tensor, bins: int) -> Grouping:
    place = torch.bucketize(confidence.contiguous(), inner, right=True)
    members = torch.nn.functional.one_hot(place, bins).to(confidence)
    return Grouping(members, confidence @ members)


def redrawn_counts(confidence: Tensor, members: Tensor, n_resamples: int, generator: torch.Generator | None) -> Tensor:
    """Redraw which rows are right, each with the chance of its confidence, and count them by bin.

    Args:
        confidence: (rows,).
        members: (rows, bins).
        n_resamples: how often to redraw.
        generator: source of randomness.

    Returns:
        Counts, (n_resamples, bins).
    """
    step = max(1, CHUNK // len(confidence))
    counts = []
    for start in range(0, n_resamples, step):
        shape = (min(step, n_resamples - start), len(confidence))
        drawn = masks.uniform(shape, dtype=confidence.dtype, device=confidence.device, generator=generator)
        counts.append((drawn < confidence).to(confidence) @ members)
    return torch.cat(counts)
