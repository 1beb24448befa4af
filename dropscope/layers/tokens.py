"""Layers that drop whole tokens of a sequence, or whole heads of attention."""

from typing import Any, Literal

import torch
from torch import Tensor

from dropscope import functional
from dropscope.functional.tokens import check_tokens
from dropscope.layers.base import DropoutLayer

__all__ = ["HeadDropout", "TokenDropout"]


class TokenDropout(DropoutLayer):
    """Drop whole tokens of each sequence in training, but never the first ones; the identity in eval.

    With `count="bernoulli"` each token is zeroed with probability `p` and the others are scaled by `1 / q`, where
    `q = 1 - p`: `y = x · mask / q`, one draw per sample and token; the first tokens stay as they are. With
    `count="fixed"` the same number `round(q · (T - keep_first))` of tokens, at least 1 if `p < 1`, is kept in every
    sequence, in their order and unscaled, and the others are taken out: the sequence becomes shorter, and what follows
    cheaper. A change of `p` then compiles again, for it changes a shape.

    Args:
        p: probability of dropping, in [0, 1].
        keep_first: number of tokens at the start, such as class tokens, that are always kept.
        count: "bernoulli" for independent draws, "fixed" for a fixed number of kept tokens.
        return_indices: whether to return as well which tokens were kept: a boolean mask of shape (N, T), or with
            `count="fixed"` their positions, in order.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1], `count` is unknown, or `keep_first` is negative.

    Example:
        >>> tokens, positions = TokenDropout(0.5, count="fixed", return_indices=True)(torch.ones(2, 9, 4))
        >>> tokens.shape, positions.shape
        (torch.Size([2, 5, 4]), torch.Size([2, 5]))

    Reference:
        Fixed count: Liu et al., 2023, "PatchDropout", arXiv:2208.07220.
    """

    def __init__(
        self,
        p: float = 0.1,
        *,
        keep_first: int = 1,
        count: Literal["bernoulli", "fixed"] = "bernoulli",
        return_indices: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p, generator=generator)
        check_tokens(keep_first, count)
        self.keep_first = keep_first
        self.count = count
        self.return_indices = return_indices

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Drop tokens of `x` in training mode, else return `x` itself."""
        return functional.token_dropout(
            x,
            self.p if self.count == "fixed" else self.rate,
            training=self.training,
            keep_first=self.keep_first,
            count=self.count,
            return_indices=self.return_indices,
            generator=self.source,
        )

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        defaults = {"keep_first": 1, "count": "bernoulli", "return_indices": False}
        return {name: getattr(self, name) for name, value in defaults.items() if getattr(self, name) != value}


class HeadDropout(DropoutLayer):
    """Zero whole attention heads of each sample in training and scale the others; the identity in eval.

    `y = x · mask / q`, `mask ~ Bernoulli(q)` per sample and head, `q = 1 - p`. The paper divides by the share of heads
    that happened to be kept instead, which is 0 / 0 where all are dropped.

    Args:
        p: probability of dropping, in [0, 1].
        axis: axis of the heads, negative ones counted from the end: 1 for (N, heads, T, d), 2 for (N, T, heads, d).
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1], or `axis` is not an integer or is the batch's, 0.

    Example:
        >>> HeadDropout(0.1, axis=2)
        HeadDropout(p=0.1, axis=2)

    Reference:
        Zhou et al., 2020, "Scheduled DropHead", arXiv:2004.13342.
    """

    def __init__(self, p: float = 0.1, *, axis: int = 1, generator: torch.Generator | None = None) -> None:
        super().__init__(p, generator=generator)
        if type(axis) is not int or axis == 0:
            raise ValueError(f"`axis` must be an integer other than 0, the batch, got {axis!r}.")
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Drop heads of `x` in training mode, else return `x` itself."""
        return functional.head_dropout(x, self.rate, training=self.training, axis=self.axis, generator=self.source)

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        return {} if self.axis == 1 else {"axis": self.axis}
