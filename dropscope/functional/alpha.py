"""Drop to the lower limit of SELU and bring the mean and the variance back, as self-normalising networks need."""

from numbers import Real

import torch
from torch import Tensor

from dropscope import masks
from dropscope.functional.arguments import check_input, check_rate
from dropscope.functional.elementwise import check_dropout

__all__ = ["SELU_LIMIT", "alpha_dropout", "check_alpha", "feature_alpha_dropout"]

# SELU tends to -λα as its argument falls.
SELU_LIMIT = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717


def alpha_dropout(
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    mean: float = 0.0,
    variance: float = 1.0,
    sampler: str = "fast",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Set elements to the lower limit of SELU at random, and restore the mean and the variance of the input.

    With `q = 1 - p`, `mask ~ Bernoulli(q)`, the limit `c = -λα ≈ -1.758` and inputs of mean `μ` and variance `v`,
    `y = μ + s·((x - c)·mask/q + c - μ)` where `s² = q v / (v + p (μ - c)²)`: again of mean `μ` and variance `v`.
    At `p = 1` all is `μ`, the limit.

    Args:
        x: floating-point tensor of any shape.
        p: probability of dropping, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        training: whether to drop; if not, `x` itself is returned.
        mean: mean of the elements of `x`.
        variance: variance of the elements of `x`, above 0.
        sampler: `"fast"`, or `"torch"` for torch's own numbers after the same `manual_seed`: for mean 0 and
            variance 1 alone, and a dropped inf or nan is then nan.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p`, `mean` or `variance` not a number.
        ValueError: `p` is not in [0, 1], `mean` is not finite, `variance` not positive, or torch's sampler is asked for
            what it has not.

    Example:
        >>> alpha_dropout(torch.randn(5), 1.0, training=True, mean=0.5)
        tensor([0.5000, 0.5000, 0.5000, 0.5000, 0.5000])

    Reference:
        Klambauer et al., 2017, arXiv:1706.02515.
    """
    check_alpha(mean, variance, sampler, generator)
    if sampler == "torch":
        return torch.nn.functional.alpha_dropout(x, _known(x, p), training)
    return _drop_to_limit(x, p, None, training, mean, variance, generator)


def feature_alpha_dropout(
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    mean: float = 0.0,
    variance: float = 1.0,
    sampler: str = "fast",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Set whole channels to the lower limit of SELU at random, and restore the mean and the variance of the input.

    The formula of `alpha_dropout`, with one draw of the mask for each sample and channel.

    Args:
        x: floating-point tensor of shape (N, C, ...).
        p: probability of dropping, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        training: whether to drop; if not, `x` itself is returned.
        mean: mean of the elements of `x`.
        variance: variance of the elements of `x`, above 0.
        sampler: `"fast"`, or `"torch"` for torch's own numbers after the same `manual_seed`: for mean 0 and
            variance 1 alone, and a dropped inf or nan is then nan.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p`, `mean` or `variance` not a number.
        ValueError: `p` is not in [0, 1], `x` has fewer than two axes, `mean` is not finite, `variance` not positive,
            or torch's sampler is asked for what it has not.

    Example:
        >>> y = feature_alpha_dropout(torch.ones(2, 3, 50), 0.5, training=True)
        >>> torch.equal(y, y[..., :1].expand(2, 3, 50))
        True

    Reference:
        Klambauer et al., 2017, arXiv:1706.02515.
    """
    if x.dim() < 2:
        raise ValueError(f"`x` must have the axes (N, C, ...), got shape {tuple(x.shape)}.")
    check_alpha(mean, variance, sampler, generator)
    if sampler == "torch":
        return torch.nn.functional.feature_alpha_dropout(x, _known(x, p), training)
    return _drop_to_limit(x, p, (0, 1), training, mean, variance, generator)


def check_alpha(mean: float, variance: float, sampler: str, generator: torch.Generator | None, owner: str = "") -> None:
    """Check the moments that are to be kept, and the sampler."""
    prefix = f"{owner}: " if owner else ""
    for name, value in {"mean": mean, "variance": variance}.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{prefix}`{name}` must be a number, got {value!r}.")
    if not abs(mean) < float("inf"):
        raise ValueError(f"{prefix}`mean` must be a finite number, got {mean!r}.")
    if not 0 < variance < float("inf"):
        raise ValueError(f"{prefix}`variance` must be a positive number, got {variance!r}.")

    check_dropout("mask", sampler, True, generator)
    if sampler == "torch" and (mean, variance) != (0, 1):
        raise ValueError(
            f"{prefix}sampler='torch' keeps mean 0 and variance 1 alone, got {mean!r} and {variance!r}: "
            "use sampler='fast'."
        )


def _known(x: Tensor, p: float | Tensor) -> float:
    """Check what torch's own function is about to be given, and read `p`."""
    check_input(x)
    masks.refuse_seeds("sampler='torch'")
    return masks.check_p(p.item() if isinstance(p, Tensor) else p)


def _drop_to_limit(
    x: Tensor,
    p: float | Tensor,
    per: tuple[int, ...] | None,
    training: bool,
    mean: float,
    variance: float,
    generator: torch.Generator | None,
) -> Tensor:
    check_input(x)
    p = check_rate(p)
    if not training or (not isinstance(p, Tensor) and p == 0):
        return x

    wide = x if x.dtype == torch.float64 else x.float()  # half types are rounded once, at the end
    shift = mean - SELU_LIMIT
    spread = ((1 - p) * variance / (variance + p * shift**2)) ** 0.5
    dropped = masks.drop(wide - SELU_LIMIT, p, per=per, generator=generator)  # mean `shift`, variance `v / spread²`
    return ((dropped - shift) * spread + mean).to(x.dtype)
