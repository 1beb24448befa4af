"""Drop whole tokens of a sequence, or whole heads of attention."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from dropscope import masks
from dropscope.functional.arguments import check_input, check_rate
from dropscope.masks.sampler import select_above

__all__ = ["head_dropout", "token_dropout"]


def token_dropout(
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    keep_first: int = 1,
    count: str = "bernoulli",
    return_indices: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Drop whole tokens of each sequence, but never the first ones.

    With `count="bernoulli"` each token is zeroed with probability `p` and the others are scaled by `1 / q`, where
    `q = 1 - p`: `y = x · mask / q`, one draw per sample and token; the first tokens stay as they are. With
    `count="fixed"` the same number `round(q · (T - keep_first))` of tokens, at least 1 if `p < 1`, is kept in every
    sequence, in their order and unscaled, and the others are taken out: the sequence becomes shorter.

    Args:
        x: floating-point tensor of shape (N, T, ...).
        p: probability of dropping, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code, but
            with `count="fixed"` it must be a number: it decides a shape.
        training: whether to drop; if not, `x` itself is returned.
        keep_first: number of tokens at the start, such as class tokens, that are always kept.
        count: "bernoulli" for independent draws, "fixed" for a fixed number of kept tokens.
        return_indices: whether to return as well which tokens were kept.
        generator: source of randomness; None: torch's own stream.

    Returns:
        The tokens: like `x`, or shorter along axis 1 with `count="fixed"`. With `return_indices` also what picks the
        kept tokens out of `x`: a boolean mask of shape (N, T), or with `count="fixed"` their positions, in order.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], `count` is unknown, or `keep_first` is not in [0, T].

    Example:
        >>> token_dropout(torch.ones(2, 9, 4), 0.5, training=True, count="fixed").shape
        torch.Size([2, 5, 4])

    Reference:
        Fixed count: Liu et al., 2023, "PatchDropout", arXiv:2208.07220.
    """
    check_input(x)
    p = check_rate(p)
    check_tokens(keep_first, count)
    if x.dim() < 2 or x.shape[1] < keep_first:
        raise ValueError(f"`x` must have shape (N, T, ...) with T >= {keep_first}, got {tuple(x.shape)}.")

    if not training:
        y, kept = x, _everything(x, count)
    elif count == "bernoulli":
        y, kept = _zero_tokens(x, p, keep_first, generator)
    elif isinstance(p, Tensor):
        raise TypeError('`p` must be a number in traced code with `count="fixed"`, got a tensor: it decides a shape.')
    else:
        y, kept = _take_tokens(x, p, keep_first, generator)
    return (y, kept) if return_indices else y


def head_dropout(
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    axis: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero whole attention heads of each sample and scale the others so that the mean stays.

    `y = x · mask / q`, `mask ~ Bernoulli(q)` per sample and head, `q = 1 - p`. The paper divides by the share of heads
    that happened to be kept instead, which is 0 / 0 where all are dropped.

    Args:
        x: what the heads give, floating-point: (N, heads, T, d), or any shape with the batch on its first axis.
        p: probability of dropping, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        training: whether to drop; if not, `x` itself is returned.
        axis: axis of the heads, negative ones counted from the end.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], or `x` has no such axis beside the batch.

    Example:
        >>> head_dropout(torch.ones(2, 8, 5, 4), 0.1, training=True).shape
        torch.Size([2, 8, 5, 4])

    Reference:
        Zhou et al., 2020, "Scheduled DropHead", arXiv:2004.13342.
    """
    check_input(x)
    p = check_rate(p)
    return masks.drop(x, p, per=(0, axis), generator=generator) if training else x


def check_tokens(keep_first: int, count: str) -> None:
    """Check what can be said of the arguments before a sequence is seen."""
    if type(keep_first) is not int or keep_first < 0:
        raise ValueError(f"`keep_first` must be an integer >= 0, got {keep_first!r}.")
    if count not in ("bernoulli", "fixed"):
        raise ValueError(f'`count` must be "bernoulli" or "fixed", got {count!r}.')


def _everything(x: Tensor, count: str) -> Tensor:
    if count == "bernoulli":
        return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    return torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])


def _zero_tokens(x: Tensor, p: float | Tensor, first: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Zero tokens after the first ones; also give the mask of those that stay."""
    head, body = x[:, :first], x[:, first:]
    kept = masks.keep(masks.draw_shape(body.shape, (0, 1)), p, device=x.device, generator=generator)
    body = select_above(body, kept.byte(), 0) * masks.scale(p)
    return torch.cat([head, body], 1), pad(kept.flatten(1), [first, 0], value=True)


def _take_tokens(x: Tensor, p: float, first: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Take tokens out after the first ones; also give the positions of those that stay."""
    body = x.shape[1] - first
    number = min(body, max(1, round((1 - p) * body))) if p < 1 else 0
    order = masks.uniform((x.shape[0], body), device=x.device, generator=generator)
    chosen = order.topk(number, dim=1).indices.sort(1).values + first
    kept = torch.cat([torch.arange(first, device=x.device).expand(x.shape[0], first), chosen], 1)
    columns = kept.view(*kept.shape, *[1] * (x.dim() - 2)).expand(*kept.shape, *x.shape[2:])
    return x.gather(1, columns), kept
