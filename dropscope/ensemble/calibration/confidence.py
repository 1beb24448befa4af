"""Are class probabilities true? Calibration errors, beside what a perfectly calibrated model would show."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dropscope.ensemble.calibration.arguments import Probabilities, class_rows
from dropscope.ensemble.calibration.binning import Bins, Grouping, equal_mass, equal_width, redrawn_counts
from dropscope.errors import need
from dropscope.results import Result

__all__ = ["Reliability", "reliability"]

# By how much errors that are equal may differ.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Reliability(Result):
    """How true class probabilities are.

    Attributes:
        n_rows: number of rows.
        bins: confidence and accuracy by bins of equal width.
        ece: expected calibration error over those bins.
        mce: largest error of a bin; small bins make it large.
        adaptive_ece: expected calibration error over bins of equally many rows.
        classwise_ece: mean over the classes of the expected calibration error of their probabilities.
        overconfidence: mean confidence minus accuracy; this has no bias.
        accuracy: how often the likeliest class is the true one.
        brier: Brier score `Σ_k (p_k - y_k)²`; of one probability, `(p - y)²`.
        nll: negative log-likelihood, nats.
        errors: standard errors over rows of the numbers that have one. That of the calibration errors holds where
            bins are off by more than chance.
        expected: mean of "ece", "mce" and "adaptive_ece" over redrawn labels, if every confidence were true.
        p_value: chance of an `ece` at least as high if every confidence were true.
        of_class: the class whose probability is the confidence; None: the likeliest one of each row.
    """

    n_rows: int
    bins: Bins
    ece: float
    mce: float
    adaptive_ece: float
    classwise_ece: float
    overconfidence: float
    accuracy: float
    brier: float
    nll: float
    errors: Mapping[str, float]
    expected: Mapping[str, float]
    p_value: float
    of_class: int | None = None

    def describe(self) -> str:
        """Say how far confidences and accuracy are apart, and how far they would be by chance."""
        found = "more than chance" if self.p_value < 0.05 else "no more than chance"
        whose = "the likeliest class" if self.of_class is None else f"class {self.of_class}"
        accuracy, nll, brier, over, ece = (
            f"{getattr(self, name):{'+' if name == 'overconfidence' else ''}.4g} ± {self.errors[name]:.2g}"
            for name in ("accuracy", "nll", "brier", "overconfidence", "ece")
        )
        return (
            f"calibration of the probability of {whose} on {self.n_rows} rows\n"
            f"  accuracy {accuracy}, negative log-likelihood {nll}, Brier score {brier}\n"
            f"  confidence is off by {over} on average (above 0: overconfident)\n"
            f"  ECE {ece}, {found}: {self.expected['ece']:.4g} if every confidence were true (p = {self.p_value:.2g})\n"
            f"  adaptive ECE {self.adaptive_ece:.4g} ({self.expected['adaptive_ece']:.4g}), "
            f"MCE {self.mce:.4g} ({self.expected['mce']:.4g}), class-wise ECE {self.classwise_ece:.4g}"
        )


def reliability(
    probabilities: Probabilities,
    labels: Tensor | ArrayLike,
    *,
    bins: int = 15,
    of_class: int | None = None,
    n_resamples: int = 1000,
    generator: torch.Generator | None = None,
) -> Reliability:
    """Measure how true class probabilities are: of rows with confidence 0.8, are 80 % right?

    `ECE = Σ_b n_b / n · |confidence_b - accuracy_b|`. It is never below 0, and so above 0 for a model without fault,
    the more so the fewer rows and the more bins. Therefore the labels are also redrawn as if every confidence were
    true: `expected` is what that gives on average, `p_value` how often it gives at least as much.

    Args:
        probabilities: a `Prediction` of probabilities; or numbers with the classes on the last axis; or, one for each
            label, the probability of class 1, which then is the confidence.
        labels: true class of each row, from 0.
        bins: number of bins.
        of_class: take the probability of this class for the confidence; None: that of the likeliest class.
        n_resamples: how often labels are redrawn.
        generator: source of randomness; None: torch's own stream.

    Returns:
        The calibration errors, scores and bins.

    Raises:
        MissingExtra: torchmetrics is not installed.
        ValueError: the probabilities are none, or the labels are not theirs.

    Example:
        >>> probabilities, labels = torch.tensor([[0.8, 0.2], [0.8, 0.2], [0.3, 0.7], [0.3, 0.7]]), [0, 0, 1, 0]
        >>> found = reliability(probabilities, labels, bins=10)
        >>> round(found.ece, 4), round(found.overconfidence, 4)
        (0.2, 0.0)

    Reference:
        Naeini, Cooper & Hauskrecht, 2015, AAAI; Guo et al., 2017, arXiv:1706.04599; redrawn labels: Bröcker & Smith,
        2007, Weather and Forecasting 22:651-661; Vaicenavicius et al., 2019, arXiv:1902.06977.
    """
    if not all(isinstance(count, Integral) and count >= 1 for count in (bins, n_resamples)):
        raise ValueError(
            f"`bins` and `n_resamples` must be whole numbers of at least 1, got {bins!r} and {n_resamples!r}."
        )
    rows, truth = class_rows(probabilities, labels)
    single = rows.dim() == 1
    both = torch.stack([1 - rows, rows], -1) if single else rows
    of_class = 1 if single and of_class is None else of_class
    confidence, right = _confidence(both, truth, of_class)

    by_width, edges = equal_width(confidence, bins)
    by_mass = equal_mass(confidence, bins)
    members = torch.cat([by_width.members, by_mass.members], 1)
    counts = redrawn_counts(confidence, members, n_resamples, generator)
    chance = _chance(by_width, by_mass, counts)
    ece, mce = (_calibration_error(confidence, right, bins, norm) for norm in ("l1", "max"))

    scores = _scores(both, truth, single) | {"overconfidence": confidence - right}
    errors = {name: _standard_error(values) for name, values in scores.items()}
    errors |= {"ece": _ece_error(by_width, confidence, right), "adaptive_ece": _ece_error(by_mass, confidence, right)}
    return Reliability(
        n_rows=len(both),
        bins=_bins(by_width, edges, right @ by_width.members, counts[:, :bins]),
        ece=ece,
        mce=mce,
        adaptive_ece=by_mass.errors(right @ by_mass.members)[0].item(),
        classwise_ece=_classwise(both, truth, bins),
        **{name: values.mean().item() for name, values in scores.items()},
        errors=errors,
        expected={name: values.mean().item() for name, values in chance.items()},
        p_value=(1 + (chance["ece"] >= ece - ROUNDING).sum().item()) / (1 + n_resamples),
        of_class=of_class,
    )


def _confidence(both: Tensor, truth: Tensor, of_class: int | None) -> tuple[Tensor, Tensor]:
    """Give the probability that is judged, and 1 where it should have been 1."""
    if of_class is None:
        return both.amax(-1), (both.argmax(-1) == truth).to(both)
    if not isinstance(of_class, Integral) or not 0 <= of_class < both.shape[1]:
        raise ValueError(f"`of_class` must be a class number from 0 to {both.shape[1] - 1}, got {of_class!r}.")
    return both[:, of_class], (truth == of_class).to(both)


def _calibration_error(confidence: Tensor, right: Tensor, bins: int, norm: str) -> float:
    metrics = need("torchmetrics.functional.classification", "study")
    # A confidence of exactly 1 would be in a bin of its own.
    below = confidence.clamp(0, math.nextafter(1, 0) if confidence.dtype == torch.float64 else 1 - 2**-24)
    return metrics.binary_calibration_error(below, right.long(), n_bins=bins, norm=norm).item()


def _classwise(both: Tensor, truth: Tensor, bins: int) -> float:
    each = [_calibration_error(both[:, k], truth == k, bins, "l1") for k in range(both.shape[1])]
    return sum(each) / len(each)


def _scores(both: Tensor, truth: Tensor, single: bool) -> dict[str, Tensor]:
    squares = (both - torch.nn.functional.one_hot(truth, both.shape[1])).square()
    return {
        "accuracy": (both.argmax(-1) == truth).to(both),
        "nll": -both.gather(1, truth.unsqueeze(1)).squeeze(1).log(),
        "brier": squares[:, 1] if single else squares.sum(1),
    }


def _chance(by_width: Grouping, by_mass: Grouping, counts: Tensor) -> dict[str, Tensor]:
    """Calibration errors of redrawn labels."""
    bins = by_width.members.shape[1]
    ece, mce = by_width.errors(counts[:, :bins])
    return {"ece": ece, "mce": mce, "adaptive_ece": by_mass.errors(counts[:, bins:])[0]}


def _standard_error(values: Tensor) -> float:
    return (values.std() / len(values) ** 0.5).item() if len(values) > 1 else math.nan


def _ece_error(grouping: Grouping, confidence: Tensor, right: Tensor) -> float:
    """To first order the error is a mean over rows, of which each bin has the sign of its own gap."""
    sign = (grouping.confidence - right @ grouping.members).sign()
    return _standard_error((confidence - right) * (grouping.members @ sign))


def _bins(grouping: Grouping, edges: Tensor, right: Tensor, redrawn: Tensor) -> Bins:
    count = grouping.count
    filled = torch.where(count > 0, count, math.nan)
    accuracy = right / filled
    low, high = ((redrawn / filled).quantile(q, 0) for q in (0.025, 0.975))
    error = (accuracy * (1 - accuracy) / filled).sqrt()
    return Bins(edges, count, grouping.confidence / filled, accuracy, error, low, high)
