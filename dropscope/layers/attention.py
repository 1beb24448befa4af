"""Attention layers whose dropout obeys train and eval, and whose returned weights are probabilities."""

from numbers import Real
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from dropscope import functional
from dropscope.functional.arguments import check_input
from dropscope.layers.base import DropoutLayer

__all__ = ["MultiheadAttention", "ScaledDotProductAttention"]


class ScaledDotProductAttention(DropoutLayer):
    """Attend, and drop attention weights in training; plain attention in eval.

    `y = dropout(A, p) V`, `A = softmax(scale · Q Kᵀ + mask)`.

    Args:
        p: probability of dropping a weight, in [0, 1].
        scale: factor of the scores; None: `1 / √E`.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` or `scale` is not a number.
        ValueError: `p` is not in [0, 1].

    Example:
        >>> x = torch.randn(2, 8, 5, 16)
        >>> ScaledDotProductAttention(0.1)(x, x, x, is_causal=True).shape
        torch.Size([2, 8, 5, 16])

    Reference:
        Vaswani et al., 2017, arXiv:1706.03762.
    """

    def __init__(self, p: float = 0.0, *, scale: float | None = None, generator: torch.Generator | None = None) -> None:
        super().__init__(p, generator=generator)
        if not isinstance(scale, Real | None):
            raise TypeError(f"ScaledDotProductAttention: `scale` must be a number or None, got {scale!r}.")
        self.scale = scale

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        *,
        is_causal: bool = False,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Attend from `query` (..., L, E) to `key` (..., S, E) and `value` (..., S, V)."""
        return functional.scaled_dot_product_attention(
            query,
            key,
            value,
            self.rate,
            training=self.training,
            attn_mask=attn_mask,
            is_causal=is_causal,
            scale=self.scale,
            enable_gqa=enable_gqa,
            generator=self.source,
        )

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        return {} if self.scale is None else {"scale": self.scale}


class MultiheadAttention(nn.MultiheadAttention, DropoutLayer):
    """`nn.MultiheadAttention` whose returned weights are the probabilities before dropout, so that they sum to 1.

    `y = concat(dropout(A_h, p) V_h) W_o`, `A_h = softmax(Q_h K_hᵀ / √d + mask)`. It has the parameters, masks and
    outputs of `nn.MultiheadAttention`, whose `state_dict` it loads; `p` is also read and set as `dropout`. A query
    whose keys are all masked attends to nothing: zeros, and nothing is nan.

    Args:
        embed_dim: size of the queries and of the output.
        num_heads: number of heads, a divisor of `embed_dim`.
        p: probability of dropping a weight, in [0, 1].
        bias: whether the projections have biases.
        add_bias_kv: whether a learned key and value are appended.
        add_zero_attn: whether a key and value of zeros are appended.
        kdim: size of the keys; None: `embed_dim`.
        vdim: size of the values; None: `embed_dim`.
        batch_first: whether inputs are (N, L, E) instead of (L, N, E).
        device: where the parameters lie.
        dtype: type of the parameters.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1], or `embed_dim` is no multiple of `num_heads`.

    Example:
        >>> x = torch.randn(2, 5, 16)
        >>> y, weights = MultiheadAttention(16, 4, p=0.1, batch_first=True)(x, x, x)
        >>> bool(((weights.sum(-1) - 1).abs() < 1e-6).all())
        True

    Reference:
        Vaswani et al., 2017, arXiv:1706.03762.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        p: float = 0.0,
        *,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention: `embed_dim` must be a multiple of `num_heads`, got {embed_dim} and {num_heads}."
            )
        super().__init__(
            embed_dim, num_heads, p, bias, add_bias_kv, add_zero_attn, kdim, vdim, batch_first, device, dtype
        )
        self.generator = generator

    @property
    def dropout(self) -> float:
        """`p`, by the name that torch gives it."""
        return self.p

    @dropout.setter
    def dropout(self, value: float) -> None:
        self.p = value

    @classmethod
    def from_torch(cls, module: nn.MultiheadAttention, *, generator: torch.Generator | None = None) -> Self:
        """Make the twin of `module`, which holds the very same parameters and has its `dropout` as `p`.

        Args:
            module: the layer to take the place of.
            generator: source of randomness; None: torch's own stream.

        Example:
            >>> MultiheadAttention.from_torch(nn.MultiheadAttention(16, 4, dropout=0.1)).p
            0.1
        """
        twin = cls(
            module.embed_dim,
            module.num_heads,
            module.dropout,
            bias=module.in_proj_bias is not None,
            add_bias_kv=module.bias_k is not None,
            add_zero_attn=module.add_zero_attn,
            kdim=module.kdim,
            vdim=module.vdim,
            batch_first=module.batch_first,
            device="meta",
            generator=generator,
        )
        for name, parameter in module.named_parameters(recurse=False):
            setattr(twin, name, parameter)
        twin.out_proj = module.out_proj
        return twin.train(module.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from `query` to `key` and `value`, which may be without the batch axis.

        Args:
            query: (L, N, E), or (N, L, E) where `batch_first`, or (L, E).
            key: the same with S in place of L.
            value: the same with S in place of L.
            key_padding_mask: (N, S) or (S,); true where a key is ignored, or numbers added to the scores.
            need_weights: whether to return the weights; without them eval uses torch's fused kernels.
            attn_mask: (L, S) or (N · heads, L, S); true where attention is *not* allowed, or numbers to be added.
            average_attn_weights: whether to return the mean of the weights over the heads.
            is_causal: let query i see the keys 0 to i alone. With `attn_mask` it changes nothing: the mask is used.

        Returns:
            The output, shaped as `query`, and the weights (N, L, S), (N, heads, L, S) if not averaged, or None.
        """
        check_input(query, "query")
        batched, outer = query.dim() == 3, not self.batch_first
        if not batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
        elif outer:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))

        mask = self._joint_mask(query, key, key_padding_mask, attn_mask, is_causal)
        heads, weights = self._attend(self._project(query, key, value), mask, need_weights)
        y = self.out_proj(heads.transpose(1, 2).flatten(2))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)

        if not batched:
            return y.squeeze(0), weights if weights is None else weights.squeeze(0)
        return y.transpose(0, 1) if outer else y, weights

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        defaults = {"kdim": self.embed_dim, "vdim": self.embed_dim, "add_zero_attn": False, "batch_first": False}
        return {name: getattr(self, name) for name, value in defaults.items() if getattr(self, name) != value}

    def extra_repr(self) -> str:
        """Show the sizes, then the dropout."""
        return f"{self.embed_dim}, {self.num_heads}, {super().extra_repr()}"

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Give the queries, keys and values of every head: (N, heads, length, size)."""
        if self.in_proj_weight is None:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        else:
            weights = self.in_proj_weight.chunk(3)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = map(linear, (query, key, value), weights, biases)

        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(len(k), 1, -1)], 1)
            v = torch.cat([v, self.bias_v.expand(len(v), 1, -1)], 1)
        if self.add_zero_attn:
            k, v = pad(k, (0, 0, 0, 1)), pad(v, (0, 0, 0, 1))
        return [x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (q, k, v)]

    def _joint_mask(
        self,
        query: Tensor,
        key: Tensor,
        key_padding_mask: Tensor | None,
        attn_mask: Tensor | None,
        is_causal: bool,
    ) -> Tensor | None:
        """Add up the masks, of each kind, into one that is added to the scores."""
        if is_causal and attn_mask is None:
            attn_mask = query.new_ones(query.shape[1], key.shape[1], dtype=torch.bool).triu(1)
        if attn_mask is not None and attn_mask.dim() == 3:
            attn_mask = attn_mask.unflatten(0, (-1, self.num_heads))
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.reshape(-1, 1, 1, key.shape[1])

        given = [_as_scores(mask, query.dtype) for mask in (attn_mask, key_padding_mask) if mask is not None]
        appended = (self.bias_k is not None) + self.add_zero_attn
        return pad(torch.add(*given) if len(given) == 2 else given[0], (0, appended)) if given else None

    def _attend(self, projected: list[Tensor], mask: Tensor | None, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        query, key, value = projected
        if not need_weights:
            y = functional.scaled_dot_product_attention(
                query, key, value, self.rate, training=self.training, attn_mask=mask, generator=self.source
            )
            return y, None
        weights = functional.attention_weights(query, key, attn_mask=mask)
        kept = functional.dropout(weights, self.rate, training=self.training, generator=self.source)
        return kept @ value, weights


def _as_scores(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn a mask that is true where attention is not allowed into numbers to be added to the scores."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf)
