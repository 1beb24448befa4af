"""The one fast sampler: random bytes that are compared with a threshold while the tensor is read.

A byte is greater than `k - 129` with probability `1 - k/256`, and `aten.threshold_backward(x, bytes, threshold)`
is `x` where the byte is greater, else 0: a true select (a dropped inf or nan becomes 0, also in the gradient),
made of operators that autograd differentiates to any order, and that keep one byte per element for backward.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dropscope.masks.arguments import draw_shape

__all__ = ["drop", "is_traced", "keep"]

# From this many draws on, the bytes save more than their fixed cost, which is higher where 256 p is no whole number.
SMALL = 1 << 14
SMALL_ON_GRID = 1 << 12
# Elements treated at a time: the block's bytes and output stay in the cache between the two passes over them.
BLOCK = 1 << 19
select_above = torch.ops.aten.threshold_backward


def is_traced(x: Tensor) -> bool:
    """Say whether operations on `x` are being recorded or transformed instead of simply run.

    True under torch.compile, export, make_fx and jit.trace, inside vmap and the other function transforms, and for
    subclasses of Tensor.

    Args:
        x: the tensor that is about to be used.

    Returns:
        Whether to avoid code that depends on values or on how tensors lie in memory.

    Example:
        >>> is_traced(torch.ones(2))
        False
    """
    return (
        torch.compiler.is_compiling()
        or type(x) not in (Tensor, torch.nn.Parameter)
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch.jit.is_tracing()
    )


def drop(
    x: Tensor, p: float | Tensor, *, per: Sequence[int] | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Zero elements of `x` with probability `p` and scale the others by `1 / (1 - p)`.

    Args:
        x: floating-point tensor of any shape.
        p: probability of dropping, already checked; a 0-dimensional tensor only in traced code.
        per: axes that get their own draw, negative ones counted from the end; None: every element.
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
    shape = draw_shape(x.shape, per)
    if isinstance(p, Tensor) or is_traced(x):
        return _drop_traced(x, p, shape, generator)
    if p == 0:
        return x
    if p == 1:
        return x.masked_fill(x.new_ones((), dtype=torch.bool), 0)

    noise, threshold = _noise(x if per is None else x.new_empty(shape), p, generator)
    if x.numel() <= BLOCK or x.device.type != "cpu":
        return select_above(x, noise, threshold).mul_(1 / (1 - p))
    return _SelectByBlocks.apply(x, noise, threshold, 1 / (1 - p))


def keep(shape: Sequence[int], p: float, *, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Draw which elements are kept: true with probability `1 - p`."""
    if p in (0, 1):
        return torch.full(shape, p == 0, device=device)
    noise, threshold = _noise(torch.empty(shape, device=device), p, generator)
    return noise > threshold


class _SelectByBlocks(torch.autograd.Function):
    """`x * scale` where the noise exceeds the threshold, else 0; linear in x, so its derivatives are itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, noise: Tensor, threshold: int, scale: float) -> Tensor:
        ctx.save_for_backward(noise)
        ctx.save_for_forward(noise)
        ctx.numbers = threshold, scale
        if x.stride() != noise.stride():
            return select_above(x, noise, threshold).mul_(scale)

        out = torch.empty_like(x)
        blocks = (tensor.as_strided((x.numel(),), (1,)).split(BLOCK) for tensor in (x, noise, out))
        for source, draws, target in zip(*blocks, strict=True):
            select_above.grad_input(source, draws, threshold, grad_input=target).mul_(scale)
        return out

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        return _SelectByBlocks.apply(*upstream, *ctx.saved_tensors, *ctx.numbers), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _SelectByBlocks.apply(tangents[0], *ctx.saved_tensors, *ctx.numbers)


def _drop_traced(x: Tensor, p: float | Tensor, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    q = 1 - p
    scale = torch.where(q > 0, 1 / q, 0.0) if isinstance(q, Tensor) else (1 / q if q > 0 else 0.0)
    dtype = torch.float64 if x.device.type == "cpu" else torch.float32
    source: dict[str, Any] = {} if generator is None else {"generator": generator}  # Dynamo knows no generator=None
    noise = torch.rand(shape, dtype=dtype, device=x.device, **source)
    return x.masked_fill(noise >= q, 0) * scale


def _noise(like: Tensor, p: float, generator: torch.Generator | None) -> tuple[Tensor, int]:
    """Draw numbers that exceed the returned threshold with probability `1 - p`, for p strictly inside (0, 1).

    They lie in memory in the order in which `like` does.
    """
    n = like.numel()
    enough = SMALL_ON_GRID if (256 * p).is_integer() else SMALL
    if n >= enough and like.device.type == "cpu":
        noise, threshold = _bytes(n, p, generator)
        return noise.as_strided(like.shape, torch.empty_like(like, device="meta").stride()), threshold
    few = like.dtype if n < SMALL else torch.bool  # no conversion where it would show, one byte where memory counts
    return torch.empty_like(like, dtype=few).bernoulli_(1 - p, generator=generator), 0


def _bytes(n: int, p: float, generator: torch.Generator | None) -> tuple[Tensor, int]:
    """Draw n bytes of which each exceeds the returned threshold with probability `1 - p`."""
    k = int(256 * p)
    words = n // 8 + 1
    if k == 0:
        noise = torch.zeros(8 * words, dtype=torch.int8)
    else:
        noise = torch.randint(-(2**63), 2**63 - 1, (words,), dtype=torch.int64, generator=generator).view(torch.int8)

    # The bytes alone drop k/256; what is missing from p falls on few elements, which get the lowest byte.
    remainder = (p - k / 256) / (1 - k / 256)
    if remainder > 0:
        noise.index_fill_(0, _successes(n, remainder, generator), -128)
    return noise[:n], k - 129 if k else -128


def _successes(n: int, rate: float, generator: torch.Generator | None) -> Tensor:
    """Draw the positions of successes in n independent trials, whose gaps are geometric; any past the end are n."""
    batch = int(n * rate + 6 * math.sqrt(n * rate)) + 16
    stretches, last = [], -1.0
    while last < n:
        gaps = torch.empty(batch, dtype=torch.float64).geometric_(rate, generator=generator)
        stretches.append(gaps.cumsum_(0).add_(last))
        last = gaps[-1].item()
    return torch.cat(stretches).clamp_(max=n).long()
