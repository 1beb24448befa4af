"""Drop elements, or whole slices along the axes outside `per`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dropscope import masks
from dropscope.functional.arguments import check_input, check_rate

__all__ = ["dropout"]


def dropout(
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    per: Sequence[int] | None = None,
    inverted: bool = True,
    save: str = "mask",
    sampler: str = "fast",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero elements of `x` at random and scale the others so that the mean stays.

    `y = x · mask / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`. What is dropped is 0 even where `x` is inf or nan.

    Args:
        x: floating-point tensor of any shape.
        p: probability of dropping, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        training: whether to drop; if not, `x` itself is returned.
        per: axes that get their own draw, negative ones counted from the end; None: every element.
            `(0, 1)` drops whole channels of each sample.
        inverted: False for the classical form, `x · mask` in training and `x · q` otherwise.
        save: what is kept for backward: `"mask"`, one byte per element (up to four below 16 k elements), or `"seed"`,
            nothing but one number, from which the mask is drawn again. In traced code the compiler decides.
        sampler: `"fast"`, or `"torch"` for the very numbers of `torch.nn.functional.dropout` (and, with
            `per=(0, 1)`, `dropout2d`) after the same `manual_seed`; a dropped inf or nan is then nan, as in torch,
            and ranks that are seeded alike draw alike.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], `per` does not name distinct axes of `x`, `save` or `sampler` is not one of
            those named, or torch's sampler is asked for what it has not.

    Example:
        >>> x = torch.ones(2, 3)
        >>> dropout(x, 0.5, training=False) is x
        True
        >>> dropout(x, 0.25, training=False, inverted=False)[0]
        tensor([0.7500, 0.7500, 0.7500])

    Reference:
        Srivastava et al., 2014, JMLR 15(56):1929-1958.
    """
    check_input(x)
    if save != "mask" or sampler != "fast":
        check_dropout(save, sampler, inverted, generator)
    if sampler == "torch":
        return _torchs_dropout(x, p, training, per)

    p = check_rate(p)
    if training:
        return masks.drop(x, p, per=per, scaled=inverted, save=save, generator=generator)
    return x if inverted else _times_q(x, p)


def check_dropout(save: str, sampler: str, inverted: bool, generator: torch.Generator | None) -> None:
    """Check how the mask is to be drawn and kept."""
    if save not in ("mask", "seed"):
        raise ValueError(f"`save` must be 'mask' or 'seed', got {save!r}.")
    if sampler not in ("fast", "torch"):
        raise ValueError(f"`sampler` must be 'fast' or 'torch', got {sampler!r}.")
    given = {"generator=": generator is not None, "save='seed'": save == "seed", "inverted=False": not inverted}
    if sampler == "torch" and any(given.values()):
        names = " or ".join(name for name in given if given[name])
        raise ValueError(f"sampler='torch' has no {names}, as torch's dropout has none: use sampler='fast'.")


def _torchs_dropout(x: Tensor, p: float | Tensor, training: bool, per: Sequence[int] | None) -> Tensor:
    p = masks.check_p(p.item() if isinstance(p, Tensor) else p)
    if not training:
        return x
    masks.refuse_seeds("sampler='torch'")
    if per is None:
        return torch.nn.functional.dropout(x, p)
    shape = masks.draw_shape(x.shape, per)
    if p == 0 or x.numel() == 0:
        return x
    if p == 1:
        return x * x.new_zeros(())
    return x * x.new_empty(shape).bernoulli_(1 - p).div_(1 - p)


def _times_q(x: Tensor, p: float | Tensor) -> Tensor:
    if isinstance(p, Tensor):
        return torch.where(p < 1, x * (1 - p), 0)
    if p in (0, 1):
        return x if p == 0 else torch.zeros_like(x)
    return x * (1 - p)
