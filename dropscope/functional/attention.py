"""Attention whose dropout obeys `training`, and its weights before dropout."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as fused_attention

from dropscope import masks
from dropscope.functional.arguments import check_input, check_rate

__all__ = ["attention_weights", "scaled_dot_product_attention"]


def attention_weights(
    query: Tensor,
    key: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Give the probabilities with which every query attends to the keys.

    `A = softmax(scale · Q Kᵀ + mask)`, over the keys; a query that may see no key has a row of zeros.

    Args:
        query: floating-point tensor (..., L, E).
        key: floating-point tensor (..., S, E).
        attn_mask: broadcasts to (..., L, S); boolean: true where attention is allowed; else added to the scores.
        is_causal: let query i see the keys 0 to i alone.
        scale: factor of the scores; None: `1 / √E`.
        enable_gqa: whether each head of `key` serves several heads of `query`, on the axis before the last two.

    Returns:
        Tensor (..., L, S) whose rows sum to 1, or 0 where everything is masked.

    Raises:
        TypeError: `query` is not real floating-point.
        ValueError: both `attn_mask` and `is_causal` are given.

    Example:
        >>> attention_weights(torch.zeros(2, 4), torch.zeros(2, 4), is_causal=True)
        tensor([[1.0000, 0.0000],
                [0.5000, 0.5000]])

    Reference:
        Vaswani et al., 2017, arXiv:1706.03762.
    """
    _check_arguments(query, attn_mask, is_causal)
    if enable_gqa:
        key = _repeat_heads(key, query)
    if is_causal:
        attn_mask = query.new_ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()

    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query * scale) @ key.transpose(-2, -1)
    return _softmax(scores, attn_mask).to(query.dtype)  # autocast takes softmax to float32


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    p: float | Tensor = 0.0,
    *,
    training: bool,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Attend, and in training drop attention weights at random.

    `y = dropout(A, p) V`, `A = softmax(scale · Q Kᵀ + mask)`. Where nothing is dropped torch's fused kernels are
    used; else `A` is kept for the backward pass, and one byte per weight for its mask.

    Args:
        query: floating-point tensor (..., L, E).
        key: floating-point tensor (..., S, E).
        value: floating-point tensor (..., S, V).
        p: probability of dropping a weight, in [0, 1]. A 0-dimensional tensor changes without recompiling traced
            code.
        training: whether to drop.
        attn_mask: broadcasts to (..., L, S); boolean: true where attention is allowed; else added to the scores.
        is_causal: let query i see the keys 0 to i alone.
        scale: factor of the scores; None: `1 / √E`.
        enable_gqa: whether each head of `key` and `value` serves several heads of `query`.
        generator: source of randomness; None: torch's own stream.

    Returns:
        Tensor (..., L, V); zeros for a query that may see no key.

    Raises:
        TypeError: `query` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], or both `attn_mask` and `is_causal` are given.

    Example:
        >>> x = torch.randn(2, 8, 5, 16)
        >>> scaled_dot_product_attention(x, x, x, 0.1, training=True).shape
        torch.Size([2, 8, 5, 16])

    Reference:
        Vaswani et al., 2017, arXiv:1706.03762.
    """
    _check_arguments(query, attn_mask, is_causal)
    p = check_rate(p)
    options: dict[str, Any] = {"attn_mask": attn_mask, "is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    if not training or (not isinstance(p, Tensor) and p == 0):
        return fused_attention(query, key, value, **options)

    weights = masks.drop(attention_weights(query, key, **options), p, generator=generator)
    return weights @ (_repeat_heads(value, query) if enable_gqa else value)


def _check_arguments(query: Tensor, attn_mask: Tensor | None, is_causal: bool) -> None:
    check_input(query, "query")
    if is_causal and attn_mask is not None:
        raise ValueError("`is_causal` must be False where `attn_mask` is given: put the causal rule into the mask.")


def _repeat_heads(x: Tensor, query: Tensor) -> Tensor:
    """Give every head of `query` its head of `x`."""
    return x.repeat_interleave(query.shape[-3] // x.shape[-3], -3)


def _softmax(scores: Tensor, attn_mask: Tensor | None) -> Tensor:
    """Softmax over the keys, zeros where all are masked."""
    if attn_mask is None:
        return scores.softmax(-1)

    masked = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    empty = (masked == -torch.inf).all(-1, keepdim=True)  # their softmax would be 0 / 0, in the gradient too
    return masked.masked_fill(empty, 0).softmax(-1).masked_fill(empty, 0)
