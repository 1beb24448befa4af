"""Drop whole paths through a network: the branch of a residual block, or a layer of a stack."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from dropscope import masks
from dropscope.functional.arguments import check_input, check_rate
from dropscope.masks import rows

__all__ = ["drop_path", "layer_drop", "stochastic_depth"]


def drop_path(
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    per: Sequence[int] = (0,),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero the whole output of a branch, for each sample or for the batch, before it is added to the shortcut.

    `y = x · mask / q`, `mask ~ Bernoulli(q)` of shape (N, 1, ..., 1), `q = 1 - p`.

    Args:
        x: output of the branch, floating-point, the batch on its first axis.
        p: probability of dropping, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        training: whether to drop; if not, `x` itself is returned.
        per: axes that get their own draw: `(0,)` each sample, `()` one draw for the batch, as in the paper.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], `per` does not name distinct axes of `x`, or samples that share a draw have
            seeds of their own.

    Example:
        >>> drop_path(torch.ones(2, 3), 1.0, training=True)
        tensor([[0., 0., 0.],
                [0., 0., 0.]])

    Reference:
        Huang et al., 2016, arXiv:1603.09382; the name: Larsson et al., 2017, arXiv:1605.07648.
    """
    check_input(x)
    p = check_rate(p)
    if not training:
        return x
    if masks.draw_shape(x.shape, per)[:1] != x.shape[:1]:
        masks.refuse_seeds("drop_path with one draw for the batch")
    return masks.drop(x, p, per=per, generator=generator)


def stochastic_depth(
    branch: Callable[[Tensor], Tensor],
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Add a branch to `x` for a random part of the samples, and compute it for these alone.

    `y = x + branch(x) · mask / q`, `mask ~ Bernoulli(q)` per sample, `q = 1 - p`: the law of `drop_path`, with the same
    draws. Where a branch treats each sample by itself, so is the result; batch statistics inside it see only the kept
    samples. Inside `masks.per_sample` the branch draws from streams that the samples' seeds give to it alone.
    Parameters of a branch that no sample took get zero gradients, not None. Traced code computes the branch
    for every sample and selects, for the number of kept ones is no part of the graph.

    Args:
        branch: what is added; keeps the shape of `x`.
        x: floating-point tensor with the batch on its first axis.
        p: probability of dropping, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        training: whether to drop; if not, `x + branch(x)` is returned.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], or `x` has no axis.

    Example:
        >>> stochastic_depth(torch.square, torch.full((3,), 2.0), 0.5, training=False)
        tensor([6., 6., 6.])

    Reference:
        Huang et al., 2016, arXiv:1603.09382; skipping by index, with a fixed count: Oquab et al., 2023,
        arXiv:2304.07193.
    """
    check_input(x)
    p = check_rate(p)
    if not training:
        return x + branch(x)
    if isinstance(p, Tensor) or _is_symbolic(x):
        return x + masks.drop(branch(x), p, per=(0,), generator=generator)

    mask = masks.keep(masks.draw_shape(x.shape, (0,)), p, dtype=x.dtype, device=x.device, generator=generator)
    kept = mask.flatten().nonzero().squeeze(1)
    # Draws after the branch must be the same whether or not it ran: it gets seeds, drawn from those of the samples.
    seeded = rows.current()
    seeds = None if seeded is None else seeded.next_seeds(x.shape, x.device)[kept]
    if len(kept) == 0:
        return _skip(branch, x)
    with nullcontext() if seeds is None else rows.using(rows.Rows(seeds)):
        y = branch(x.index_select(0, kept))
    return x.index_add(0, kept, y.to(x.dtype) * masks.scale(p))


def layer_drop(
    layers: Iterable[Callable[..., Any]],
    x: Tensor,
    p: float | Tensor,
    *args: Any,
    training: bool,
    generator: torch.Generator | None = None,
    **kwargs: Any,
) -> Tensor:
    """Send `x` through layers in turn and skip each with probability `p`, for the whole batch.

    `x ← layer(x)` or `x ← x`, drawn anew for each layer at each call, without rescaling. Parameters of a skipped layer
    get zero gradients, not None. Traced code computes every layer and selects. Where layers change the type of `x`, as
    under autocast, the type is that which the last applied one gives.

    Args:
        layers: what to apply; each keeps the shape of `x`. If a layer returns a tuple, its first item is the new `x`.
        x: floating-point tensor.
        p: probability of skipping a layer, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        *args: passed to every layer after `x`.
        training: whether to skip; if not, every layer is applied.
        generator: source of randomness; None: torch's own stream.
        **kwargs: passed to every layer.

    Returns:
        What the last applied layer made of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], or in training seeds are given per sample.

    Example:
        >>> layer_drop([torch.exp, torch.log], torch.ones(2), 0.5, training=False)
        tensor([1., 1.])

    Reference:
        Fan, Grave & Joulin, 2020, arXiv:1909.11556.
    """
    check_input(x)
    p = check_rate(p)
    layers = list(layers)
    if not training:
        for layer in layers:
            x = _first(layer(x, *args, **kwargs))
        return x

    masks.refuse_seeds("layer_drop")
    kept = masks.keep((len(layers),), p, device=x.device, generator=generator)
    if isinstance(p, Tensor) or _is_symbolic(x):
        for layer, keep in zip(layers, kept, strict=True):
            x = torch.where(keep, _first(layer(x, *args, **kwargs)), x)
        return x
    for layer, keep in zip(layers, kept.tolist(), strict=True):
        x = _first(layer(x, *args, **kwargs)) if keep else _skip(layer, x)
    return x


def _is_symbolic(x: Tensor) -> bool:
    """Say whether what is drawn may not decide what is computed: in traced code, and where tensors hold no values."""
    return masks.is_traced(x) or x.is_meta


def _skip(branch: Callable[..., Any], x: Tensor) -> Tensor:
    """Give `x`, with a gradient of zero for the parameters of a branch that is not run.

    Distributed training waits for the gradient of every parameter, and optimizers take None as "leave it alone".
    """
    parameters = branch.parameters() if isinstance(branch, nn.Module) else ()
    return x + sum(parameter.reshape(-1)[:0].sum() for parameter in parameters)


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
