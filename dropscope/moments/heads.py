"""The exact moments of a linear head behind one dropout site."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropscope import layers
from dropscope.functional.arguments import check_input
from dropscope.moments.noise import Noise, bernoulli_noise, noise_of
from dropscope.moments.result import Moments

__all__ = ["last_layer"]


def last_layer(
    features: Tensor,
    linear: nn.Linear | layers.DropConnect,
    dropout: float | nn.Module | None = None,
    *,
    covariance: bool = False,
) -> Moments:
    """Give the exact mean and variance of `linear(dropout(features))` over all masks, without drawing any.

    `mean = W E[y] + b`, `variance = Σ_g r (Σ_{i in g} W_i x_i)²` with the variance `r` of a draw (`p / q` for
    dropout) and the groups `g` of features that share one: single features, channels, or all. For DropConnect
    `variance = r Σ_i W_i² x_i²`, and its outputs are uncorrelated. No law of the features is assumed.

    Args:
        features: what the dropout gets, (rows, ..., features); of other shapes, such as (rows, channels, height,
            width), all axes but the first are flattened between dropout and head.
        linear: the head; nn.Linear, or DropConnect around one.
        dropout: a rate `p` of ordinary dropout, or a dropout layer of torch or dropscope, whatever its mode; None
            where `linear` is a DropConnect.
        covariance: whether to give the covariance between outputs too.

    Returns:
        Moments of shape (rows, ..., outputs), with `method="exact-linear"`; covariance (rows, ..., outputs, outputs).

    Raises:
        TypeError: `features` is not real floating-point.
        ValueError: `features` does not fit the head, or there is no dropout site, or more than one.
        UnsupportedModule: the dropout is no product of features and independent draws.

    Example:
        >>> head = nn.Linear(2, 1)
        >>> _ = head.weight.data.fill_(3.0)
        >>> last_layer(torch.ones(1, 2), head, 0.5).variance
        tensor([[18.]])

    Reference:
        Wang & Manning, 2013, ICML, PMLR 28(2):118-126, section 2; DropConnect: Wan et al., 2013, ICML.
    """
    check_input(features)
    with torch.no_grad():
        if isinstance(linear, layers.DropConnect):
            mean, variance, products = _weights_dropped(features, linear, dropout, covariance)
        elif dropout is None:
            raise ValueError("`dropout` must be a rate or a dropout layer where `linear` is not a DropConnect.")
        else:
            noise = noise_of(dropout, features) if isinstance(dropout, nn.Module) else bernoulli_noise(dropout)
            mean, variance, products = _features_dropped(features, linear, noise, covariance)
    return Moments(mean, variance, "exact-linear", "exact-linear", products)


def _weights_dropped(
    x: Tensor, layer: layers.DropConnect, dropout: float | nn.Module | None, covariance: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    if dropout is not None:
        raise ValueError("`dropout` must be None where `linear` is a DropConnect: two sites are not exact.")
    mean, variance = layer.moments(x)
    return mean, variance, variance.diag_embed() if covariance else None


def _features_dropped(
    x: Tensor, linear: nn.Linear, noise: Noise, covariance: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    start = _first_summed_axis(x, linear)
    mean = F.linear(noise.mean(x).flatten(start), linear.weight, linear.bias)
    amplitude = noise.amplitude(x)
    weight = linear.weight.to(amplitude.dtype).view(-1, *x.shape[start:])

    shares = [axis for axis in range(start, x.dim()) if noise.draws(x)[axis] == 1 < x.shape[axis]]
    if not shares and not covariance:  # each feature has its own draw: one product of matrices
        squares = F.linear(amplitude.square().flatten(start), weight.square().flatten(1))
        return mean, squares, None

    # One row for each draw: what it adds to every output.
    parts = torch.einsum("...gf,cgf->...gc", _grouped(amplitude, start, shares), _grouped(weight, 1, shares, start))
    return mean, parts.square().sum(-2), parts.mT @ parts if covariance else None


def _first_summed_axis(x: Tensor, linear: nn.Linear) -> int:
    """Find the axis from which on the head sums: the last, or 1 where the features are flattened first."""
    if x.shape[-1] == linear.in_features:
        return x.dim() - 1
    if x.shape[1:].numel() == linear.in_features:
        return 1
    raise ValueError(
        f"`features` must have {linear.in_features} features on its last axis, or on all but its first, "
        f"got shape {tuple(x.shape)}."
    )


def _grouped(values: Tensor, start: int, shares: list[int], first: int | None = None) -> Tensor:
    """Sort the summed axes of `values`, which begin at `start`, into draws and the features that share one."""
    first = start if first is None else first
    moved = [axis - first + start for axis in shares]
    own = [axis for axis in range(start, values.dim()) if axis not in moved]
    sorted_axes = values.permute(*range(start), *own, *moved)
    groups = torch.Size(values.shape[axis] for axis in own).numel()
    return sorted_axes.reshape(*values.shape[:start], groups, -1)
