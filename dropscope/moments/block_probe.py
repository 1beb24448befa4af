"""The probe of DropBlock, whose draws are the places where blocks begin."""

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from dropscope.functional.blocks import check_block_size, seed_rate
from dropscope.functional.weights import widened
from dropscope.moments.noise import unsupported
from dropscope.moments.taps import Arguments, Taps

__all__ = ["drop_block"]

SPREAD = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def drop_block(module: Any, given: Arguments, output: Tensor, taps: Taps) -> Tensor:
    """Pixels that a block can cover share its draw, and all of a sample share the rescaling.

    A pixel that `k` places can cover is kept with probability `q_i = (1 - γ)^k`. Its mask is to first order
    `q_i + √(q_i (1 - q_i) / k) Σ ε` over these places, which has its exact variance, and `y = x · mask / mean mask`.
    """
    x: Tensor = given["x"]
    axes = module.axes
    if x.dim() != axes + 2 or module.p == 1:
        raise unsupported(module, given["path"], "can be tapped only with a batch axis and p < 1")
    sizes = x.shape[2:]
    blocks = [min(pair) for pair in zip(check_block_size(module.block_size, axes), sizes, strict=True)]
    places = [size - block + 1 for size, block in zip(sizes, blocks, strict=True)]
    wide = widened(x).detach()

    def covered(begins: Tensor) -> Tensor:
        """Sum up over the places that can cover a pixel."""
        return (
            SPREAD[axes - 1](begins.flatten(0, 1).unsqueeze(1), wide.new_ones(1, 1, *blocks))
            .unflatten(0, begins.shape[:2])
            .squeeze(2)
        )

    k = covered(wide.new_ones(1, 1, *places))
    q = (1 - float(seed_rate(module.p, sizes, blocks, np))) ** k
    epsilon = taps.leaf((*x.shape[:2], *places), 0, wide)
    moved = (q * (1 - q) / k).sqrt() * covered(epsilon)
    rescaled = moved - q / q.mean() * moved.flatten(1).mean(1).view(-1, *[1] * (axes + 1))
    return x * (q / q.mean()).to(x.dtype) + (wide * rescaled / q.mean()).to(x.dtype)
