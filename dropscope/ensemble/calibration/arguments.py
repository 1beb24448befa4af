"""What is given to be judged: probabilities with their labels, or predicted numbers with the measured ones."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
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
    "class_probabilities",
    "class_rows",
    "in_rows",
    "moments_of",
    "numbers",
    "passes_of",
    "sum_to_one",
    "targets_like",
    "variance_like",
    "whole_labels",
]

Probabilities: TypeAlias = Prediction | Tensor | ArrayLike
# A prediction; means and variances; or the outputs of all passes, (passes, rows, ...).
Numbers: TypeAlias = Prediction | Moments | tuple[ArrayLike, ArrayLike] | Tensor | ArrayLike


def check_share(name: str, value: float) -> float:
    """Refuse what is not strictly between 0 and 1."""
    if not isinstance(value, Real | Tensor) or not 0 < value < 1:
        raise ValueError(f"`{name}` must be a number between 0 and 1, got {value!r}.")
    return value


def numbers(name: str, values: Tensor | ArrayLike) -> Tensor:
    """Read numbers of any kind, without their gradient.

    Raises:
        ValueError: they are no numbers.
    """
    if isinstance(values, Tensor):
        return values.detach()
    array = np.array(values, order="C")  # a copy: torch takes neither negative strides nor what is read-only
    if array.dtype.kind not in "biuf":
        shown = f", such as {array.ravel()[:1].tolist()[0]!r}" if array.size else ""
        raise ValueError(f"`{name}` must be numbers, got {array.dtype}{shown}.")
    return torch.from_numpy(array)


def same_rows(one: Sequence[int], other: Sequence[int]) -> bool:
    """Say whether two shapes are equal but for axes of length 1."""
    return [n for n in one if n != 1] == [n for n in other if n != 1]


def class_rows(probabilities: Probabilities, labels: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
    """Read probabilities and labels, all in rows.

    Args:
        probabilities: of a prediction, or with the classes on the last axis; or, shaped as the labels, those of
            class 1.
        labels: class of each row.

    Returns:
        Probabilities, (rows, classes) or (rows,), in float64 where the device has it, and labels (rows,).

    Raises:
        ValueError: the probabilities are none, or the labels are not theirs.
    """
    values, truth = class_probabilities(probabilities), numbers("labels", labels)
    single = same_rows(truth.shape, values.shape)
    one_hot = single and truth.dim() > 1 and truth.shape[-1] > 1 and bool((truth.sum(-1) == 1).all())
    if one_hot and sum_to_one(values):
        raise ValueError("`labels` must be class numbers, got one-hot rows: give labels.argmax(-1).")
    if not single and not same_rows(truth.shape, values.shape[:-1]):
        raise ValueError(
            f"`labels` must have one class for each row of probabilities, got shape {tuple(truth.shape)} for "
            f"{tuple(values.shape)}."
        )
    rows = in_rows(values, single)
    return rows, whole_labels(truth, 2 if single else rows.shape[1]).to(rows.device)


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

    given = numbers("probabilities", probabilities)
    if given.numel() == 0:
        raise ValueError(f"`probabilities` must have at least one row, got shape {tuple(given.shape)}.")
    if not (given.isfinite() & (given >= 0) & (given <= 1 + ROUNDING.get(given.dtype, 1e-6))).all():
        raise ValueError("`probabilities` must be in [0, 1]: apply softmax or sigmoid to logits first.")
    return given


def in_rows(values: Tensor, single: bool) -> Tensor:
    """Give probabilities as (rows, classes), or those of class 1 alone as (rows,).

    Raises:
        ValueError: those of the classes do not sum to 1.
    """
    rows = values.to(wide(values))
    if single:
        return rows.flatten()
    if not sum_to_one(values):
        off = (rows.sum(-1) - 1).abs().max().item()
        raise ValueError(
            f"`probabilities` of the classes must sum to 1 in each row, got sums that are off by {off:.3g}."
        )
    return rows.reshape(-1, rows.shape[-1])


def sum_to_one(values: Tensor) -> bool:
    """Say whether the numbers of each row sum to 1, but for rounding."""
    off = (values.to(wide(values)).sum(-1) - 1).abs()
    return bool((off <= ROUNDING.get(values.dtype, 1e-6)).all())


def whole_labels(labels: Tensor, n_classes: int) -> Tensor:
    """Read labels as whole numbers below the number of classes."""
    given = labels.flatten().to(wide(labels))
    whole = given.long()
    if not ((whole == given) & (whole >= 0) & (whole < n_classes)).all():
        raise ValueError(
            f"`labels` must be whole numbers from 0 to {n_classes - 1}, got values from {given.min().item():g} to "
            f"{given.max().item():g}."
        )
    return whole


def moments_of(prediction: Numbers) -> tuple[Tensor, Tensor]:
    """Read mean and variance, of one shape; of a model with a variance head, the total variance."""
    pair: Sequence[Any]
    if isinstance(prediction, Prediction) and prediction.noise is not None:
        pair = prediction.mean, prediction.total
    elif isinstance(prediction, Prediction | Moments):
        pair = prediction.mean, prediction.variance
    elif isinstance(prediction, tuple | list):
        pair = prediction
    else:
        passes = passes_of(prediction)
        pair = passes.mean(0), passes.var(0)
    if len(pair) != 2:
        raise ValueError(f"`prediction` must be a pair of means and variances, got {len(pair)} of them.")

    given = torch.atleast_1d(numbers("mean", pair[0]))
    mean = given.to(wide(given))
    if mean.numel() == 0 or not mean.isfinite().all():
        raise ValueError(f"the mean must be finite and of at least one row, got shape {tuple(mean.shape)}.")
    return mean, variance_like(mean, pair[1], "variance")


def variance_like(mean: Tensor, variance: Tensor | ArrayLike, name: str) -> Tensor:
    """Read variances in the shape of the mean, one for each number or one for all."""
    given = numbers(name, variance).to(mean)
    single = given.numel() == 1
    if not (single or same_rows(given.shape, mean.shape)):
        raise ValueError(
            f"`{name}` must be one number or as many as there are means, got shape {tuple(given.shape)} for "
            f"{tuple(mean.shape)}."
        )
    if not (given.isfinite() & (given >= 0)).all():
        raise ValueError(f"`{name}` must be finite and at least 0, got values from {given.min()} to {given.max()}.")
    return given.flatten().expand(mean.shape) if single else given.reshape(mean.shape)


def passes_of(prediction: Numbers) -> Tensor:
    """Read the outputs of all passes, (passes, rows, ...)."""
    packed = isinstance(prediction, Prediction | Moments | tuple | list)
    given: Any = getattr(prediction, "samples", None) if packed else prediction
    if given is None:
        raise ValueError("the outputs of all passes are needed: call predict(..., keep_samples=True).")
    passes = numbers("prediction", given)
    if passes.dim() < 2 or len(passes) < 2:
        raise ValueError(
            f"the passes must be of shape (passes, rows, ...), at least 2 of them, got {tuple(passes.shape)}: of means "
            "alone nothing can be said, give a pair (means, variances)."
        )
    return passes.to(wide(passes))


def targets_like(y: Tensor | ArrayLike, mean: Tensor) -> Tensor:
    """Read measured values in the shape of their predictions: (rows,) beside (rows, 1) would broadcast to a square.

    Raises:
        ValueError: they are not shaped as the predictions, or some are not finite.
    """
    given = numbers("y", y).to(mean)
    if not same_rows(given.shape, mean.shape):
        raise ValueError(
            f"`y` must have one value for each predicted one, got shape {tuple(given.shape)} for {tuple(mean.shape)}."
        )
    if not given.isfinite().all():
        raise ValueError(f"`y` must be finite, got {(~given.isfinite()).sum()} values that are nan or infinite.")
    return given.reshape(mean.shape)
