"""What a dropout layer does to its input, as a mean and an amplitude: all that first and second moments need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dropscope import layers, masks
from dropscope.errors import UnsupportedModule
from dropscope.functional.alpha import SELU_LIMIT
from dropscope.functional.weights import widened

__all__ = ["DropPaths", "Noise", "alpha_noise", "bernoulli_noise", "family", "has_law", "noise_of", "unsupported"]


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
        UnsupportedModule: the layer is no product of its input and independent draws.

    Example:
        >>> noise_of(nn.Dropout2d(0.5), torch.ones(4, 3, 8, 8)).per
        (0, 1)
    """
    law = next((LAWS[kind] for kind in family(type(module)) if kind in LAWS), None)
    if law is None:
        raise unsupported(module, path, "is not a dropout layer whose law of noise is known")
    return law(module, x)


def has_law(module: nn.Module) -> bool:
    """Say whether `noise_of` knows a layer."""
    return any(kind in LAWS for kind in family(type(module)))


def family(kind: type) -> list[type]:
    """List a class and its bases, and after them `DropPaths` where it is one."""
    named = any(base.__name__.endswith(("DropPath", "StochasticDepth")) for base in kind.__mro__)
    return [*kind.__mro__, DropPaths] if named else list(kind.__mro__)


def unsupported(what: object, path: str, why: str) -> UnsupportedModule:
    """Name a module or function, where it stands, and why it cannot be treated."""
    name = type(what).__name__ if isinstance(what, nn.Module) else getattr(what, "__name__", str(what))
    place = f" at '{path}'" if path else ""
    return UnsupportedModule(f"{name}{place} {why.rstrip('.')}.")


def _per_channel(module: Any, x: Tensor) -> Noise:
    return bernoulli_noise(module.p, (0, 1))


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
    p = next(float(getattr(module, name) or 0) for name in ("drop_prob", "p") if hasattr(module, name))
    scaled = getattr(module, "scale_by_keep", True)
    return bernoulli_noise(p, (0,) if getattr(module, "mode", "row") == "row" else (), inverted=scaled)


LAWS: dict[type[nn.Module], Callable[[Any, Tensor], Noise]] = {
    nn.Dropout: lambda module, x: bernoulli_noise(module.p),
    nn.Dropout1d: _per_channel,
    nn.Dropout2d: _per_channel,
    nn.Dropout3d: _per_channel,
    nn.AlphaDropout: lambda module, x: alpha_noise(module.p),
    nn.FeatureAlphaDropout: lambda module, x: alpha_noise(module.p, (0, 1)),
    layers.Dropout: lambda module, x: bernoulli_noise(module.p, module.per, inverted=module.inverted),
    layers.Dropout1d: _per_channel,
    layers.Dropout2d: _per_channel,
    layers.Dropout3d: _per_channel,
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
