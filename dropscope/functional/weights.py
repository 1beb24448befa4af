"""Dropout of weights: whole words of an embedding, and the moments of a linear map whose weights are dropped."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

from dropscope import masks
from dropscope.functional.arguments import check_input, check_rate

__all__ = ["drop_connect_moments", "embedding_dropout", "random_weight_moments"]

LinearMap = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # (x, weight, bias) -> y, linear in x and in weight


def embedding_dropout(
    vectors: Tensor,
    ids: Tensor,
    p: float | Tensor,
    *,
    num_embeddings: int,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero the vectors of whole words: a dropped word is gone from every place where it stands.

    `y[..., :] = vectors[..., :] · mask[ids] / q`, `mask ~ Bernoulli(q)^num_embeddings`, `q = 1 - p`. It equals
    looking the words up in a table whose rows are dropped, without the product of table and mask.

    Args:
        vectors: what the embedding gave for `ids`, shape (*ids, features).
        ids: the words, integers in [0, num_embeddings), of any shape.
        p: probability of dropping a word, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        num_embeddings: number of words in the table.
        training: whether to drop; if not, `vectors` itself is returned.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `vectors`.

    Raises:
        TypeError: `vectors` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], `vectors` does not hold one vector for each id, or seeds are
            given per sample.

    Example:
        >>> ids = torch.tensor([3, 1, 3])
        >>> y = embedding_dropout(torch.ones(3, 2), ids, 0.5, num_embeddings=4, training=True)
        >>> torch.equal(y[0], y[2])
        True

    Reference:
        Gal & Ghahramani, 2016, arXiv:1512.05287.
    """
    check_input(vectors, "vectors")
    p = check_rate(p)
    if vectors.shape[:-1] != ids.shape:
        raise ValueError(
            f"`vectors` must hold one vector for each of the ids, shape {(*ids.shape, 'features')}, "
            f"got {tuple(vectors.shape)}."
        )
    if not training:
        return vectors
    masks.refuse_seeds("embedding_dropout")
    kept = masks.keep((num_embeddings,), p, device=vectors.device, generator=generator)
    return vectors.masked_fill(~kept[ids].unsqueeze(-1), 0) * masks.scale(p)


def random_weight_moments(
    x: Tensor, weight: Tensor, weight_variance: Tensor, bias: Tensor | None = None, *, linear: LinearMap = F.linear
) -> tuple[Tensor, Tensor]:
    """Give the mean and variance of a linear map's outputs where its weights are independent and random.

    `mean = x Wᵀ + b`, `variance = (x∘x) Vᵀ` for weights of mean `W` and variance `V`.

    Args:
        x: inputs of the map.
        weight: means of the weights, in the shape that `linear` takes.
        weight_variance: their variances, of the same shape.
        bias: what is added to the mean; None: nothing.
        linear: the map, called as `linear(x, weight, bias)`; a convolution is `functools.partial(F.conv2d, padding=1)`.

    Returns:
        The mean and the variance of each output, the variance in float32 or wider: half types cannot hold squares.

    Example:
        >>> x, w = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]])
        >>> random_weight_moments(x, w, torch.ones(1, 2))
        (tensor([[5.]]), tensor([[5.]]))

    Reference:
        Wang & Manning, 2013, ICML, PMLR 28(2):118-126.
    """
    squares, mean = widened(x).square(), linear(x, weight, bias)
    with torch.autocast(x.device.type, enabled=False) if _is_autocast(x) else nullcontext():
        return mean, linear(squares, weight_variance.to(squares.dtype), None)


def widened(x: Tensor) -> Tensor:
    """Give `x` in float32 where it is of a half type."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _is_autocast(x: Tensor) -> bool:
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def drop_connect_moments(
    x: Tensor, weight: Tensor, p: float | Tensor, bias: Tensor | None = None, *, linear: LinearMap = F.linear
) -> tuple[Tensor, Tensor]:
    """Give the exact mean and variance, over all masks, of a linear map whose weights are dropped.

    `mean = x Wᵀ + b`, `variance = p/q · (x∘x)(W∘W)ᵀ`, `q = 1 - p`: every weight is dropped by itself, and the kept
    ones are scaled by `1 / q`.

    Args:
        x: inputs of the map.
        weight: its weights, in the shape that `linear` takes.
        p: probability of dropping a weight, in [0, 1).
        bias: its bias, which is not dropped; None: none.
        linear: the map, called as `linear(x, weight, bias)`; a convolution is `functools.partial(F.conv2d, padding=1)`.

    Returns:
        The mean and the variance of each output, the variance in float32 or wider.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1).

    Example:
        >>> x, w = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]])
        >>> drop_connect_moments(x, w, 0.5)
        (tensor([[5.]]), tensor([[13.]]))

    Reference:
        Wan et al., 2013, ICML, PMLR 28(3):1058-1066, whose masks are not scaled: mean `q Wx`, variance `pq`.
    """
    check_input(x)
    p = check_rate(p, below_one=True)
    return random_weight_moments(x, weight, widened(weight).square() * (p * masks.scale(p)), bias, linear=linear)
