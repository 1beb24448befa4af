"""Layers that drop contiguous blocks of feature maps, at exactly the rate asked for."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from dropscope.functional import blocks
from dropscope.layers.base import DropoutLayer

__all__ = ["DropBlock1d", "DropBlock2d", "DropBlock3d"]


class _DropBlock(DropoutLayer):
    """The base of the three: `axes` is how many axes a block has."""

    axes: ClassVar[int]

    def __init__(
        self, p: float = 0.1, block_size: int | tuple[int, ...] = 7, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p, generator=generator)
        blocks.check_block_size(block_size, self.axes)
        self.block_size = block_size

    def forward(self, x: Tensor) -> Tensor:
        """Drop blocks of `x` in training mode, else return `x` itself."""
        return blocks.drop_block(
            x, self.rate, self.block_size, self.axes, training=self.training, generator=self.source
        )

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        return {} if self.block_size == 7 else {"block_size": self.block_size}


class DropBlock1d(_DropBlock):
    """Zero stretches of each channel of a sequence in training; the identity in eval.

    Each place where a whole stretch fits begins a dropped one with a probability that makes the expected share of
    dropped positions exactly `p`; what is left of a sample is scaled by `size / kept`. See `DropBlock2d`.

    Args:
        p: expected share of dropped positions, in [0, 1].
        block_size: length of a dropped stretch, clipped to the sequence.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1], or `block_size` is not positive.

    Example:
        >>> DropBlock1d(0.1, block_size=5)(torch.ones(2, 3, 50)).shape
        torch.Size([2, 3, 50])

    Reference:
        Ghiasi, Lin & Le, 2018, arXiv:1810.12890.
    """

    axes = 1


class DropBlock2d(_DropBlock):
    """Zero square blocks of each channel of a feature map in training, at exactly the rate asked for.

    Each place where a whole block fits begins a dropped block with probability γ, drawn anew per sample and channel;
    `y = x · mask · size / kept`, where a sample of `size` elements has `kept` left over all its channels. γ is solved
    so that the expected share of dropped pixels is `p`, whatever the map and the block, also where the block is even
    or larger than the map. In eval it is the identity.

    The rescaling gives each sample of an all-ones input the mean 1 unless all of the sample is dropped, which is then
    zero: `E[mean of y] = 1 - P(all dropped)`. No sample depends on another.

    Args:
        p: expected share of dropped pixels, in [0, 1].
        block_size: edge length of a block in pixels, or one per axis; clipped to the map.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1], or `block_size` is not positive.

    Example:
        >>> DropBlock2d(0.1, block_size=5)(torch.ones(2, 3, 14, 14)).shape
        torch.Size([2, 3, 14, 14])

    Reference:
        Ghiasi, Lin & Le, 2018, arXiv:1810.12890; its γ is an approximation.
    """

    axes = 2


class DropBlock3d(_DropBlock):
    """Zero cubes of each channel of a volume or video in training; the identity in eval.

    Each place where a whole block fits begins a dropped one with a probability that makes the expected share of
    dropped voxels exactly `p`; what is left of a sample is scaled by `size / kept`. See `DropBlock2d`.

    Args:
        p: expected share of dropped voxels, in [0, 1].
        block_size: edge length of a block in voxels, or one per axis; clipped to the map.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1], or `block_size` is not positive.

    Example:
        >>> DropBlock3d(0.1, block_size=(2, 5, 5))(torch.ones(2, 3, 4, 9, 9)).shape
        torch.Size([2, 3, 4, 9, 9])

    Reference:
        Ghiasi, Lin & Le, 2018, arXiv:1810.12890.
    """

    axes = 3
