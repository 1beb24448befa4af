"""What is given to be judged: probabilities with their labels, or predicted numbers with the measured ones."""

from typing import TypeAlias

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dropscope.ensemble.outputs import ROUNDING
from dropscope.ensemble.prediction import Prediction
from dropscope.ensemble.streaming import wide
from dropscope.moments import Moments

__all__ = [
    "Numbers",
    "Probabilities",
    "check_share",
    "class_rows",
    "moments_of",
    "passes_of",
    "targets_like",
    "whole_labels",
]

Probabilities: TypeAlias = Prediction | Tensor | ArrayLike
# A prediction; means and variances; or the outputs of all passes, (passes, rows, ...).
Numbers: TypeAlias = Prediction | Moments | tuple[ArrayLike, ArrayLike] | Tensor


def check_share(name: str, value: float) -> float:
    """Refuse what is not strictly between 0 and 1."""
    if not 0 < value < 1:
        raise ValueError(f"`{name}` must be between 0 and 1, got {value}.")
    return value


def class_rows(probabilities: Probabilities, labels: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
    """Read probabilities and labels, all in rows.

    Args:
        probabilities: of a prediction, or with the classes on the last axis; or, with as many numbers as there are
            labels, those of class 1.
        labels: class of each row.

    Returns:
        Probabilities, (rows, classes) or (rows,), in float64 where the device has it, and labels (rows,).

    Raises:
        ValueError: the probabilities are none, or the labels are not theirs.
    """
    values = class_probabilities(probabilities)
    n_labels = torch.as_tensor(labels).numel()
    rows = values.flatten() if values.numel() == n_labels else values.reshape(-1, values.shape[-1])
    if len(rows) != n_labels or n_labels == 0:
        raise ValueError(
            f"`labels` must have one class for each row of probabilities, got {n_labels} for {len(rows)} rows."
        )
    return rows, whole_labels(labels, max(2, rows.shape[-1] if rows.dim() > 1 else 2)).to(rows.device)


def class_probabilities(probabilities: Probabilities) -> Tensor:
    """Read probabilities, with the classes on the last axis, or those of class 1 alone."""
    if isinstance(probabilities, Prediction):
        if probabilities.classes is None:
            raise ValueError(
                "`probabilities` must be probabilities, got a prediction of other numbers: call "
                "predict(..., transform='softmax') or 'sigmoid'."
            )
        means = probabilities.classes.probabilities.sum(0) / probabilities.classes.weights.sum()
        # Of one probability, both classes are remembered: one axis more than the outputs have.
        return means[..., 1] if means.dim() > probabilities.mean.dim() else means

    given = torch.as_tensor(probabilities)
    values = given.to(wide(given))
    if values.numel() == 0 or not (values.isfinite() & (values >= 0) & (values <= 1 + 1e-6)).all():
        raise ValueError("`probabilities` must be in [0, 1]: apply softmax or sigmoid to logits first.")
    off = (values.sum(-1) - 1).abs().max().item() if values.dim() > 1 and values.shape[-1] > 1 else 0.0
    if off > ROUNDING.get(given.dtype, 1e-6):
        raise ValueError(
            f"`probabilities` of the classes must sum to 1 in each row, got sums that are off by {off:.3g}."
        )
    return values


def whole_labels(labels: Tensor | ArrayLike, n_classes: int) -> Tensor:
    """Read labels as whole numbers below the number of classes."""
    given = torch.as_tensor(labels).flatten()
    whole = given.long()
    if not (whole == given).all() or whole.min() < 0 or whole.max() >= n_classes:
        raise ValueError(
            f"`labels` must be whole numbers from 0 to {n_classes - 1}, got values from {given.min().item()} to "
            f"{given.max().item()}."
        )
    return whole


def moments_of(prediction: Numbers) -> tuple[Tensor, Tensor]:
    """Read mean and variance; of a model with a variance head, the total variance."""
    if isinstance(prediction, Tensor):
        passes = passes_of(prediction)
        mean, variance = passes.mean(0), passes.var(0)
    elif isinstance(prediction, tuple):
        mean, variance = (torch.as_tensor(part) for part in prediction)
    elif isinstance(prediction, Prediction) and prediction.noise is not None:
        mean, variance = prediction.mean, prediction.total
    else:
        mean, variance = prediction.mean, prediction.variance
    if variance.numel() not in (1, mean.numel()) or not (variance >= 0).all():
        raise ValueError("the variance must be at least 0 and shaped as the mean.")
    mean = mean.to(wide(mean))
    return mean, variance.to(mean).reshape(mean.shape if variance.numel() == mean.numel() else ())


def passes_of(prediction: Numbers) -> Tensor:
    """Read the outputs of all passes, (passes, rows, ...)."""
    passes = prediction if isinstance(prediction, Tensor) else getattr(prediction, "samples", None)
    if passes is None:
        raise ValueError("the outputs of all passes are needed: call predict(..., keep_samples=True).")
    if passes.dim() < 2 or len(passes) < 2:
        raise ValueError(f"the passes must be of shape (passes, rows, ...), at least 2, got {tuple(passes.shape)}.")
    return passes.to(wide(passes))


def targets_like(y: Tensor | ArrayLike, mean: Tensor) -> Tensor:
    """Read measured values in the shape of their predictions: (rows,) beside (rows, 1) would broadcast to a square.

    Raises:
        ValueError: there are more or fewer than predictions, or some are not finite.
    """
    given = torch.as_tensor(y).to(mean)
    if given.numel() != mean.numel() or not given.isfinite().all():
        raise ValueError(
            f"`y` must have one finite value for each predicted one, got {tuple(given.shape)} for {tuple(mean.shape)}."
        )
    return given.reshape(mean.shape)
