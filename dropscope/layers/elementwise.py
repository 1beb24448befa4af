"""Layers that drop elements, or whole slices along the axes outside `per`."""

from typing import Any

import torch
from torch import Tensor

from dropscope import functional
from dropscope.functional.elementwise import check_dropout
from dropscope.layers.base import DropoutLayer
from dropscope.masks.arguments import check_axes

__all__ = ["Dropout"]


class Dropout(DropoutLayer):
    """Zero elements at random in training, and scale the others so that the mean stays.

    `y = x · mask / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`. `p` can be set at any time, also of a compiled model,
    which is not compiled again for it (with `sampler="torch"` it is).

    Args:
        p: probability of dropping, in [0, 1].
        per: axes that get their own draw, negative ones counted from the end; None: every element.
            `(0, 1)` is spatial dropout, `(0,)` drops whole samples, `(0, 2)` is locked over the time axis.
        inverted: True is the identity in eval; False the classical form, `x · mask` in training and `x · q` in eval.
        save: what is kept for backward: `"mask"`, one byte per element (up to four below 16 k elements), or `"seed"`,
            nothing but one number, from which the mask is drawn again. In compiled code the compiler decides.
        sampler: `"fast"`, or `"torch"` for the very numbers of `torch.nn.Dropout` (and, with `per=(0, 1)`,
            `Dropout2d`) after the same `manual_seed`; a dropped inf or nan is then nan, as in torch, ranks that are
            seeded alike draw alike, and compiled code is compiled again for every `p`.
        generator: source of randomness; None: torch's own stream. Under activation checkpointing pass
            `context_fn=masks.rewinding(generator)`: torch rewinds only its own stream.

    Raises:
        TypeError: `p` is not a number, or `per` not a tuple of integers.
        ValueError: `p` is not in [0, 1], `per` names one axis twice, `save` or `sampler` is not one of those named,
            or torch's sampler is asked for what it has not.

    Example:
        >>> Dropout(0.2, per=(0, 1))
        Dropout(p=0.2, per=(0, 1))

    Reference:
        Srivastava et al., 2014, JMLR 15(56):1929-1958; per channel: Tompson et al., 2015, arXiv:1411.4280.
    """

    def __init__(
        self,
        p: float = 0.5,
        *,
        per: tuple[int, ...] | None = None,
        inverted: bool = True,
        save: str = "mask",
        sampler: str = "fast",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p, generator=generator)
        if per is not None:
            check_axes(per)
        check_dropout(save, sampler, inverted, generator)
        self.per = per
        self.inverted = inverted
        self.save = save
        self.sampler = sampler

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of `x` in training mode; else return `x` itself or, if not inverted, `x · q`."""
        return functional.dropout(
            x,
            self.p if self.sampler == "torch" else self.rate,
            training=self.training,
            per=self.per,
            inverted=self.inverted,
            save=self.save,
            sampler=self.sampler,
            generator=self.source,
        )

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        defaults = {"per": None, "inverted": True, "save": "mask", "sampler": "fast"}
        return {name: getattr(self, name) for name, value in defaults.items() if getattr(self, name) != value}
