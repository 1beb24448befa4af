"""The layer that drops the same features at every time step of a sequence."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from dropscope import functional
from dropscope.layers.base import DropoutLayer

__all__ = ["LockedDropout"]


class LockedDropout(DropoutLayer):
    """Drop features of sequences in training, the same ones at every time step; the identity in eval.

    `y[t, b, h] = x[t, b, h] · mask[b, h] / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`. It takes padded sequences, (time,
    batch, features) or with `batch_first` (batch, time, features), one sequence, (time, features), and packed ones.

    Args:
        p: probability of dropping, in [0, 1].
        batch_first: whether the batch is the first axis of padded sequences.
        generator: source of randomness; None: torch's own stream. Under activation checkpointing leave it None.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1].

    Example:
        >>> y = LockedDropout(0.5, batch_first=True)(torch.ones(2, 5, 4))
        >>> torch.equal(y[:, 0], y[:, 4])
        True

    Reference:
        Gal & Ghahramani, 2016, arXiv:1512.05287; as a layer: Merity, Keskar & Socher, 2018, arXiv:1708.02182.
    """

    def __init__(self, p: float = 0.5, *, batch_first: bool = False, generator: torch.Generator | None = None) -> None:
        super().__init__(p, generator=generator)
        self.batch_first = batch_first

    def forward(self, x: Tensor | PackedSequence) -> Tensor | PackedSequence:
        """Drop features of `x` in training mode, else return `x` itself."""
        return functional.locked_dropout(
            x, self.rate, training=self.training, batch_first=self.batch_first, generator=self.source
        )

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        return {"batch_first": True} if self.batch_first else {}
