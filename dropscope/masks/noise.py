"""Numbers that exceed a threshold with probability `1 - p`: bytes where there are many, else what costs least."""

import math

import torch
from torch import Tensor

from dropscope.masks import rows, sources

__all__ = ["draw", "noise"]

# How many draws it takes until random words save more than their fixed cost, in forward and backward, on AMD: bytes
# where 256 p is a whole number; else pairs of bytes or, in half types, which would round those, bytes whose few missing
# drops are added; bytes again from MANY on.
FEW = 3 << 9
FEW_PAIRS = 3 << 11
FEW_HALF = 1 << 13
MANY = 3 << 13
WIDE = (torch.float32, torch.float64)


def noise(like: Tensor, p: float, generator: torch.Generator | None) -> tuple[Tensor, int]:
    """Draw numbers that exceed the returned threshold with probability `1 - p`, for p strictly inside (0, 1).

    They have the shape of `like` and lie in memory in its order.
    """
    seeded = rows.current()
    if seeded is not None:
        return seeded.kept(like.shape, like.device, p)(), 0
    return draw(like, p, sources.stream(generator, like.device))


def draw(like: Tensor, p: float, generator: torch.Generator | None) -> tuple[Tensor, int]:
    """Draw as `noise` does, from this generator or torch's own stream and nothing else."""
    n, exact, half = like.numel(), (256 * p).is_integer(), like.dtype not in WIDE
    if n < (FEW if exact else FEW_HALF if half else FEW_PAIRS) or not like.is_cpu:
        # No conversion where it would show, one byte where memory counts.
        few = torch.empty_like(like) if like.is_cpu else torch.empty_like(like, dtype=torch.bool)
        return few.bernoulli_(1 - p, generator=generator), 0

    pairs = not (exact or half) and n < MANY and p >= 2**-16
    flat, threshold = (_pairs if pairs else _bytes)(n, p, generator)
    order = like if like.is_contiguous() else torch.empty_like(like, device="meta")
    return flat.as_strided(like.shape, order.stride()), threshold


def _bytes(n: int, p: float, generator: torch.Generator | None) -> tuple[Tensor, int]:
    """Draw at least n bytes of which each exceeds the returned threshold with probability `1 - p`."""
    k = int(256 * p)
    words = n // 8 + 1
    noise = _words(words, generator).view(torch.int8) if k else torch.zeros(8 * words, dtype=torch.int8, device="cpu")

    # The bytes alone drop k/256; what is missing from p falls on few elements, which get the lowest byte.
    remainder = (p - k / 256) / (1 - k / 256)
    if remainder > 0:
        noise.index_fill_(0, _successes(n, remainder, generator), -128)
    return noise, k - 129 if k else -128


def _pairs(n: int, p: float, generator: torch.Generator | None) -> tuple[Tensor, int]:
    """Draw at least n pairs of bytes of which each exceeds the returned threshold with probability `1 - p`."""
    k = int(65536 * p)
    words = _words(n // 4 + 2, generator)
    noise = words.view(torch.int16)

    # What is missing from p is less than 2⁻¹⁶: the last word says where its first drop falls, nearly always past the
    # end. A gap of g or more has probability (1 - remainder)^g.
    remainder = (65536 * p - k) / (65536 - k)
    if remainder > 0:
        share = (words[-1].item() + 2**63 + 0.5) / 2**64
        gap = math.log(share) / math.log1p(-remainder) if remainder < 1 else 0.0
        if gap < n:
            first = int(gap)
            noise[first] = -32768
            noise.index_fill_(0, _successes(n - first - 1, remainder, generator).add_(first + 1), -32768)
    return noise, k - 32769


def _words(count: int, generator: torch.Generator | None) -> Tensor:
    return torch.randint(-(2**63), 2**63 - 1, (count,), dtype=torch.int64, device="cpu", generator=generator)


def _successes(n: int, rate: float, generator: torch.Generator | None) -> Tensor:
    """Draw the positions of successes in n independent trials, whose gaps are geometric; any past the end are n."""
    batch = int(n * rate + 6 * math.sqrt(n * rate)) + 16
    stretches, last = [], -1.0
    while last < n:
        gaps = torch.empty(batch, dtype=torch.float64, device="cpu").geometric_(rate, generator=generator)
        stretches.append(gaps.cumsum_(0).add_(last))
        last = gaps[-1].item()
    ends = stretches[0] if len(stretches) == 1 else torch.cat(stretches)
    return ends.clamp_(max=n).long()
