"""Layers that drop whole paths through a network: the branch of a residual block, or a layer of a stack."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dropscope import functional
from dropscope.layers.base import DropoutLayer
from dropscope.masks.arguments import check_axes

__all__ = ["DropPath", "LayerDrop", "StochasticDepth"]


class DropPath(DropoutLayer):
    """Zero the whole output of a branch in training, before it is added to the shortcut; the identity in eval.

    `y = x · mask / q`, `mask ~ Bernoulli(q)` of shape (N, 1, ..., 1), `q = 1 - p`. The branch has been computed by
    then; `StochasticDepth` saves that too.

    Args:
        p: probability of dropping, in [0, 1].
        per: axes that get their own draw: `(0,)` each sample, `()` one draw for the batch, as in the paper.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number, or `per` not a tuple of integers.
        ValueError: `p` is not in [0, 1], or `per` names one axis twice.

    Example:
        >>> DropPath(0.2, per=())
        DropPath(p=0.2, per=())

    Reference:
        Huang et al., 2016, arXiv:1603.09382; the name: Larsson et al., 2017, arXiv:1605.07648.
    """

    def __init__(
        self, p: float = 0.1, *, per: tuple[int, ...] = (0,), generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p, generator=generator)
        check_axes(per)
        self.per = per

    def forward(self, x: Tensor) -> Tensor:
        """Drop `x` for some samples in training mode, else return `x` itself."""
        return functional.drop_path(x, self.rate, training=self.training, per=self.per, generator=self.source)

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        return {} if self.per == (0,) else {"per": self.per}


class StochasticDepth(DropoutLayer):
    """Add a branch to the input for a random part of the samples in training, and compute it for these alone.

    `y = x + branch(x) · mask / q`, `mask ~ Bernoulli(q)` per sample, `q = 1 - p`: the law of `x +
    DropPath(p)(branch(x))` and, from the same seed and where the branch draws nothing, the same draws. About the part
    `p` of the branch's work and memory is saved. In eval it is `x + branch(x)`.

    Batch normalisation inside the branch sees the kept samples only: where it could see a single value a channel, as
    after a linear layer when one sample is kept, use DropPath, for torch refuses that. Where no sample is kept, the
    branch is not called and its parameters get zero gradients, as distributed training needs. Compiled code computes
    the branch for every sample and selects.

    Args:
        branch: what is added; keeps the shape of its input.
        p: probability of dropping, in [0, 1].
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number, or `branch` is no module.
        ValueError: `p` is not in [0, 1].

    Example:
        >>> block = StochasticDepth(nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8)), p=0.3)
        >>> block(torch.randn(16, 8)).shape
        torch.Size([16, 8])

    Reference:
        Huang et al., 2016, arXiv:1603.09382; skipping by index, with a fixed count: Oquab et al., 2023,
        arXiv:2304.07193.
    """

    def __init__(self, branch: nn.Module, p: float = 0.1, *, generator: torch.Generator | None = None) -> None:
        super().__init__(p, generator=generator)
        if not isinstance(branch, nn.Module):
            raise TypeError(f"StochasticDepth: `branch` must be an nn.Module, got {branch!r}.")
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """Give `x + branch(x)`, in training mode for some samples only."""
        return functional.stochastic_depth(self.branch, x, self.rate, training=self.training, generator=self.source)


class LayerDrop(DropoutLayer):
    """Send the input through layers in turn and, in training, skip each with probability `p` for the whole batch.

    `x ← layer(x)` or `x ← x`, drawn anew for each layer at each call, without rescaling; in eval all are applied.

    The parameters of a skipped layer get zero gradients, so that distributed training needs no
    `find_unused_parameters`. Where parameters are sharded over processes, all must skip the same layers: give each a
    `generator` with the same seed. Compiled code computes every layer and selects. A shallower network for inference
    is a slice: `LayerDrop(stack.layers[::2], p)`.

    Args:
        layers: what to apply; each keeps the shape of its input. If one returns a tuple, its first item goes on.
        p: probability of skipping a layer, in [0, 1].
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1].

    Example:
        >>> stack = LayerDrop([nn.TransformerEncoderLayer(8, 2, batch_first=True) for _ in range(6)], p=0.2)
        >>> stack(torch.randn(4, 10, 8), is_causal=False).shape
        torch.Size([4, 10, 8])

    Reference:
        Fan, Grave & Joulin, 2020, arXiv:1909.11556.
    """

    def __init__(
        self, layers: Iterable[nn.Module], p: float = 0.1, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p, generator=generator)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Apply the layers, passing the further arguments to each; in training mode skip some."""
        return functional.layer_drop(
            self.layers, x, self.rate, *args, training=self.training, generator=self.source, **kwargs
        )
