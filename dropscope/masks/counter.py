"""Numbers that are a pure function of a seed and a position: SplitMix64, in tensor arithmetic.

Whatever order or company they are drawn in, on whatever device, they stay the same. Slower than torch's own stream.

Reference:
    Steele, Lea & Flood, 2014, OOPSLA, "Fast splittable pseudorandom number generators".
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["mixed", "normal", "uniform"]

# The constants of SplitMix64, as the signed numbers that tensors hold.
GAMMA = 0x9E3779B97F4A7C15 - 2**64
FIRST = 0xBF58476D1CE4E5B9 - 2**64
SECOND = 0x94D049BB133111EB - 2**64
# How many random bits a number of each type takes, so that it never rounds to 1.
BITS = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}


def mixed(seeds: Tensor) -> Tensor:
    """Scramble 64-bit integers: one-to-one, and every bit of the result depends on every bit of the seed.

    Args:
        seeds: int64 tensor of any shape.

    Returns:
        An int64 tensor of that shape.

    Example:
        >>> mixed(torch.tensor([0, -7046029254386353131])).tolist()
        [0, -2152535657050944081]
    """
    seeds = (seeds ^ _shifted(seeds, 30)) * FIRST
    seeds = (seeds ^ _shifted(seeds, 27)) * SECOND
    return seeds ^ _shifted(seeds, 31)


def uniform(seeds: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Give numbers uniform on [0, 1), on the device of the seeds.

    Args:
        seeds: int64, 0-dimensional, or one seed for each row of `shape`.
        shape: how many.
        dtype: their floating-point type.

    Returns:
        A tensor of that shape.

    Example:
        >>> uniform(torch.tensor([3, 4, 3]), (3, 2), torch.float32)[[0, 2]].unique(dim=0).shape
        torch.Size([1, 2])
    """
    return _uniform(seeds, shape, dtype)


def normal(seeds: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Give numbers normal with mean 0 and variance 1 (Box & Muller), on the device of the seeds.

    Args:
        seeds: int64, 0-dimensional, or one seed for each row of `shape`.
        shape: how many.
        dtype: their floating-point type.

    Returns:
        A tensor of that shape.

    Example:
        >>> normal(torch.tensor(3), (2, 3), torch.float32).shape
        torch.Size([2, 3])
    """
    wide = torch.float64 if seeds.device.type == "cpu" else torch.float32
    radius = torch.sqrt(-2 * torch.log1p(-uniform(seeds, shape, wide)))
    angle = 2 * math.pi * uniform(mixed(seeds ^ GAMMA), shape, wide)
    return (radius * torch.cos(angle)).to(dtype)


# One operator, which a compiler takes as it is: the products below wrap around, which C++ does not allow. Inductor's
# C++ of them runs past the end of memory.
@torch.library.custom_op("dropscope::uniform", mutates_args=())
def _uniform(seeds: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    own = tuple(shape[seeds.dim() :])  # the axes whose positions share a seed
    positions = torch.arange(1, math.prod(own) + 1, device=seeds.device).reshape(own)
    words = mixed(mixed(seeds).reshape(seeds.shape + (1,) * len(own)) + positions * GAMMA)
    bits = BITS[dtype]
    return _shifted(words, 64 - bits).to(dtype) * 2.0**-bits


@_uniform.register_fake
def _(seeds: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return seeds.new_empty(shape, dtype=dtype)


@_uniform.register_vmap
def _(info: Any, axes: Any, seeds: Tensor, shape: Sequence[int], dtype: torch.dtype) -> tuple[Tensor, int]:
    return _uniform(seeds.movedim(axes[0], 0), (info.batch_size, *shape), dtype), 0


def _shifted(words: Tensor, bits: int) -> Tensor:
    return (words >> bits) & (2 ** (64 - bits) - 1)  # a right shift of signed integers repeats the sign
