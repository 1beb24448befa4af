"""Layers that drop elements, or whole slices along the axes outside `per`."""

from typing import Any

import torch
from torch import Tensor

from dropscope import functional
from dropscope.layers.base import DropoutLayer
from dropscope.masks.arguments import check_axes

__all__ = ["Dropout"]


class Dropout(DropoutLayer):
    """Zero elements at random in training, and scale the others so that the mean stays; the identity in eval.

    `y = x · mask / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`. `p` can be set at any time, also of a compiled model,
    which is not compiled again for it.

    Args:
        p: probability of dropping, in [0, 1].
        per: axes that get their own draw, negative ones counted from the end; None: every element.
            `(0, 1)` is spatial dropout, `(0,)` drops whole samples, `(0, 2)` is locked over the time axis.
        generator: source of randomness; None: torch's own stream. Under activation checkpointing leave it None:
            torch rewinds only its own stream.

    Raises:
        TypeError: `p` is not a number, or `per` not a tuple of integers.
        ValueError: `p` is not in [0, 1], or `per` names one axis twice.

    Example:
        >>> Dropout(0.2, per=(0, 1))
        Dropout(p=0.2, per=(0, 1))

    Reference:
        Srivastava et al., 2014, JMLR 15(56):1929-1958; per channel: Tompson et al., 2015, arXiv:1411.4280.
    """

    def __init__(
        self, p: float = 0.5, *, per: tuple[int, ...] | None = None, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p, generator=generator)
        if per is not None:
            check_axes(per)
        self.per = per

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of `x` in training mode, else return `x` itself."""
        return functional.dropout(x, self.rate, training=self.training, per=self.per, generator=self.source)

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        return {} if self.per is None else {"per": self.per}
