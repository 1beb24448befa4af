"""Random numbers, and which elements are kept: every method that does not go through `drop` draws here."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dropscope.masks import counter, rows, sources
from dropscope.masks.noise import noise

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
    return _numbers(torch.rand, counter.uniform, shape, dtype, torch.device(device), generator)


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
    return _numbers(torch.randn, counter.normal, shape, dtype, torch.device(device), generator)


def keep(
    shape: Sequence[int],
    p: float | Tensor,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw which elements are kept, each with probability `q = 1 - p`.

    Args:
        shape: how many.
        p: probability of dropping, already checked; a 0-dimensional tensor only in traced code.
        dtype: type of the tensor that they are elements of: with it the draws are those of `drop`.
        device: where they are drawn.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A boolean tensor of that shape, true where kept.

    Example:
        >>> keep((1000,), 0.0).all().item()
        True
    """
    device = torch.device(device)
    if isinstance(p, Tensor) or sources.is_recorded():
        wide = torch.float64 if device.type == "cpu" else torch.float32
        return uniform(shape, dtype=wide, device=device, generator=generator) < 1 - p
    if p in (0, 1):
        return torch.full(shape, p == 0, device=device)
    numbers, threshold = noise(torch.empty(shape, dtype=dtype, device=device), p, generator)
    return numbers > threshold


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


def _numbers(
    draw: Callable[..., Tensor],
    count: Callable[..., Tensor],
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
    generator: torch.Generator | None,
) -> Tensor:
    """Draw by torch's function or, where a seed decides, by its twin in `counter`."""
    seeded = rows.current()
    if seeded is not None:
        return count(seeded.next_seeds(shape, device), shape, dtype)
    if not sources.is_recorded():
        return draw(shape, dtype=dtype, device=device, generator=sources.stream(generator, device))

    seed = sources.traced_seed(generator, device)
    if seed is not None:
        return count(seed, shape, dtype)
    options = {} if generator is None else {"generator": generator}  # Dynamo knows no generator=None
    return draw(shape, dtype=dtype, device=device, **options)
