"""Layers that multiply by continuous noise with the mean and variance of dropout."""

from typing import Any

import torch
from torch import Tensor

from dropscope import functional
from dropscope.layers.base import DropoutLayer
from dropscope.masks.arguments import check_axes

__all__ = ["GaussianDropout", "UniformDropout"]


class _NoiseLayer(DropoutLayer):
    """A layer whose factors are drawn along the axes `per`."""

    below_one = True

    def __init__(
        self, p: float = 0.5, *, per: tuple[int, ...] | None = None, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p, generator=generator)
        if per is not None:
            check_axes(per)
        self.per = per

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        return {} if self.per is None else {"per": self.per}


class GaussianDropout(_NoiseLayer):
    """Multiply by normal noise in training, with the mean and variance of Bernoulli dropout; the identity in eval.

    `y = x · noise`, `noise ~ N(1, p / q)`, `q = 1 - p`.

    Args:
        p: probability of dropping of the Bernoulli law that is matched, in [0, 1).
        per: axes that get their own draw, negative ones counted from the end; None: every element.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number, or `per` not a tuple of integers.
        ValueError: `p` is not in [0, 1), or `per` names one axis twice.

    Example:
        >>> GaussianDropout(0.2, per=(0, 1))
        GaussianDropout(p=0.2, per=(0, 1))

    Reference:
        Wang & Manning, 2013, ICML, PMLR 28(2):118-126; Srivastava et al., 2014, JMLR 15(56):1929-1958, section 10.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Multiply `x` by noise in training mode, else return `x` itself."""
        return functional.gaussian_dropout(x, self.rate, training=self.training, per=self.per, generator=self.source)


class UniformDropout(_NoiseLayer):
    """Multiply by uniform noise in training, with the mean and variance of Bernoulli dropout; the identity in eval.

    `y = x · noise`, `noise ~ U[1 - √(3p/q), 1 + √(3p/q)]`, `q = 1 - p`. The noise is never negative for `p ≤ 1/4`.

    Args:
        p: probability of dropping of the Bernoulli law that is matched, in [0, 1).
        per: axes that get their own draw, negative ones counted from the end; None: every element.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number, or `per` not a tuple of integers.
        ValueError: `p` is not in [0, 1), or `per` names one axis twice.

    Example:
        >>> UniformDropout(0.2)
        UniformDropout(p=0.2)

    Reference:
        Shen et al., 2018, IEEE TNNLS 29(9), "Continuous dropout".
    """

    def forward(self, x: Tensor) -> Tensor:
        """Multiply `x` by noise in training mode, else return `x` itself."""
        return functional.uniform_dropout(x, self.rate, training=self.training, per=self.per, generator=self.source)
