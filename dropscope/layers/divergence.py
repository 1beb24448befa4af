"""What a model with learned dropout adds to its loss: the divergence of its weights from their prior."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

__all__ = ["HasDivergence", "kl"]


class HasDivergence(ABC):
    """A layer that learns how noisy its weights are, and says how far they are from their prior."""

    @abstractmethod
    def kl(self) -> Tensor:
        """Give the divergence of the layer's weights from their prior, in nats, up to a constant."""


def kl(model: nn.Module) -> Tensor:
    """Sum the divergences of all layers of `model` that learn their noise, in nats.

    `loss = mean negative log-likelihood per row + kl(model) / number of rows in the training set` is the negative
    evidence bound per row. For it to hold, the likelihood must be complete: `F.cross_entropy`, or
    `F.gaussian_nll_loss` with the variance of the noise, not a bare squared error.

    Args:
        model: a model with `ConcreteDropout`, `VariationalLinear` or `VariationalConv2d` in it.

    Returns:
        A number as a tensor, with gradients. Constants are left out, so that it may be negative.

    Raises:
        ValueError: no layer of the model has a divergence.

    Example:
        >>> from dropscope.layers import VariationalLinear
        >>> model = nn.Sequential(VariationalLinear(4, 8), nn.ReLU(), VariationalLinear(8, 1))
        >>> kl(model).item() > 0
        True

    Reference:
        Kingma, Salimans & Welling, 2015, arXiv:1506.02557; Gal, Hron & Kendall, 2017, arXiv:1705.07832.
    """
    terms = [module.kl() for module in model.modules() if isinstance(module, HasDivergence)]
    if not terms:
        raise ValueError(
            f"`model` must contain a layer that learns its noise, as ConcreteDropout, got {type(model).__name__}."
        )
    return sum(terms[1:], terms[0])
