"""The answer: mean and variance of a model's outputs over its dropout masks, and what follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dropscope.ensemble.information import MEASURES, jackknife_error, measured
from dropscope.ensemble.orders import OrderBias, order_bias
from dropscope.ensemble.streaming import ClassMeans
from dropscope.errors import closest
from dropscope.results import Result

__all__ = ["Prediction"]

EXACT = ("exact-linear", "enumerated")


@dataclass(frozen=True, eq=False)
class Prediction(Result):
    """Mean and variance of each output over dropout masks, with their Monte-Carlo standard errors.

    Attributes:
        mean: mean over the passes, shaped as the model's output.
        variance: variance over the passes, divided by `T - 1`: the epistemic part. No noise of the data is in it.
        n_samples: number of passes T; of masks where all were enumerated; 0 where none was drawn.
        method: "sampled"; "exact-linear" where dropout stands only before a final linear layer, or "enumerated" over
            all masks, which have no Monte-Carlo error.
        errors: standard errors of "mean", "variance" and, where there is one, of "noise" and of "total".
        samples: the outputs of every pass, (T, rows, ...), if they were kept.
        noise: mean over the passes of the variance that the model itself predicts; None if it predicts none.
        classes: what `entropy` and its kin are computed from; None if the outputs are no probabilities.
        rates: probabilities of dropping of the sites that were on.
        notes: how the passes were computed, and what could not be done.
    """

    mean: Tensor
    variance: Tensor
    n_samples: int
    method: str
    errors: Mapping[str, Tensor] = field(default_factory=dict)
    samples: Tensor | None = None
    noise: Tensor | None = None
    classes: ClassMeans | None = None
    rates: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    left_out = ("classes",)

    @property
    def std(self) -> Tensor:
        """Standard deviation of each output over the passes."""
        return self.variance.sqrt()

    @property
    def epistemic(self) -> Tensor:
        """Variance that comes from not knowing the model: that over the passes."""
        return self.variance

    @property
    def aleatoric(self) -> Tensor:
        """Variance that the model itself predicts: that of the data's noise.

        Raises:
            ValueError: the model predicts none.
        """
        if self.noise is None:
            raise ValueError(
                "`aleatoric` and `total` need a model with a variance head: let `output` pick its mean and variance."
            )
        return self.noise

    @property
    def total(self) -> Tensor:
        """Variance of the mixture of all passes' predictions: `mean σ²_t + var μ_t`."""
        return self.aleatoric + self.epistemic

    def entropy(self) -> Tensor:
        """Total uncertainty in nats, `H(p̄)`.

        Raises:
            ValueError: the outputs are no probabilities; so for the following four.
        """
        return self._measured("entropy")

    def expected_entropy(self) -> Tensor:
        """Aleatoric uncertainty in nats, `mean H(p_t)`."""
        return self._measured("expected_entropy")

    def mutual_information(self) -> Tensor:
        """Epistemic uncertainty in nats (BALD), `(H(p̄) - mean H(p_t)) · T / (T - 1)`.

        Reference:
            Houlsby et al., 2011, arXiv:1112.5745; the factor removes the bias of order 1/T.
        """
        return self._measured("mutual_information")

    def variation_ratio(self) -> Tensor:
        """Share of the passes whose likeliest class is not the one most vote for."""
        return self._measured("variation_ratio")

    def soft_variation_ratio(self) -> Tensor:
        """One minus the mean probability of the likeliest class, `1 - max p̄`."""
        return self._measured("soft_variation_ratio")

    def quantile(self, q: float) -> Tensor:
        """Quantile of each output over the passes.

        Args:
            q: in [0, 1].

        Raises:
            ValueError: the samples were not kept, or `q` is outside [0, 1].
        """
        if self.samples is None:
            raise ValueError("`quantile` needs the samples: call predict(..., keep_samples=True).")
        if not isinstance(q, Real) or not 0 <= q <= 1:
            raise ValueError(f"`q` must be one number in [0, 1], got {q!r}.")
        return self.samples.quantile(q, 0) if self.samples.numel() < 2**24 else _large_quantile(self.samples, q)

    def standard_error(self, name: str, q: float = 0.5) -> Tensor:
        """Monte-Carlo standard error of one of the numbers here: how far it may be from that of endless passes.

        Args:
            name: "mean", "variance", "std", "noise", "total", "quantile", or the name of an uncertainty measure.
            q: which quantile.

        Returns:
            A tensor shaped as what is named; zeros where nothing was sampled, nan where the passes cannot tell: of the
            smallest and the largest output, and of what two passes disagree on.

        Raises:
            ValueError: the name is unknown, or what it names is not there.
        """
        valid = ["mean", "variance", "std", "noise", "total", "quantile", *MEASURES]
        if name not in valid:
            raise ValueError(f"`name` must name a number of the prediction, got {name!r}: {closest(name, valid)}")
        if name in MEASURES:
            return torch.zeros_like(self._measured(name)) if self._exact else self._jackknifed(name)
        if name == "quantile":
            return self._quantile_error(q)
        if name == "std":
            return (self.errors["variance"] / (2 * self.std)).nan_to_num(0.0)
        if name in ("noise", "total") and self.aleatoric is not None and name not in self.errors:
            raise ValueError(f"`{name}` needs a mean and a variance of one shape.")
        return self.errors[name]

    def diversity(self) -> Tensor:
        """Mean squared distance between the outputs of two passes, for each row: `D = mean over i≠j of ‖f_i - f_j‖²`.

        By how much the mean of the passes beats one of them in squared error, whatever the truth:
        `E_ind - E_ens = (T - 1) / (2T) · D`.

        Reference:
            Krogh & Vedelsby, 1995, NeurIPS 7:231-238.
        """
        return 2 * self.variance.flatten(1).sum(1) if self.variance.dim() > 1 else 2 * self.variance

    def explain_bias(self, shares: ArrayLike, p: float | None = None) -> OrderBias:
        """Say how much of the variance over masks each order of interaction gets.

        Dropout's variance grows with the order of an interaction, `q⁻ᵏ - 1` for a product of k units, so that a model
        that relies on high orders looks uncertain whether or not it is.

        Args:
            shares: share of each order, from 1 on, in the variance of the function of what is dropped: of the inputs,
                `spectrum.interaction_spectrum(...).share`.
            p: probability of dropping; None: that of the model's sites, if they have one.

        Returns:
            The shares in the variance over masks, and how much faster than order 1 they grow.

        Raises:
            ValueError: `shares` are no shares, or `p` is needed.

        Reference:
            Lengerich, Xing & Caruana, 2022, AISTATS, arXiv:2007.00823, section 6.
        """
        return order_bias(shares, self.rates, p)

    def describe(self) -> str:
        """Say how the numbers were found, and how large they are on average."""
        passes = {"sampled": f"{self.n_samples} passes", "enumerated": f"all {self.n_samples} masks"}
        lines = [
            f"prediction for {len(self.mean) if self.mean.dim() else 1} rows, {passes.get(self.method, self.method)}",
            f"  mean {self.mean.mean().item():.4g}, standard error up to {self.errors['mean'].max().item():.2g}",
            f"  std over masks {self.std.mean().item():.4g} on average, up to {self.std.max().item():.4g}",
        ]
        if self.noise is not None:
            lines.append(f"  std of the noise {self.noise.sqrt().mean().item():.4g} on average")
        if self.classes is not None:
            lines.append(
                f"  entropy {self.entropy().mean().item():.4g} nats on average, of which the passes disagree on "
                f"{self.mutual_information().mean().item():.4g}"
            )
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and None, ready for JSON; of probabilities `entropy` and its kin too."""
        measures = {name: self._measured(name).tolist() for name in MEASURES} if self.classes is not None else {}
        return super().to_dict() | measures

    @property
    def _exact(self) -> bool:
        return self.method in EXACT

    def _classes(self, name: str) -> ClassMeans:
        if self.classes is None:
            raise ValueError(
                f"`{name}` needs outputs that are probabilities: call predict(..., transform='softmax') or 'sigmoid'."
            )
        return self.classes

    def _measured(self, name: str) -> Tensor:
        return measured(name, self._classes(name), exact=self._exact).to(self.mean.dtype)

    def _jackknifed(self, name: str) -> Tensor:
        return jackknife_error(name, self._classes(name)).to(self.mean.dtype)

    def _quantile_error(self, q: float) -> Tensor:
        """Half the distance between the quantiles one standard error of the rank below and above."""
        if q in (0, 1):
            return torch.full_like(self.quantile(q), torch.nan)  # no rank lies beyond
        step = (q * (1 - q) / self.n_samples) ** 0.5
        return (self.quantile(min(1.0, q + step)) - self.quantile(max(0.0, q - step))) / 2


def _large_quantile(samples: Tensor, q: float) -> Tensor:
    """Torch's own quantile refuses large tensors."""
    place = q * (len(samples) - 1)
    ordered = samples.sort(0).values
    return ordered[int(place)].lerp(ordered[min(int(place) + 1, len(samples) - 1)], place - int(place))
