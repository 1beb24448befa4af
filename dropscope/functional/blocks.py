"""Drop contiguous blocks of feature maps, at exactly the rate asked for."""

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool1d, max_pool2d, max_pool3d, pad

from dropscope import masks
from dropscope.functional.arguments import check_input, check_rate
from dropscope.masks.sampler import select_above

__all__ = ["drop_block1d", "drop_block2d", "drop_block3d"]

POOLS = (max_pool1d, max_pool2d, max_pool3d)
NEWTON_STEPS = 10  # 8 reach rounding for every p, also 1, on maps of up to a million pixels


def drop_block1d(
    x: Tensor,
    p: float | Tensor,
    block_size: int | tuple[int] = 7,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero stretches of each channel of a sequence; see `drop_block2d`.

    Args:
        x: floating-point tensor of shape (N, C, L) or (C, L).
        p: expected share of dropped positions, in [0, 1]. A 0-dimensional tensor changes without recompiling
            traced code.
        block_size: length of a dropped stretch, clipped to L.
        training: whether to drop; if not, `x` itself is returned.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], `block_size` is not positive, or `x` has another number of axes.

    Example:
        >>> drop_block1d(torch.ones(2, 3, 50), 0.1, 5, training=True).shape
        torch.Size([2, 3, 50])

    Reference:
        Ghiasi, Lin & Le, 2018, arXiv:1810.12890.
    """
    return drop_block(x, p, block_size, 1, training=training, generator=generator)


def drop_block2d(
    x: Tensor,
    p: float | Tensor,
    block_size: int | tuple[int, int] = 7,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero square blocks of each channel of a feature map, at exactly the rate asked for.

    Each place where a whole block fits begins a dropped block with probability γ, drawn anew per sample and channel;
    `y = x · mask · size / kept`, where a sample of `size` elements has `kept` left over all its channels. A pixel that
    `k` places can cover is dropped with probability `1 - (1 - γ)^k`, and γ is solved so that this has mean `p` over
    the map, whatever the map and the block. Pixels near the border are covered by fewer places and dropped less often.

    The rescaling gives each sample of an all-ones input the mean 1 unless all of the sample is dropped, which is then
    zero: `E[mean of y] = 1 - P(all dropped)`. No sample depends on another.

    Args:
        x: floating-point tensor of shape (N, C, H, W) or (C, H, W).
        p: expected share of dropped pixels, in [0, 1]. A 0-dimensional tensor changes without recompiling
            traced code.
        block_size: edge length of a block in pixels, or one per axis; clipped to the map.
        training: whether to drop; if not, `x` itself is returned.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], `block_size` is not positive, or `x` has another number of axes.

    Example:
        >>> drop_block2d(torch.ones(2, 3, 14, 14), 0.1, training=True).shape
        torch.Size([2, 3, 14, 14])

    Reference:
        Ghiasi, Lin & Le, 2018, arXiv:1810.12890; its γ is an approximation.
    """
    return drop_block(x, p, block_size, 2, training=training, generator=generator)


def drop_block3d(
    x: Tensor,
    p: float | Tensor,
    block_size: int | tuple[int, int, int] = 7,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero cubes of each channel of a volume or video; see `drop_block2d`.

    Args:
        x: floating-point tensor of shape (N, C, D, H, W) or (C, D, H, W).
        p: expected share of dropped voxels, in [0, 1]. A 0-dimensional tensor changes without recompiling
            traced code.
        block_size: edge length of a block in voxels, or one per axis; clipped to the map.
        training: whether to drop; if not, `x` itself is returned.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], `block_size` is not positive, or `x` has another number of axes.

    Example:
        >>> drop_block3d(torch.ones(2, 3, 4, 9, 9), 0.1, (2, 5, 5), training=True).shape
        torch.Size([2, 3, 4, 9, 9])

    Reference:
        Ghiasi, Lin & Le, 2018, arXiv:1810.12890.
    """
    return drop_block(x, p, block_size, 3, training=training, generator=generator)


def check_block_size(block_size: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    """Give the length of a block along each of so many axes."""
    lengths = block_size if isinstance(block_size, tuple) else (block_size,) * axes
    if len(lengths) != axes or not all(type(length) is int and length > 0 for length in lengths):
        raise ValueError(f"`block_size` must be a positive integer or {axes} of them, got {block_size!r}.")
    return lengths


def drop_block(
    x: Tensor,
    p: float | Tensor,
    block_size: int | tuple[int, ...],
    axes: int,
    *,
    training: bool,
    generator: torch.Generator | None,
) -> Tensor:
    """Drop blocks along the last so many axes of `x`."""
    check_input(x)
    p = check_rate(p)
    lengths = check_block_size(block_size, axes)
    if x.dim() not in (axes + 1, axes + 2):
        raise ValueError(f"`x` must have {axes + 2} axes, or {axes + 1} without a batch, got {x.dim()}.")
    if not training or x.numel() == 0:
        return x

    samples = x if x.dim() == axes + 2 else x.unsqueeze(0)
    mask = _mask(samples, p, lengths, generator)
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    kept = mask.flatten(1).sum(1).to(wide).clamp(min=1)  # counted in integers: a half type cannot
    scale = (mask[0].numel() / kept).view(-1, *[1] * (axes + 1))

    mask = torch.zeros_like(samples, dtype=mask.dtype) + mask  # lies in memory as x does, and so will y
    return select_above(samples, mask, 0).mul_(scale).view_as(x)


def seed_rate(p: Any, sizes: Sequence[int], blocks: Sequence[int], xp: Any) -> Any:
    """Solve `mean over pixels of (1 - γ)^k = 1 - p` for γ, where `k` places of a block can cover a pixel.

    Newton's method on `log(mean of exp(k·t)) = log(q)`, `t = log(1 - γ)`: the left side is convex and increases from
    slope 1 (k of a corner), so that the steps from `t = 0` never overshoot. `xp` is numpy for a number and torch for a
    tensor, whose value is no part of the graph.
    """
    places = pixels = xp.ones(1, dtype=xp.float64)
    for size, block in zip(sizes, blocks, strict=True):
        # Along one axis, 1, 2, ... places cover two pixels each, from both ends, and `most` places those between.
        most = min(block, size - block + 1)
        k = xp.arange(1, most + 1)
        places = (places[:, None] * k).flatten()
        pixels = (pixels[:, None] * (2 + (k == most) * (size - 2 * most))).flatten()

    log_q = xp.log(xp.clip(1 - p, 1e-300, None))  # no infinity at p = 1, and still γ = 1
    t = 0 * log_q
    for _ in range(NEWTON_STEPS):
        terms = pixels * xp.exp(places * t)
        slope = (places * terms).sum() / terms.sum()
        t = t - (xp.log(terms.sum() / pixels.sum()) - log_q) / slope
    return -xp.expm1(t)


@lru_cache(maxsize=1024)
def _seed_rate(p: float, sizes: tuple[int, ...], blocks: tuple[int, ...]) -> float:
    return float(seed_rate(p, sizes, blocks, np))


def _mask(x: Tensor, p: float | Tensor, lengths: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Draw where `x`, of shape (N, C, *map), is kept: 1 there, else 0."""
    sizes = tuple(x.shape[2:])
    blocks = tuple(min(length, size) for length, size in zip(lengths, sizes, strict=True))
    compiled = isinstance(p, Tensor) or torch.compiler.is_compiling()
    if compiled:
        gamma = seed_rate(torch.as_tensor(p, dtype=torch.float64, device="cpu"), sizes, blocks, torch)
    else:
        gamma = _seed_rate(p, sizes, blocks)

    places = [size - block + 1 for size, block in zip(sizes, blocks, strict=True)]
    clear = masks.keep((*x.shape[:2], *places), gamma, device=x.device, generator=generator)
    return _kept_by_pooling(clear, blocks) if compiled else _kept(clear, sizes, blocks)


def _kept_by_pooling(clear: Tensor, blocks: tuple[int, ...]) -> Tensor:
    """Say which pixels lie in no block, given the places where none begins: in few operations, for a compiler."""
    margins = itertools.chain.from_iterable((block - 1, block - 1) for block in reversed(blocks))
    begins = pad((~clear).float(), list(margins))
    return POOLS[len(blocks) - 1](begins, blocks, stride=1) == 0


def _kept(clear: Tensor, sizes: tuple[int, ...], blocks: tuple[int, ...]) -> Tensor:
    """Say, in bytes, which pixels lie in no block, given the places where none begins.

    A pixel is kept where no block begins in the `block` pixels that end with it. In memory these are `stride` apart,
    also across the starts of rows and channels, for no block begins where it would not end in its own row.
    """
    ends = itertools.chain.from_iterable((0, block - 1) for block in reversed(blocks))
    clear = pad(clear.byte(), list(ends), value=1)
    strides = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    before = sum((block - 1) * stride for block, stride in zip(blocks, strides, strict=True))
    kept = pad(clear.flatten(), [before, 0], value=1)
    for block, stride in zip(blocks, strides, strict=True):
        kept = _all_of(kept, block, stride)
    return kept.view(clear.shape)


def _all_of(flags: Tensor, count: int, stride: int) -> Tensor:
    """Say of each flag whether it and the `count - 1` before it, `stride` apart, are 1; the first lack these."""
    reach = 1
    while reach < count:
        step = min(reach, count - reach)
        flags = flags[step * stride :] & flags[: -step * stride]
        reach += step
    return flags
