"""The one fast sampler: random numbers that are compared with a threshold while the tensor is read.

A byte is greater than `k - 129` with probability `1 - k/256`, and `aten.threshold_backward(x, bytes, threshold)`
is `x` where the byte is greater, else 0: a true select (a dropped inf or nan becomes 0, also in the gradient),
made of operators that autograd differentiates to any order, and that keep one byte per element for backward.

The sizes below and in `noise` were measured on AMD. On Intel torch's own Bernoulli numbers come from MKL, in parallel,
so that less is gained: `benchmarks/masks.py` prints what a machine gains.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from dropscope.masks import rows, sources
from dropscope.masks.arguments import draw_shape
from dropscope.masks.draws import scale, uniform
from dropscope.masks.noise import FEW, draw, noise

__all__ = ["drop"]

# Up to this size the fixed cost of each operation shows.
SMALL = 1 << 14
# Elements treated at a time: the block's bytes and output stay in the cache between the two passes over them.
BLOCK = 1 << 19
select_above = torch.ops.aten.threshold_backward.default
select_into = torch.ops.aten.threshold_backward.grad_input


def drop(
    x: Tensor,
    p: float | Tensor,
    *,
    per: Sequence[int] | None = None,
    scaled: bool = True,
    save: str = "mask",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero elements of `x` with probability `p` and scale the others by `1 / (1 - p)`.

    Args:
        x: floating-point tensor of any shape.
        p: probability of dropping, already checked; a 0-dimensional tensor only in traced code.
        per: axes that get their own draw, negative ones counted from the end; None: every element.
        scaled: False to leave the others as they are.
        save: what is kept for backward: `"mask"`, one byte per element, or `"seed"`, from which the mask is drawn
            again. In traced code the compiler decides.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor like `x`. Kept elements equal `(x.double() * scale).to(x.dtype)` bitwise, where `scale` is
        `1 / (1 - p)`, rounded to float32 unless `x` is float64.

    Raises:
        ValueError: `per` names an axis that does not exist, or one axis twice.

    Example:
        >>> drop(torch.ones(1000), 0.5).unique().tolist()
        [0.0, 2.0]
    """
    shape = None if per is None else draw_shape(x.shape, per)
    if per is not None and rows.in_use() and all(axis % x.dim() for axis in per):
        rows.refuse_seeds("a draw that samples share")
    if isinstance(p, Tensor) or sources.is_traced(x):
        return _drop_traced(x, p, x.shape if shape is None else shape, scaled, generator)
    if p == 0:
        return x
    if p == 1:
        return x.masked_fill(x.new_ones((), dtype=torch.bool), 0)

    factor = 1 / (1 - p) if scaled else 1.0
    if x.numel() < FEW and x.is_cpu and _is_plain(per, save, generator):  # where the cost of every function call shows
        return select_above(x, torch.empty_like(x).bernoulli_(1 - p), 0) * _number(factor, x.dtype)
    like = x if shape is None else torch.empty_like(x[tuple(map(slice, shape))])  # keeps the order in memory
    if save == "seed":
        return _SelectAgain.apply(x, _redrawing(like, p, generator), factor)
    numbers, threshold = noise(like, p, generator)
    if x.numel() <= SMALL and x.is_cpu:
        return select_above(x, numbers, threshold) * _number(factor, x.dtype)
    if x.numel() <= BLOCK or not x.is_cpu:
        return select_above(x, numbers, threshold).mul_(factor)
    return _SelectByBlocks.apply(x, numbers, threshold, factor)


def _is_plain(per: Sequence[int] | None, save: str, generator: torch.Generator | None) -> bool:
    ours = per is not None or save == "seed" or generator is not None
    return not (ours or rows.in_use() or sources.rank() > 0)


def _drop_traced(
    x: Tensor, p: float | Tensor, shape: Sequence[int], scaled: bool, generator: torch.Generator | None
) -> Tensor:
    wide = torch.float64 if x.device.type == "cpu" else torch.float32
    dropped = uniform(shape, dtype=wide, device=x.device, generator=generator) >= 1 - p
    in_order_of_x = torch.zeros_like(x, dtype=torch.bool) | dropped  # compiled, y lies in memory as its mask does
    y = torch.where(in_order_of_x, 0, x)
    return y * scale(p) if scaled else y


@lru_cache(maxsize=256)
def _number(value: float, dtype: torch.dtype) -> Tensor:
    """A number as a tensor, which torch multiplies with faster than with a Python float; halves are scaled wide."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    with torch.inference_mode(False):
        return torch.tensor(value, dtype=wide, device="cpu")


def _select(x: Tensor, numbers: Tensor, threshold: int, factor: float) -> Tensor:
    """`x * factor` where the number exceeds the threshold, else 0, block by block."""
    alike = x.shape == numbers.shape and x.stride() == numbers.stride()
    if x.numel() <= BLOCK or not x.is_cpu or not alike:
        return select_above(x, numbers, threshold).mul_(factor)

    out = torch.empty_like(x)
    blocks = (tensor.as_strided((x.numel(),), (1,)).split(BLOCK) for tensor in (x, numbers, out))
    for source, draws, target in zip(*blocks, strict=True):
        select_into(source, draws, threshold, grad_input=target).mul_(factor)
    return out


class _SelectByBlocks(torch.autograd.Function):
    """`_select`, which is linear in x, so that its derivatives are itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, numbers: Tensor, threshold: int, factor: float) -> Tensor:
        ctx.save_for_backward(numbers)
        ctx.save_for_forward(numbers)
        ctx.constants = threshold, factor
        return _select(x, numbers, threshold, factor)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        if sources.is_batched():  # vmap knows no blocks
            (numbers,), (threshold, factor) = ctx.saved_tensors, ctx.constants
            return select_above(*upstream, numbers, threshold) * factor, None, None, None
        return _SelectByBlocks.apply(*upstream, *ctx.saved_tensors, *ctx.constants), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _SelectByBlocks.apply(tangents[0], *ctx.saved_tensors, *ctx.constants)


class _SelectAgain(torch.autograd.Function):
    """`_select` by numbers that are drawn again for every derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, redraw: Callable[[], tuple[Tensor, int]], factor: float) -> Tensor:
        ctx.constants = redraw, factor
        return _select(x, *redraw(), factor)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        if sources.is_batched():
            redraw, factor = ctx.constants
            with sources.outside_of_vmap():
                numbers, threshold = redraw()
            return select_above(*upstream, numbers, threshold) * factor, None, None
        return _SelectAgain.apply(*upstream, *ctx.constants), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _SelectAgain.apply(tangents[0], *ctx.constants)


def _redrawing(like: Tensor, p: float, generator: torch.Generator | None) -> Callable[[], tuple[Tensor, int]]:
    """Take one word, or the seeds of the samples, and give a function that draws the same from it at every call."""
    seeded = rows.current()
    if seeded is not None:
        kept = seeded.kept(like.shape, like.device, p)
        return lambda: (kept(), 0)
    order = torch.empty_like(like, device="meta").stride()
    return partial(_draw_from, sources.word(generator), p, like.shape, order, like.dtype, like.device)


def _draw_from(
    word: int, p: float, shape: Sequence[int], order: Sequence[int], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, int]:
    like = torch.empty_strided(shape, order, dtype=dtype, device=device)  # only its layout is read
    return draw(like, p, sources.seeded(word, device))
