"""Drop whole channels of sequences, images and volumes."""

import torch
from torch import Tensor

from dropscope import masks
from dropscope.functional.elementwise import dropout

__all__ = ["channel_axes", "dropout1d", "dropout2d", "dropout3d"]


def dropout1d(
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    sampler: str = "fast",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero whole channels of sequences at random and scale the others so that the mean stays.

    `y[n, c, :] = x[n, c, :] · mask[n, c] / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`.

    Args:
        x: floating-point tensor of shape (N, C, L), or (C, L) for one sample.
        p: probability of dropping, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        training: whether to drop; if not, `x` itself is returned.
        sampler: `"fast"`, or `"torch"` for torch's own numbers after the same `manual_seed`; a dropped inf
            or nan is then nan.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], `x` has another number of axes, or `sampler` is unknown, or torch's and given
            a generator.

    Example:
        >>> y = dropout1d(torch.ones(2, 3, 100), 0.5, training=True)
        >>> torch.equal(y, y[..., :1].expand(2, 3, 100))
        True

    Reference:
        Tompson et al., 2015, arXiv:1411.4280.
    """
    return _drop_channels(x, p, "L", training, sampler, generator)


def dropout2d(
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    sampler: str = "fast",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero whole channels of images at random and scale the others so that the mean stays.

    `y[n, c, :, :] = x[n, c, :, :] · mask[n, c] / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`. Three axes are one
    sample (C, H, W); torch reads them as sequences (N, C, L) and warns.

    Args:
        x: floating-point tensor of shape (N, C, H, W), or (C, H, W) for one sample.
        p: probability of dropping, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        training: whether to drop; if not, `x` itself is returned.
        sampler: `"fast"`, or `"torch"` for torch's own numbers after the same `manual_seed`; a dropped inf
            or nan is then nan.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], `x` has another number of axes, or `sampler` is unknown, or torch's and given
            a generator.

    Example:
        >>> y = dropout2d(torch.ones(2, 3, 8, 8), 0.5, training=True)
        >>> torch.equal(y, y[..., :1, :1].expand(2, 3, 8, 8))
        True

    Reference:
        Tompson et al., 2015, arXiv:1411.4280.
    """
    return _drop_channels(x, p, "HW", training, sampler, generator)


def dropout3d(
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    sampler: str = "fast",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero whole channels of volumes at random and scale the others so that the mean stays.

    `y[n, c, :, :, :] = x[n, c, :, :, :] · mask[n, c] / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`.

    Args:
        x: floating-point tensor of shape (N, C, D, H, W), or (C, D, H, W) for one sample.
        p: probability of dropping, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        training: whether to drop; if not, `x` itself is returned.
        sampler: `"fast"`, or `"torch"` for torch's own numbers after the same `manual_seed`; a dropped inf
            or nan is then nan.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], `x` has another number of axes, or `sampler` is unknown, or torch's and given
            a generator.

    Example:
        >>> dropout3d(torch.ones(3, 4, 4, 4), 0.5, training=True).shape
        torch.Size([3, 4, 4, 4])

    Reference:
        Tompson et al., 2015, arXiv:1411.4280.
    """
    return _drop_channels(x, p, "DHW", training, sampler, generator)


def channel_axes(x: Tensor, positions: str) -> tuple[int, ...]:
    """Find the axes that number the channels: sample and channel, or the channel alone for one sample.

    Args:
        x: the tensor that is about to be dropped from.
        positions: a letter for each axis after the channels.

    Raises:
        ValueError: `x` has neither one nor two axes before `positions`.
    """
    leading = x.dim() - len(positions)
    if leading not in (1, 2):
        inner = ", ".join(positions)
        raise ValueError(f"`x` must have the axes (N, C, {inner}) or (C, {inner}), got shape {tuple(x.shape)}.")
    return tuple(range(leading))


def _drop_channels(
    x: Tensor, p: float | Tensor, positions: str, training: bool, sampler: str, generator: torch.Generator | None
) -> Tensor:
    axes = channel_axes(x, positions)
    if training and len(axes) == 1:
        masks.refuse_seeds("one sample without a batch axis")
    return dropout(x, p, training=training, per=axes, sampler=sampler, generator=generator)
