"""Layers that drop whole channels of sequences, images and volumes."""

from typing import Any

import torch
from torch import Tensor

from dropscope import functional
from dropscope.functional.elementwise import check_dropout
from dropscope.layers.base import DropoutLayer

__all__ = ["Dropout1d", "Dropout2d", "Dropout3d"]


class _ChannelDropout(DropoutLayer):
    """What the three ranks share: the choice of the sampler."""

    def __init__(self, p: float = 0.5, *, sampler: str = "fast", generator: torch.Generator | None = None) -> None:
        super().__init__(p, generator=generator)
        check_dropout("mask", sampler, True, generator)
        self.sampler = sampler

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        return {} if self.sampler == "fast" else {"sampler": self.sampler}

    def _options(self) -> dict[str, Any]:
        p = self.p if self.sampler == "torch" else self.rate
        return {"p": p, "training": self.training, "sampler": self.sampler, "generator": self.source}


class Dropout1d(_ChannelDropout):
    """Zero whole channels of sequences in training, and scale the others; the identity in eval.

    `y[n, c, :] = x[n, c, :] · mask[n, c] / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`, for inputs (N, C, L), or (C, L)
    for one sample.

    Args:
        p: probability of dropping, in [0, 1].
        sampler: `"fast"`, or `"torch"` for torch's own numbers after the same `manual_seed`; a dropped inf or
            nan is then nan, and a new `p` is compiled anew.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1], or `sampler` is unknown, or torch's and given a generator.

    Example:
        >>> Dropout1d(0.2)
        Dropout1d(p=0.2)

    Reference:
        Tompson et al., 2015, arXiv:1411.4280.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop channels of `x` in training mode, else return `x` itself."""
        return functional.dropout1d(x, **self._options())


class Dropout2d(_ChannelDropout):
    """Zero whole channels of images in training, and scale the others; the identity in eval.

    `y[n, c, :, :] = x[n, c, :, :] · mask[n, c] / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`, for inputs (N, C, H, W).
    Three axes are one sample (C, H, W); torch reads them as sequences (N, C, L) and warns: for those use `Dropout1d`.

    Args:
        p: probability of dropping, in [0, 1].
        sampler: `"fast"`, or `"torch"` for torch's own numbers after the same `manual_seed`; a dropped inf or
            nan is then nan, and a new `p` is compiled anew.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1], or `sampler` is unknown, or torch's and given a generator.

    Example:
        >>> Dropout2d(0.2)
        Dropout2d(p=0.2)

    Reference:
        Tompson et al., 2015, arXiv:1411.4280.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop channels of `x` in training mode, else return `x` itself."""
        return functional.dropout2d(x, **self._options())


class Dropout3d(_ChannelDropout):
    """Zero whole channels of volumes in training, and scale the others; the identity in eval.

    `y[n, c, :, :, :] = x[n, c, :, :, :] · mask[n, c] / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`, for inputs
    (N, C, D, H, W), or (C, D, H, W) for one sample.

    Args:
        p: probability of dropping, in [0, 1].
        sampler: `"fast"`, or `"torch"` for torch's own numbers after the same `manual_seed`; a dropped inf or
            nan is then nan, and a new `p` is compiled anew.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1], or `sampler` is unknown, or torch's and given a generator.

    Example:
        >>> Dropout3d(0.2)
        Dropout3d(p=0.2)

    Reference:
        Tompson et al., 2015, arXiv:1411.4280.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop channels of `x` in training mode, else return `x` itself."""
        return functional.dropout3d(x, **self._options())
