"""What a dropout layer does to its input, as a mean and an amplitude: all that first and second moments need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.dropout import _DropoutNd

from dropscope import layers, masks
from dropscope.errors import UnsupportedModule
from dropscope.functional.alpha import SELU_LIMIT
from dropscope.functional.channels import channel_axes
from dropscope.functional.weights import widened
from dropscope.sites.finding import rate_names

__all__ = ["FUNCTIONS", "LAWS", "Noise", "alpha_noise", "bernoulli_noise", "kinds", "noise_of", "unsupported"]


@dataclass(frozen=True, eq=False)
class Noise:
    """The law `y = offset + gain · (x - center) · n` with independent draws `n` of mean 1.

    Attributes:
        variance: variance of a draw, a number or one that broadcasts to the input.
        per: axes of the input that get their own draw; None: every element.
        gain: factor of what is drawn for.
        center: value that is left alone by the draw.
        offset: what is added at the end.
    """

    variance: float | Tensor
    per: Sequence[int] | None = None
    gain: float = 1.0
    center: float = 0.0
    offset: float = 0.0

    def mean(self, x: Tensor) -> Tensor:
        """Give the mean of the output over all draws, for the input `x`."""
        if (self.gain, self.center, self.offset) == (1, 0, 0):
            return x
        return self.offset + self.gain * (x - self.center)

    def amplitude(self, x: Tensor) -> Tensor:
        """Give the standard deviation of each output, with the sign of what the draw multiplies; float32 or wider."""
        return (widened(x) - self.center) * (self.gain * self.variance**0.5)

    def draws(self, x: Tensor) -> tuple[int, ...]:
        """Give the shape of the draws, which broadcasts to that of `x`."""
        return masks.draw_shape(x.shape, self.per)


def bernoulli_noise(p: float, per: Sequence[int] | None = None, *, inverted: bool = True) -> Noise:
    """Give the law of ordinary dropout: `x · mask / q`, or not inverted `x · mask`.

    Example:
        >>> bernoulli_noise(0.2).variance
        0.25
    """
    law = masks.Bernoulli(masks.check_p(p))
    return Noise(law.variance, per, gain=law.mean if inverted else 1 - p)


def alpha_noise(p: float, per: Sequence[int] | None = None, mean: float = 0.0, variance: float = 1.0) -> Noise:
    """Give the law of alpha dropout: `mean + s · ((x - c) · mask / q + c - mean)` with SELU's limit `c`."""
    law, shift = masks.Bernoulli(masks.check_p(p)), mean - SELU_LIMIT
    spread = ((1 - p) * variance / (variance + p * shift**2)) ** 0.5
    return Noise(law.variance, per, gain=spread, center=SELU_LIMIT, offset=mean - spread * shift)


def noise_of(module: nn.Module, x: Tensor, path: str = "") -> Noise:
    """Find the law by which a dropout layer, of torch, dropscope or another package, treats its input.

    Args:
        module: the layer, in any mode.
        x: its input.
        path: where it stands, for the message.

    Raises:
        UnsupportedModule: the layer is no product of its input and independent draws, or has a `forward` of its own.

    Example:
        >>> noise_of(nn.Dropout2d(0.5), torch.ones(4, 3, 8, 8)).per
        (0, 1)
    """
    law = next((LAWS[kind] for kind in kinds(module) if kind in LAWS), None)
    if law is None:
        raise unsupported(module, path, "is not a dropout layer whose law of noise is known")
    return law(module, x)


def kinds(module: nn.Module) -> list[type]:
    """List those of a module's class and its bases whose `forward` it keeps, and after them `DropPaths` if it is one.

    What is known of another class does not hold for it.
    """
    if "forward" in vars(module):
        return []
    forward = getattr(type(module), "forward", None)
    kept = [each for each in type(module).__mro__ if getattr(each, "forward", None) is forward]
    return [*kept, DropPaths] if _is_foreign_path(module, kept) else kept


def _is_foreign_path(module: nn.Module, kept: Sequence[type]) -> bool:
    """Say whether a layer is a drop path by its name, and holds a rate and nothing to compute with.

    Else it may drop a branch that it adds to its input, or do more than the drop path that it is made from.
    """
    named = [each for each in type(module).__mro__ if each.__name__.endswith(("DropPath", "StochasticDepth"))]
    if not named or not set(named) <= set(kept) or isinstance(module, layers.DropoutLayer | _DropoutNd):
        return False
    holds = next(module.children(), None) is not None or next(module.parameters(), None) is not None
    return not holds and bool(rate_names(module))


def unsupported(what: object, path: str, why: str) -> UnsupportedModule:
    """Name a module or function, where it stands, and why it cannot be treated."""
    name = type(what).__name__ if isinstance(what, nn.Module) else getattr(what, "__name__", str(what))
    place = f" at '{path}'" if path else ""
    return UnsupportedModule(f"{name}{place} {why.rstrip('.')}.")


def _torchs_channels(x: Tensor, p: float, positions: int) -> Noise:
    """The law of torch's dropout of channels that have so many axes: all but a batch counts as one sample.

    Its `dropout2d` alone takes (C, H, W) for a batch of sequences.
    """
    batched = positions == 2 or x.dim() == positions + 2
    return bernoulli_noise(p, (0, 1) if batched else (0,))


def _torchs(function: Callable[..., Tensor]) -> Callable[[Any, Tensor], Noise]:
    """The law of a layer of torch that calls one of its functions."""
    return lambda module, x: FUNCTIONS[function][0](x, module.p)


def _channels(positions: str) -> Callable[[Any, Tensor], Noise]:
    return lambda module, x: bernoulli_noise(module.p, channel_axes(x, positions))


def _elementwise(module: layers.Dropout, x: Tensor) -> Noise:
    return bernoulli_noise(module.p, module.per, inverted=module.inverted)


def _locked(module: layers.LockedDropout, x: Tensor) -> Noise:
    if x.dim() == 2:  # one sequence
        return bernoulli_noise(module.p, (1,))
    return bernoulli_noise(module.p, (0, 2) if module.batch_first else (1, 2))


def _tokens(module: layers.TokenDropout, x: Tensor) -> Noise:
    if module.count == "fixed" or module.return_indices:
        raise unsupported(module, "", 'has moments only with count="bernoulli" and return_indices=False')
    late = torch.arange(x.shape[1], device=x.device) >= module.keep_first
    variance = masks.Bernoulli(module.p).variance * late.to(widened(x).dtype)
    return Noise(variance.view(-1, *[1] * (x.dim() - 2)), (0, 1), gain=1.0)


def _concrete(module: layers.ConcreteDropout, x: Tensor) -> Noise:
    law = masks.Concrete(module.p, module.temperature)
    return Noise(law.variance / law.mean**2, module.per)  # the layer divides by the mask's true mean


class DropPaths(nn.Module):
    """Stands in tables for the DropPath and StochasticDepth of other packages, which are told by their names."""


def _foreign_path(module: Any, x: Tensor) -> Noise:
    p = float(getattr(module, rate_names(module)[0]) or 0)
    scaled = getattr(module, "scale_by_keep", True)
    return bernoulli_noise(p, (0,) if getattr(module, "mode", "row") == "row" else (), inverted=scaled)


# The law of each of torch's functions, and whether it drops unless it is told.
FUNCTIONS: dict[Callable[..., Tensor], tuple[Callable[[Tensor, float], Noise], bool]] = {
    F.dropout: (lambda x, p: bernoulli_noise(p), True),
    F.dropout1d: (partial(_torchs_channels, positions=1), True),
    F.dropout2d: (partial(_torchs_channels, positions=2), True),
    F.dropout3d: (partial(_torchs_channels, positions=3), True),
    F.alpha_dropout: (lambda x, p: alpha_noise(p), False),
    F.feature_alpha_dropout: (lambda x, p: alpha_noise(p, (0, 1)), False),
}
LAWS: dict[type[nn.Module], Callable[[Any, Tensor], Noise]] = {
    nn.Dropout: _torchs(F.dropout),
    nn.Dropout1d: _torchs(F.dropout1d),
    nn.Dropout2d: _torchs(F.dropout2d),
    nn.Dropout3d: _torchs(F.dropout3d),
    nn.AlphaDropout: _torchs(F.alpha_dropout),
    nn.FeatureAlphaDropout: _torchs(F.feature_alpha_dropout),
    layers.Dropout: _elementwise,
    layers.FeatureDropout: _elementwise,  # which has a `forward` only to say more of it
    layers.Dropout1d: _channels("L"),
    layers.Dropout2d: _channels("HW"),
    layers.Dropout3d: _channels("DHW"),
    layers.FeatureAlphaDropout: lambda module, x: alpha_noise(module.p, (0, 1), module.mean, module.variance),
    layers.AlphaDropout: lambda module, x: alpha_noise(module.p, None, module.mean, module.variance),
    layers.GaussianDropout: lambda module, x: Noise(masks.Gaussian(module.p).variance, module.per),
    layers.UniformDropout: lambda module, x: Noise(masks.Uniform(module.p).variance, module.per),
    layers.ConcreteDropout: _concrete,
    layers.DropPath: lambda module, x: bernoulli_noise(module.p, module.per),
    layers.HeadDropout: lambda module, x: bernoulli_noise(module.p, (0, module.axis)),
    layers.LockedDropout: _locked,
    layers.TokenDropout: _tokens,
    DropPaths: _foreign_path,
}
