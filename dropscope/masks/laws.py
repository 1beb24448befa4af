"""The four laws of random masks: what is drawn, and its declared mean and variance."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dropscope.masks.arguments import check_p, draw_shape
from dropscope.masks.draws import keep, normal, uniform

__all__ = ["Bernoulli", "Concrete", "Gaussian", "Law", "Uniform"]


@dataclass(frozen=True)
class Law(ABC):
    """A law of random masks: what is drawn, with its mean and variance."""

    p: float

    def __post_init__(self) -> None:
        check_p(self.p, type(self).__name__, below_one=True)

    @property
    def scale(self) -> float:
        """The number that turns a bare mask into a sample."""
        return 1.0

    @property
    def mean(self) -> float:
        """The mean of a sample."""
        return 1.0

    @property
    @abstractmethod
    def variance(self) -> float:
        """The variance of a sample."""

    @abstractmethod
    def _mask(
        self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, generator: torch.Generator | None
    ) -> Tensor:
        """Draw bare masks, every element its own."""

    def sample(
        self,
        shape: Sequence[int],
        *,
        per: Sequence[int] | None = None,
        scaled: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw the factors that dropout multiplies with: mask times scale.

        Args:
            shape: shape of the tensor to be multiplied.
            per: axes that get their own draw, negative ones counted from the end; None: every element.
            scaled: False for the bare mask, without the scale.
            dtype: floating-point type of the factors; None: torch's default.
            device: where they are drawn.
            generator: source of randomness; None: torch's own stream.

        Returns:
            The factors; the axes outside `per` have size one and broadcast.

        Raises:
            ValueError: `per` names an axis that does not exist, or one axis twice.

        Example:
            >>> Bernoulli(0.5).sample((4, 3, 8, 8), per=(0, 1)).shape
            torch.Size([4, 3, 1, 1])
        """
        dtype = dtype or torch.get_default_dtype()
        wide = torch.float64 if dtype == torch.float64 else torch.float32  # half types are rounded once, at the end
        mask = self._mask(draw_shape(shape, per), wide, torch.device(device), generator)
        return (mask * self.scale if scaled else mask).to(dtype)


@dataclass(frozen=True)
class Bernoulli(Law):
    """Keep with probability `q = 1 - p`, else drop: the law of ordinary dropout.

    `mask ~ Bernoulli(q)`, `sample = mask / q`; mean 1, variance `p / q`. At `p = 1` all is zero.

    Args:
        p: probability of dropping, in [0, 1].

    Raises:
        ValueError: `p` is not a probability.

    Example:
        >>> Bernoulli(0.2).mean, Bernoulli(0.2).variance
        (1.0, 0.25)

    Reference:
        Srivastava et al., 2014, JMLR 15(56):1929-1958.
    """

    def __post_init__(self) -> None:
        check_p(self.p, type(self).__name__)

    @property
    def scale(self) -> float:
        """`1 / q`, or 0 at `p = 1`."""
        return 1 / (1 - self.p) if self.p < 1 else 0.0

    @property
    def mean(self) -> float:
        """1, or 0 at `p = 1`."""
        return 1.0 if self.p < 1 else 0.0

    @property
    def variance(self) -> float:
        """`p / q`, or 0 at `p = 1`."""
        return self.p / (1 - self.p) if self.p < 1 else 0.0

    def _mask(
        self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, generator: torch.Generator | None
    ) -> Tensor:
        return keep(shape, self.p, device=device, generator=generator).to(dtype)


@dataclass(frozen=True)
class Gaussian(Law):
    """Normal factors with the mean and variance of Bernoulli dropout.

    `sample ~ N(1, p / q)`.

    Args:
        p: probability of dropping of the Bernoulli law it matches, in [0, 1).

    Raises:
        ValueError: `p` is not in [0, 1).

    Example:
        >>> Gaussian(0.5).variance
        1.0

    Reference:
        Wang & Manning, 2013, ICML, PMLR 28(2):118-126.
    """

    @property
    def variance(self) -> float:
        """`p / q`."""
        return self.p / (1 - self.p)

    def _mask(
        self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, generator: torch.Generator | None
    ) -> Tensor:
        noise = normal(shape, dtype=dtype, device=device, generator=generator)
        return noise.mul_(self.variance**0.5).add_(1)


@dataclass(frozen=True)
class Uniform(Law):
    """Uniform factors with the mean and variance of Bernoulli dropout.

    `sample ~ U[1 - √(3p/q), 1 + √(3p/q)]`.

    Args:
        p: probability of dropping of the Bernoulli law it matches, in [0, 1).

    Raises:
        ValueError: `p` is not in [0, 1).

    Example:
        >>> Uniform(0.25).variance == Bernoulli(0.25).variance
        True

    Reference:
        Shen et al., 2018, IEEE TNNLS 29(9), "Continuous dropout".
    """

    @property
    def variance(self) -> float:
        """`p / q`."""
        return self.p / (1 - self.p)

    def _mask(
        self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, generator: torch.Generator | None
    ) -> Tensor:
        half_width = (3 * self.variance) ** 0.5
        noise = uniform(shape, dtype=dtype, device=device, generator=generator)
        return noise.mul_(2 * half_width).add_(1 - half_width)


@dataclass(frozen=True)
class Concrete(Law):
    """A smooth relaxation of Bernoulli dropout, whose rate can be learned by gradient.

    `mask = σ((logit q + logit u) / temperature)` with `u ~ U(0, 1)`, `sample = mask / q`. The mask's mean is
    `q` only in the limit of temperature 0 and at `p = 1/2`; it is pulled towards 1/2, so that the sample's mean
    lies below one for `p < 1/2` and above one for `p > 1/2`.

    Args:
        p: probability of dropping of the Bernoulli law it relaxes, in [0, 1).
        temperature: how soft the relaxation is, above 0; small is nearly Bernoulli.

    Raises:
        ValueError: `p` is not in [0, 1), or `temperature` is not a positive number.

    Example:
        >>> round(Concrete(0.1, temperature=0.5).mean, 4)
        0.9695

    Reference:
        Gal, Hron & Kendall, 2017, arXiv:1705.07832.
    """

    temperature: float

    def __post_init__(self) -> None:
        check_p(self.p, type(self).__name__, below_one=True)
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"Concrete: `temperature` must be a positive number, got {self.temperature!r}.")

    @property
    def scale(self) -> float:
        """`1 / q`."""
        return 1 / (1 - self.p)

    @property
    def mean(self) -> float:
        """`E[mask] / q`, by quadrature."""
        return self._moment(1) * self.scale

    @property
    def variance(self) -> float:
        """`(E[mask²] - E[mask]²) / q²`, by quadrature."""
        return (self._moment(2) - self._moment(1) ** 2) * self.scale**2

    def _moment(self, order: int) -> float:
        # E[mask^k] = ∫ k z^(k-1) P(mask > z) dz over (0, 1), where P(mask > z) = σ(logit q - temperature · logit z):
        # smooth at every temperature, unlike the integral over u.
        from scipy.integrate import quad
        from scipy.special import expit, logit

        def integrand(z: float) -> float:
            return order * z ** (order - 1) * expit(logit(1 - self.p) - self.temperature * logit(z))

        return float(quad(integrand, 0, 1, epsabs=1e-12, epsrel=1e-10, limit=200)[0])

    def _mask(
        self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, generator: torch.Generator | None
    ) -> Tensor:
        u = uniform(shape, dtype=dtype, device=device, generator=generator)
        u.clamp_(min=torch.finfo(dtype).tiny)  # logit(0) = -∞ would meet logit(1) = ∞ at p = 0
        q = torch.tensor(1 - self.p, dtype=dtype, device=device)
        return torch.sigmoid((q.logit() + u.logit()) / self.temperature)
