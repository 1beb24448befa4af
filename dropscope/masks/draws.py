"""Random numbers, and which elements are kept: every method that does not go through `drop` draws here."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dropscope.masks import sampler

__all__ = ["keep", "normal", "scale", "uniform"]


def uniform(
    shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw numbers uniform on [0, 1).

    Args:
        shape: how many.
        dtype: their floating-point type.
        device: where they are drawn.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor of that shape.

    Example:
        >>> uniform((2, 3)).shape
        torch.Size([2, 3])
    """
    return torch.rand(shape, dtype=dtype, device=device, **_source(generator))


def normal(
    shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw numbers normal with mean 0 and variance 1.

    Args:
        shape: how many.
        dtype: their floating-point type.
        device: where they are drawn.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor of that shape.

    Example:
        >>> normal((2, 3)).shape
        torch.Size([2, 3])
    """
    return torch.randn(shape, dtype=dtype, device=device, **_source(generator))


def keep(
    shape: Sequence[int],
    p: float | Tensor,
    *,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw which elements are kept, each with probability `q = 1 - p`.

    Args:
        shape: how many.
        p: probability of dropping, already checked; a 0-dimensional tensor only in traced code.
        device: where they are drawn.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A boolean tensor of that shape, true where kept.

    Example:
        >>> keep((1000,), 0.0).all().item()
        True
    """
    if isinstance(p, Tensor):
        wide = torch.float64 if torch.device(device).type == "cpu" else torch.float32
        return uniform(shape, dtype=wide, device=device, generator=generator) < 1 - p
    return sampler.keep(shape, p, device=torch.device(device), generator=generator)


def scale(p: float | Tensor) -> float | Tensor:
    """Give the factor that restores the mean: `1 / (1 - p)`, and 0 where all is dropped.

    Args:
        p: probability of dropping, already checked; a 0-dimensional tensor only in traced code.

    Returns:
        A number, or a 0-dimensional tensor where `p` is one.

    Example:
        >>> scale(0.5), scale(1.0)
        (2.0, 0.0)
    """
    q = 1 - p
    if isinstance(q, Tensor):
        return torch.where(q > 0, 1 / q, 0.0)
    return 1 / q if q > 0 else 0.0


def _source(generator: torch.Generator | None) -> dict[str, Any]:
    return {} if generator is None else {"generator": generator}  # Dynamo knows no generator=None
