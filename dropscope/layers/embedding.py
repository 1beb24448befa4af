"""Dropout of whole words from an embedding."""

import torch
from torch import Tensor, nn

from dropscope import functional
from dropscope.layers.base import DropoutLayer
from dropscope.layers.parameters import Wrapper

__all__ = ["EmbeddingDropout"]


class EmbeddingDropout(Wrapper, DropoutLayer):
    """Look words up in an embedding and, in training, zero some words wherever they stand in the batch.

    `y = W[ids] · mask[ids] / q`, `mask ~ Bernoulli(q)` once per word of the table and forward pass, `q = 1 - p`.
    The embedding is called as it is, so that its `padding_idx`, `max_norm`, `scale_grad_by_freq` and `sparse`
    gradients work, and no second table is built. Its weight stays free to be tied to an output layer.

    Args:
        module: the nn.Embedding, or any module with `num_embeddings` that maps each id to a vector.
        p: probability of dropping a word, in [0, 1].
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number, or `module` has no `num_embeddings` or is an nn.EmbeddingBag.
        ValueError: `p` is not in [0, 1].

    Example:
        >>> EmbeddingDropout(nn.Embedding(10, 3), 0.1)
        EmbeddingDropout(
          p=0.1
          (module): Embedding(10, 3)
        )

    Reference:
        Gal & Ghahramani, 2016, arXiv:1512.05287.
    """

    def __init__(self, module: nn.Module, p: float = 0.5, *, generator: torch.Generator | None = None) -> None:
        super().__init__(p, generator=generator)
        size = getattr(module, "num_embeddings", None)
        if not isinstance(size, int) or isinstance(module, nn.EmbeddingBag):
            raise TypeError(
                "EmbeddingDropout: `module` must be an embedding with `num_embeddings` that gives one vector per id, "
                f"got {type(module).__name__}."
            )
        self.module, self.num_embeddings = module, size

    def forward(self, ids: Tensor) -> Tensor:
        """Look up `ids`, in training mode with some words dropped."""
        return functional.embedding_dropout(
            self.module(ids),
            ids,
            self.rate,
            num_embeddings=self.num_embeddings,
            training=self.training,
            generator=self.source,
        )
