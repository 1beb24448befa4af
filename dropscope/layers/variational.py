"""Linear and convolutional layers in which every weight learns its own dropout, and most learn to be left out."""

from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropscope import functional
from dropscope.functional.learned import log_alpha
from dropscope.layers.base import DropoutLayer
from dropscope.layers.divergence import HasDivergence

__all__ = ["VariationalConv2d", "VariationalLinear"]


class VariationalLayer(HasDivergence, nn.Module):
    """What both layers share: a variance for every weight, the divergence, and how sparse the layer is."""

    weight: Any  # made by nn.Linear or nn.Conv2d
    bias: Any
    log_variance: nn.Parameter
    threshold: float

    def _learn_variance(self, threshold: float, generator: torch.Generator | None) -> None:
        if not isinstance(threshold, Real):
            raise TypeError(f"{type(self).__name__}: `threshold` must be a number, got {threshold!r}.")
        self.log_variance = nn.Parameter(torch.full_like(self.weight, -10.0))
        self.threshold = threshold
        self.generator = generator

    @property
    def log_alpha(self) -> Tensor:
        """`log(σ² / w²)` of each weight; as a rate of dropping, `p = α / (1 + α)`."""
        return log_alpha(self.weight, self.log_variance)

    generator: Any = DropoutLayer.generator  # the same two properties, without a p
    source: Any = DropoutLayer.source

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.generator = self._generator  # a copy has a generator of its own, and needs that one's ticket

    def forward(self, x: Tensor) -> Tensor:
        """Draw the outputs in training mode; else compute them from the weights that are not noise."""
        return functional.variational_dropout(
            x,
            self.weight,
            self.log_variance,
            self.bias,
            training=self.training,
            threshold=self.threshold,
            linear=self._linear,
            generator=self.source,
        )

    def kl(self) -> Tensor:
        """Give the divergence of all weights from the log-uniform prior, in nats; the bias has none."""
        return functional.variational_kl(self.log_alpha.float()).sum()

    def sparsity(self) -> float:
        """Give the share of weights that eval leaves out: those with `log α` at or above `threshold`."""
        return (self.log_alpha >= self.threshold).double().mean().item()

    def extra_repr(self) -> str:
        """Show the sizes as torch does, then the arguments that differ from their defaults."""
        threshold = [f"threshold={self.threshold}"] * (self.threshold != 3)
        return ", ".join([super().extra_repr(), *threshold] + ["generator=..."] * (self.generator is not None))

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        raise NotImplementedError


class VariationalLinear(VariationalLayer, nn.Linear):
    """A linear layer whose weights are normal, with means and variances learned.

    Training: `y ~ N(x Wᵀ + b, (x∘x) (σ²)ᵀ)`, one draw per output; eval: `y = x Ŵᵀ + b` with the weights of
    `log α = log(σ² / w²) ≥ threshold` left out. Add `layers.kl(model) / N` to the loss, best with a factor that
    grows from 0 to 1 over the first epochs: at full strength from the start whole layers can be pruned away.
    `σ²` is a parameter of its own, `log_variance`, and starts at exp(-10): keep it out of weight decay.

    Args:
        in_features: size of the input's last axis.
        out_features: size of the output's last axis.
        bias: whether a bias, without noise, is added.
        threshold: `log α` from which a weight is left out; 3 is a rate of dropping of 0.95.
        generator: source of randomness; None: torch's own stream.
        factory: `device` and `dtype`, as for nn.Linear.

    Example:
        >>> layer = VariationalLinear(3, 2)
        >>> layer.sparsity()
        0.0

    Reference:
        Kingma, Salimans & Welling, 2015, arXiv:1506.02557; Molchanov, Ashukha & Vetrov, 2017, arXiv:1701.05369.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        threshold: float = 3.0,
        generator: torch.Generator | None = None,
        **factory: Any,
    ) -> None:
        super().__init__(in_features, out_features, bias, **factory)
        self._learn_variance(threshold, generator)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)


class VariationalConv2d(VariationalLayer, nn.Conv2d):
    """A convolution whose weights are normal, with means and variances learned: see `VariationalLinear`.

    Training: `y ~ N(x * W + b, (x∘x) * σ²)`, one draw per output element; eval: `y = x * Ŵ + b`.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        kernel_size: height and width of the kernel.
        threshold: `log α` from which a weight is left out; 3 is a rate of dropping of 0.95.
        generator: source of randomness; None: torch's own stream.
        options: `stride`, `padding`, `dilation`, `groups`, `bias`, `padding_mode`, `device` and `dtype`, as for
            nn.Conv2d.

    Example:
        >>> layer = VariationalConv2d(3, 8, 3, padding=1)
        >>> layer(torch.zeros(1, 3, 5, 5)).shape
        torch.Size([1, 8, 5, 5])

    Reference:
        Molchanov, Ashukha & Vetrov, 2017, arXiv:1701.05369.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        threshold: float = 3.0,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self._learn_variance(threshold, generator)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._conv_forward(x, weight, bias)
