"""Dropout whose rates are learned: the concrete relaxation, and Gaussian noise on every weight."""

import math
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor
from torch.nn import functional as F

from dropscope import masks
from dropscope.functional.arguments import check_input
from dropscope.functional.weights import LinearMap, random_weight_moments, widened

__all__ = ["concrete_dropout", "log_alpha", "sample_normal", "variational_dropout", "variational_kl"]


def concrete_dropout(
    x: Tensor,
    logit_p: Tensor,
    *,
    training: bool,
    temperature: float = 0.1,
    per: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Multiply `x` by a smooth mask whose rate of dropping has a gradient.

    `y = x · (1 - z) / E[1 - z]`, `z = σ((logit p + logit u) / temperature)`, `u ~ U(0, 1)`. Dividing by the true mean
    of the mask, and not by `1 - p` as the paper does, keeps the mean of `x` at every temperature.

    Args:
        x: floating-point tensor of any shape.
        logit_p: `log(p / (1 - p))` of the rate, one number as a tensor; the gradient flows into it.
        training: whether to drop; if not, `x` itself is returned.
        temperature: how soft the mask is, above 0; small is nearly 0 or 1.
        per: axes that get their own draw, negative ones counted from the end; None: every element.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point.
        ValueError: `temperature` is not positive, `per` does not name distinct axes of `x`, or samples that share a
            draw have seeds of their own.

    Example:
        >>> x = torch.ones(2, 3)
        >>> concrete_dropout(x, torch.tensor(-2.0), training=False) is x
        True

    Reference:
        Gal, Hron & Kendall, 2017, arXiv:1705.07832.
    """
    check_input(x)
    check_positive(temperature, "`temperature`")
    if not training:
        return x
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    logit_q = -logit_p.to(wide)
    shape = masks.draw_shape(x.shape, per)
    if shape[:1] != x.shape[:1]:
        masks.refuse_seeds("concrete_dropout with one draw for the batch")
    u = masks.uniform(shape, dtype=wide, device=x.device, generator=generator)
    u = u.clamp(torch.finfo(wide).tiny, 1 - torch.finfo(wide).eps)
    mask = torch.sigmoid((logit_q - u.logit()) / temperature) / _mean_of_mask(logit_q, temperature)
    return (x * mask).to(x.dtype)


def check_positive(value: float, what: str) -> None:
    """Refuse what is no positive number, in words that begin with `what`."""
    if not isinstance(value, Real) or not 0 < value < math.inf:
        raise ValueError(f"{what} must be a positive number, got {value!r}.")


def _mean_of_mask(logit_q: Tensor, temperature: float) -> Tensor:
    """`E[σ((logit q - L) / temperature)]` for a logistic L, with its gradient.

    The same number is `E[σ(logit q - temperature · L)]`, whose integrand is smooth however cold the mask: on the
    whole line the trapezoidal rule then errs by about `exp(-2π · min(π, π / temperature) / step)`.
    """
    step = 0.5 / max(1.0, temperature)
    nodes = torch.arange(-40, 40 + step, step, dtype=logit_q.dtype, device=logit_q.device)
    weights = step * torch.sigmoid(nodes) * torch.sigmoid(-nodes)
    return (torch.sigmoid(logit_q.unsqueeze(-1) - temperature * nodes) * weights).sum(-1)


def sample_normal(mean: Tensor, variance: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Draw from `N(mean, variance)`, with gradients for both.

    Args:
        mean: means, of any shape.
        variance: variances of the same shape, at least 0.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor like `mean`; half types are drawn in float32 and rounded once.

    Example:
        >>> sample_normal(torch.ones(3), torch.zeros(3))
        tensor([1., 1., 1.])

    Reference:
        Kingma, Salimans & Welling, 2015, arXiv:1506.02557.
    """
    variance = widened(variance)
    deviation = variance.clamp(min=torch.finfo(variance.dtype).tiny).sqrt()  # √ has no gradient at 0
    noise = masks.normal(mean.shape, dtype=variance.dtype, device=mean.device, generator=generator)
    return (mean + deviation * noise).to(mean.dtype)


def variational_dropout(
    x: Tensor,
    weight: Tensor,
    log_variance: Tensor,
    bias: Tensor | None = None,
    *,
    training: bool,
    threshold: float = 3.0,
    linear: LinearMap = F.linear,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Apply a linear map whose every weight has Gaussian noise of its own, learned, variance.

    Training: `y ~ N(x Wᵀ + b, (x∘x) exp(log_variance)ᵀ)`, drawn for each output (local reparameterisation).
    Else: `y = x Ŵᵀ + b`, where `Ŵ` is `W` with 0 in place of the weights with `log α ≥ threshold`.

    Args:
        x: inputs of the map.
        weight: means of the weights, in the shape that `linear` takes.
        log_variance: logarithms of their variances, of the same shape.
        bias: added to every output, without noise; None: nothing.
        training: whether to draw.
        threshold: `log α` from which a weight counts as noise; 3 is a rate of dropping of 0.95.
        linear: the map, called as `linear(x, weight, bias)`; a convolution is `functools.partial(F.conv2d, padding=1)`.
        generator: source of randomness; None: torch's own stream.

    Returns:
        The outputs of the map.

    Raises:
        TypeError: `x` is not real floating-point.

    Example:
        >>> x, w = torch.ones(1, 2), torch.tensor([[1.0, 0.01]])
        >>> variational_dropout(x, w, torch.full((1, 2), -5.0), training=False)
        tensor([[1.]])

    Reference:
        Kingma, Salimans & Welling, 2015, arXiv:1506.02557; Molchanov, Ashukha & Vetrov, 2017, arXiv:1701.05369.
    """
    check_input(x)
    if training:
        return sample_normal(
            *random_weight_moments(x, weight, widened(log_variance).exp(), bias, linear=linear), generator=generator
        )
    return linear(x, weight.masked_fill(log_alpha(weight, log_variance) >= threshold, 0), bias)


def log_alpha(weight: Tensor, log_variance: Tensor) -> Tensor:
    """`log(σ² / w²)`, the noise of each weight relative to its size, finite where it is 0; in float32 or wider."""
    return widened(log_variance) - torch.log(widened(weight).square() + 1e-8)


def variational_kl(log_alpha: Tensor) -> Tensor:
    """Give the divergence of each noisy weight from the log-uniform prior, in nats.

    `KL ≈ k₁ σ(-(k₂ + k₃ log α)) + ½ log(1 + 1/α)`, up to the constant that makes it 0 at `α = ∞`. It falls as the
    noise grows: the weights that the data do not need are driven to `α = ∞`.

    Args:
        log_alpha: `log(σ² / w²)` of each weight; clipped to [-8, 8], where the approximation was fitted.

    Returns:
        One divergence per weight, at least 0; its error is below 0.01 nats.

    Example:
        >>> variational_kl(torch.tensor([-4.0, 0.0, 4.0]))
        tensor([2.6342, 0.4312, 0.0093])

    Reference:
        Molchanov, Ashukha & Vetrov, 2017, arXiv:1701.05369, equation 14.
    """
    clipped = log_alpha.clamp(-8, 8)
    return 0.63576 * torch.sigmoid(-(1.87320 + 1.48695 * clipped)) + 0.5 * F.softplus(-clipped)
