"""Telling rows of another kind by the model's uncertainty: how well a score keeps them apart from usual rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any, overload

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dropscope.ensemble.calibration.arguments import numbers
from dropscope.ensemble.information import MEASURES
from dropscope.ensemble.monte_carlo import predict
from dropscope.ensemble.prediction import Prediction
from dropscope.ensemble.rank_curves import Counts, auroc, auroc_error, average_precision, false_positive_rate
from dropscope.errors import closest
from dropscope.masks.sources import word
from dropscope.results import Result

__all__ = ["Detection", "detection", "out_of_distribution"]

Score = str | Callable[[Prediction], Tensor]

# Times that the rows are drawn anew: standard errors are then known to 1 / √(2 · 199), 5 % of themselves.
RESAMPLES = 200
SCORES = [*MEASURES, "variance", "std", "aleatoric", "total"]


@dataclass(frozen=True, eq=False)
class Detection(Result):
    """How well a score finds rows from outside, which are the positive ones, among rows from inside.

    Attributes:
        score: name of the score; the higher, the more likely a row is from outside.
        inside: its value for each row from inside.
        outside: its value for each row from outside.
        auroc: chance that a row from outside scores higher than one from inside, equal scores counted half; 0.5 if the
            score says nothing.
        aupr_out: average precision of finding rows from outside by high scores; by chance their share of all rows.
        aupr_in: average precision of finding rows from inside by low scores.
        fpr95: share of the rows from inside that are flagged at the highest threshold that flags 95 % of those from
            outside. Texts that call the rows from inside positive name by it `detection(-outside, -inside).fpr95`.
        auroc_error: standard error of `auroc` over rows, by DeLong's formula. Where no pair of rows is in the wrong
            order it is 0 and says only that the error is small; nan where a set has one row, so for the next three.
        aupr_out_error: standard error of `aupr_out`, by bootstrap of both sets.
        aupr_in_error: of `aupr_in`.
        fpr95_error: of `fpr95`.
    """

    score: str
    inside: Tensor
    outside: Tensor
    auroc: float
    aupr_out: float
    aupr_in: float
    fpr95: float
    auroc_error: float
    aupr_out_error: float
    aupr_in_error: float
    fpr95_error: float

    @property
    def n_inside(self) -> int:
        """Number of rows from inside."""
        return len(self.inside)

    @property
    def n_outside(self) -> int:
        """Number of rows from outside."""
        return len(self.outside)

    def curve(self) -> tuple[Tensor, Tensor]:
        """Give false and true positive rates from the highest threshold down to the lowest: the ROC curve."""
        return Counts.of(self.inside, self.outside).rates()

    def describe(self) -> str:
        """Say how well the sets are told apart, each number beside what chance would give."""
        share = self.n_outside / (self.n_inside + self.n_outside)
        rows = (
            ("AUROC", self.auroc, self.auroc_error, 0.5),
            ("AUPR, outside", self.aupr_out, self.aupr_out_error, share),
            ("AUPR, inside", self.aupr_in, self.aupr_in_error, 1 - share),
            ("FPR at 95 % TPR", self.fpr95, self.fpr95_error, 0.95),
        )
        return "\n".join(
            [
                f"rows from outside told by {self.score}: {self.n_outside} among {self.n_inside} from inside",
                *(
                    f"  {name:<16}{value:.4f}{_said(error)}, by chance {chance:.2f}"
                    for name, value, error, chance in rows
                ),
            ]
        )


@overload
def out_of_distribution(
    model: nn.Module, inside: Any, outside: Any, score: Score = ..., n_samples: int = ..., *,
    generator: torch.Generator | None = ..., **options: Any,
) -> Detection: ...  # fmt: skip
@overload
def out_of_distribution(
    model: nn.Module, inside: Any, outside: Any, score: Sequence[Score], n_samples: int = ..., *,
    generator: torch.Generator | None = ..., **options: Any,
) -> dict[str, Detection]: ...  # fmt: skip
def out_of_distribution(
    model: nn.Module,
    inside: Any,
    outside: Any,
    score: Score | Sequence[Score] = "mutual_information",
    n_samples: int = 100,
    *,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Detection | dict[str, Detection]:
    """Measure how well a model's uncertainty tells rows of another kind from those that it was trained for.

    Both sets are predicted once, however many scores are asked for; a score with several values for a row, one per
    output or position, is averaged over them.

    Args:
        model: any module.
        inside: rows as the model was trained for: inputs or a DataLoader as for `predict`.
        outside: rows of another kind, likewise.
        score: "mutual_information", "entropy", "expected_entropy", "variation_ratio", "soft_variation_ratio" (of
            probabilities: one minus the largest), "variance", "std", "aleatoric", "total", or a function that gives a
            prediction's scores, higher for what is from outside; or several of them.
        n_samples: number of passes.
        generator: source of randomness; None: torch's own stream.
        options: others of `predict`; `transform="softmax"` where a model gives logits.

    Returns:
        The detection; of several scores one for each, by name.

    Raises:
        NoDropoutFound: nothing in the model drops.
        ValueError: a score is unknown, needs probabilities, gives nan or not one row of numbers for each row, or two
            scores have one name; also as for `predict`.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
        >>> near, far = torch.randn(50, 3), 5 * torch.randn(40, 3)
        >>> out_of_distribution(model, near, far, "variance").auroc > 0.6
        True
        >>> list(out_of_distribution(model, near, far, ["entropy", "mutual_information"], transform="softmax"))
        ['entropy', 'mutual_information']

    Reference:
        Hendrycks & Gimpel, 2017, arXiv:1610.02136.
    """
    several = not isinstance(score, str) and not callable(score)
    named = _named(score if several else [score])  # type: ignore[arg-type, list-item]
    predictions = [predict(model, x, n_samples, generator=generator, **options) for x in (inside, outside)]
    found = {
        name: detection(*(_rows(one, name, prediction) for prediction in predictions), score=name, generator=generator)
        for name, one in named.items()
    }
    return found if several else next(iter(found.values()))


def detection(
    inside: ArrayLike | Tensor,
    outside: ArrayLike | Tensor,
    *,
    score: str = "score",
    generator: torch.Generator | None = None,
) -> Detection:
    """Measure how well given scores tell two sets of rows apart; rows from outside are the positive ones.

    Ties are exact: every number depends on the order of the scores only, and equal ones are one threshold.

    Args:
        inside: one score for each row from inside.
        outside: one score for each row from outside, where it should be higher.
        score: what the scores are called.
        generator: source of randomness of the bootstrap; None: torch's own stream, of which one number is taken.

    Returns:
        The detection.

    Raises:
        ValueError: a set is empty, holds nan, or is not one number for each row.

    Example:
        >>> found = detection([0.1, 0.2, 0.3], [0.3, 0.9])
        >>> found.auroc, found.fpr95
        (0.9166666666666666, 0.3333333333333333)
    """
    negative, positive = _checked("inside", inside), _checked("outside", outside)
    counts = Counts.of(negative, positive)
    generator = torch.Generator().manual_seed(word(generator))
    drawn = torch.tensor([_measured(one) for one in counts.resampled(RESAMPLES, generator)], dtype=torch.float64)
    errors = drawn.std(0).tolist() if min(len(negative), len(positive)) > 1 else [nan] * 3
    return Detection(score, negative, positive, auroc(counts), *_measured(counts), auroc_error(counts), *errors)


def _measured(counts: Counts) -> tuple[float, float, float]:
    return average_precision(counts), average_precision(counts.reversed()), false_positive_rate(counts, 95)


def _checked(name: str, values: ArrayLike | Tensor) -> Tensor:
    """Scores on the CPU, one for each row."""
    scores = numbers(name, values).cpu()
    if scores.dim() != 1 or len(scores) == 0:
        raise ValueError(f"`{name}` must hold one score for each of at least one row, got shape {tuple(scores.shape)}.")
    if scores.isnan().any():
        raise ValueError(f"`{name}` must not hold nan, got {int(scores.isnan().sum())} of {len(scores)}.")
    return scores


def _named(scores: Sequence[Score]) -> dict[str, Score]:
    named = {one if isinstance(one, str) else getattr(one, "__name__", type(one).__name__): one for one in scores}
    if len(named) < len(scores) or not scores:
        raise ValueError(f"`score` must name at least one score, each once, got {len(scores)}: {', '.join(named)}.")
    for name, one in named.items():
        if isinstance(one, str) and name not in SCORES:
            raise ValueError(f"`score` must be a score, got {name!r}: {closest(name, SCORES)}")
    return named


def _rows(score: Score, name: str, prediction: Prediction) -> Tensor:
    """One score for each row of a prediction."""
    value = getattr(prediction, score) if isinstance(score, str) else score(prediction)
    values = value() if callable(value) and not isinstance(value, Tensor) else value
    rows = len(prediction.mean)
    if not isinstance(values, Tensor) or values.dim() == 0 or len(values) != rows:
        raise ValueError(f"`{name}` must give a tensor with a score for each of the {rows} rows.")
    return values.flatten(1).mean(1) if values.dim() > 1 else values


def _said(error: float) -> str:
    return "" if isnan(error) else f" ± {error:.4f}"
