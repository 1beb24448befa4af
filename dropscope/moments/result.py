"""The answer: mean and variance of a network's outputs over its dropout masks, and how they were found."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import torch
from torch import Tensor

from dropscope import masks
from dropscope.functional.weights import widened
from dropscope.results import Result

__all__ = ["Moments", "joined"]

DRAWN = 2**24  # logits at a time


@dataclass(frozen=True, eq=False)
class Moments(Result):
    """Mean and variance of each output over the dropout masks of a network.

    Attributes:
        mean: means, shaped like the network's output.
        variance: variances, of the same shape.
        method: how the variance was found: "exact-linear", "delta", "diagonal" or "full"; with "+sampled-softmax"
            after it where only logits were sampled.
        mean_method: how the mean was found: "exact-linear"; "diagonal" or "full", with the moments of every activation;
            "weight-average", one forward pass with every mask at its mean.
        covariance: covariance between the outputs of a row, (rows, outputs, outputs); None where it was not asked for.
        note: what should be known about the numbers, such as why the mean is a weight average; "" if nothing.
    """

    mean: Tensor
    variance: Tensor
    method: str
    mean_method: str
    covariance: Tensor | None = None
    note: str = ""

    @property
    def std(self) -> Tensor:
        """Standard deviation of each output."""
        return self.variance.sqrt()

    def softmax(self, n_samples: int = 1000, *, generator: torch.Generator | None = None) -> "Moments":
        """Give mean and variance of class probabilities, drawing logits from their normal law; the net is not run.

        `z ~ N(mean, covariance)`, `probabilities = softmax(z)`. The standard error of a mean is `std / √n_samples`.

        Args:
            n_samples: number of draws.
            generator: source of randomness; None: torch's own stream.

        Returns:
            Moments of the probabilities, shaped like the mean, whose last axis holds the classes.

        Raises:
            ValueError: the covariance between the logits is not there, or `n_samples` is below 2.

        Example:
            >>> logits = Moments(torch.zeros(1, 2), torch.ones(1, 2), "delta", "diagonal", torch.eye(2)[None])
            >>> logits.softmax(100).mean.sum().isclose(torch.tensor(1.0))
            tensor(True)
        """
        if self.covariance is None:
            raise ValueError("`softmax` needs the covariance between the logits: ask for it with covariance=True.")
        if not isinstance(n_samples, Integral) or n_samples < 2:
            raise ValueError(f"`n_samples` must be a whole number of at least 2, got {n_samples!r}.")
        means, laws = self.mean.reshape(self.covariance.shape[:-1]), self.covariance
        rows = max(1, DRAWN // (n_samples * means[0].numel()))  # at a time
        parts = [
            _softmax_moments(mean, law, n_samples, self.mean.shape[-1], generator)
            for mean, law in zip(means.split(rows), laws.split(rows), strict=True)
        ]
        mean, variance = (torch.cat(each).view(self.mean.shape) for each in zip(*parts, strict=True))
        return replace(self, mean=mean, variance=variance, covariance=None, method=f"{self.method}+sampled-softmax")

    def describe(self) -> str:
        """Say in one or two lines what was found, and how."""
        shape = " x ".join(map(str, self.mean.shape))
        spread = f"mean standard deviation {self.std.mean().item():.4g}" if self.mean.numel() else "empty"
        found = f"moments of {shape} outputs over dropout masks: {spread}"
        how = f"variance by {self.method}, mean by {self.mean_method}"
        return "\n".join([found, how, *([self.note] if self.note else [])])


def joined(parts: Sequence[Moments]) -> Moments:
    """Put the moments of some rows and those of the next ones together."""
    if len(parts) == 1:
        return parts[0]
    mean, variance = (torch.cat([getattr(part, name) for part in parts]) for name in ("mean", "variance"))
    products = [part.covariance for part in parts if part.covariance is not None]
    return replace(parts[0], mean=mean, variance=variance, covariance=torch.cat(products) if products else None)


def _softmax_moments(
    mean: Tensor, covariance: Tensor, n_samples: int, classes: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Sample normal logits, of which so many in turn belong together."""
    values, vectors = torch.linalg.eigh(widened(covariance))  # of a covariance without full rank too
    root = vectors * values.clamp(min=0).sqrt().unsqueeze(-2)
    draws = masks.normal((n_samples, *mean.shape), dtype=root.dtype, device=root.device, generator=generator)
    logits = mean + torch.einsum("...cd,s...d->s...c", root, draws)
    probabilities = logits.unflatten(-1, (-1, classes)).softmax(-1)
    variance, average = torch.var_mean(probabilities, 0)
    return average, variance
