"""Layers that drop to the lower limit of SELU and keep the mean and the variance of their input."""

from typing import Any

import torch
from torch import Tensor

from dropscope import functional
from dropscope.functional.alpha import check_alpha
from dropscope.layers.base import DropoutLayer

__all__ = ["AlphaDropout", "FeatureAlphaDropout"]


class AlphaDropout(DropoutLayer):
    """Set elements to the lower limit of SELU in training, keeping mean and variance; the identity in eval.

    With `q = 1 - p`, `mask ~ Bernoulli(q)`, the limit `c = -λα ≈ -1.758` and inputs of mean `μ` and variance `v`,
    `y = μ + s·((x - c)·mask/q + c - μ)` where `s² = q v / (v + p (μ - c)²)`: again of mean `μ` and variance `v`.

    Args:
        p: probability of dropping, in [0, 1].
        mean: mean of the elements of the input.
        variance: variance of the elements of the input, above 0.
        sampler: `"fast"`, or `"torch"` for torch's own numbers after the same `manual_seed`: for mean 0 and
            variance 1 alone, a dropped inf or nan is then nan, and a new `p` is compiled anew.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p`, `mean` or `variance` is not a number.
        ValueError: `p` is not in [0, 1], `mean` is not finite, `variance` not positive, or torch's sampler is asked for
            what it has not.

    Example:
        >>> AlphaDropout(0.1, mean=0.5)
        AlphaDropout(p=0.1, mean=0.5)

    Reference:
        Klambauer et al., 2017, arXiv:1706.02515.
    """

    def __init__(
        self,
        p: float = 0.5,
        *,
        mean: float = 0.0,
        variance: float = 1.0,
        sampler: str = "fast",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p, generator=generator)
        check_alpha(mean, variance, sampler, generator, type(self).__name__)
        self.mean = mean
        self.variance = variance
        self.sampler = sampler

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of `x` in training mode, else return `x` itself."""
        return functional.alpha_dropout(x, **self._options())

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        defaults = {"mean": 0.0, "variance": 1.0, "sampler": "fast"}
        return {name: getattr(self, name) for name, value in defaults.items() if getattr(self, name) != value}

    def _options(self) -> dict[str, Any]:
        return {
            "p": self.p if self.sampler == "torch" else self.rate,
            "training": self.training,
            "mean": self.mean,
            "variance": self.variance,
            "sampler": self.sampler,
            "generator": self.source,
        }


class FeatureAlphaDropout(AlphaDropout):
    """Set whole channels to the lower limit of SELU in training, keeping mean and variance; the identity in eval.

    The formula of `AlphaDropout`, with one draw of the mask for each sample and channel of inputs (N, C, ...).

    Args:
        p: probability of dropping, in [0, 1].
        mean: mean of the elements of the input.
        variance: variance of the elements of the input, above 0.
        sampler: `"fast"`, or `"torch"` for torch's own numbers after the same `manual_seed`: for mean 0 and
            variance 1 alone, a dropped inf or nan is then nan, and a new `p` is compiled anew.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p`, `mean` or `variance` is not a number.
        ValueError: `p` is not in [0, 1], `mean` is not finite, `variance` not positive, or torch's sampler is asked for
            what it has not.

    Example:
        >>> FeatureAlphaDropout(0.1)
        FeatureAlphaDropout(p=0.1)

    Reference:
        Klambauer et al., 2017, arXiv:1706.02515.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop channels of `x` in training mode, else return `x` itself."""
        return functional.feature_alpha_dropout(x, **self._options())
