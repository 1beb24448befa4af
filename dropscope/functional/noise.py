"""Multiply by continuous noise of mean one: nothing is dropped, but the variance is that of dropout."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dropscope import masks
from dropscope.functional.arguments import check_input, check_rate

__all__ = ["gaussian_dropout", "uniform_dropout"]


def gaussian_dropout(
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    per: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Multiply by normal noise with the mean and variance of Bernoulli dropout.

    `y = x · noise`, `noise ~ N(1, p / q)`, `q = 1 - p`.

    Args:
        x: floating-point tensor of any shape.
        p: probability of dropping of the Bernoulli law that is matched, in [0, 1). A 0-dimensional tensor changes
            without recompiling traced code.
        training: whether to multiply; if not, `x` itself is returned.
        per: axes that get their own draw, negative ones counted from the end; None: every element.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1), or `per` does not name distinct axes of `x`.

    Example:
        >>> gaussian_dropout(torch.ones(3), 0.0, training=True)
        tensor([1., 1., 1.])

    Reference:
        Wang & Manning, 2013, ICML, PMLR 28(2):118-126; Srivastava et al., 2014, JMLR 15(56):1929-1958, section 10.
    """
    check_input(x)
    p = check_rate(p, below_one=True)
    shape = masks.draw_shape(x.shape, per)
    if not training or _is_zero(p):
        return x

    noise = masks.normal(shape, dtype=_wide(x), device=x.device, generator=generator)
    return _multiply(x, 1 + noise * _deviation(p))


def uniform_dropout(
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    per: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Multiply by uniform noise with the mean and variance of Bernoulli dropout.

    `y = x · noise`, `noise ~ U[1 - √(3p/q), 1 + √(3p/q)]`, `q = 1 - p`. The noise is never negative for `p ≤ 1/4`.

    Args:
        x: floating-point tensor of any shape.
        p: probability of dropping of the Bernoulli law that is matched, in [0, 1). A 0-dimensional tensor changes
            without recompiling traced code.
        training: whether to multiply; if not, `x` itself is returned.
        per: axes that get their own draw, negative ones counted from the end; None: every element.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1), or `per` does not name distinct axes of `x`.

    Example:
        >>> y = uniform_dropout(torch.ones(1000), 0.25, training=True)
        >>> 0 <= y.min() and y.max() <= 2
        tensor(True)

    Reference:
        Shen et al., 2018, IEEE TNNLS 29(9), "Continuous dropout".
    """
    check_input(x)
    p = check_rate(p, below_one=True)
    shape = masks.draw_shape(x.shape, per)
    if not training or _is_zero(p):
        return x

    noise = masks.uniform(shape, dtype=_wide(x), device=x.device, generator=generator)
    return _multiply(x, 1 + (2 * noise - 1) * (3**0.5 * _deviation(p)))


def _is_zero(p: float | Tensor) -> bool:
    return not isinstance(p, Tensor) and p == 0


def _deviation(p: float | Tensor) -> float | Tensor:
    """Standard deviation of the factors of Bernoulli dropout."""
    return (p / (1 - p)) ** 0.5


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _multiply(x: Tensor, factors: Tensor) -> Tensor:
    """Multiply in the factors' type and round once."""
    return (x * factors).to(x.dtype)
