"""Temperature scaling: one number, fitted on held-out rows, by which all logits are divided."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dropscope.ensemble.calibration.arguments import numbers, passes_of, sum_to_one, whole_labels
from dropscope.ensemble.calibration.searching import lowest
from dropscope.ensemble.outputs import check_axis
from dropscope.ensemble.prediction import Prediction
from dropscope.ensemble.streaming import wide
from dropscope.results import Result

__all__ = ["Temperature", "fit_temperature"]

# How many times larger or smaller than the spread of the logits a temperature may become.
WIDEST = 20.0
# Step of the derivatives by log T.
STEP = 1e-3


@dataclass(frozen=True, eq=False)
class Temperature(Result):
    """Divides logits by a temperature and makes them probabilities: `predict(..., transform=temperature)` takes it.

    Attributes:
        value: the temperature T; above 1 it makes the model less sure.
        error: its standard error over rows, without assuming that the model is right; nan where the search ended at a
            bound.
        nll: negative log-likelihood on the rows it was fitted on, nats.
        nll_before: that at T = 1.
        n_rows: number of those rows.
        bounds: between which T was searched for.
        link: "softmax", or "sigmoid" for a single logit.
        class_axis: axis of the classes.
    """

    value: float
    error: float
    nll: float
    nll_before: float
    n_rows: int
    bounds: tuple[float, float]
    link: str = "softmax"
    class_axis: int = -1

    def __call__(self, logits: Tensor) -> Tensor:
        """Turn logits into probabilities."""
        scaled = logits / self.value
        return scaled.sigmoid() if self.link == "sigmoid" else scaled.softmax(self.class_axis)

    @property
    def at_bound(self) -> bool:
        """Whether no finite temperature is best: the rows do not tell."""
        return math.isnan(self.error)

    def describe(self) -> str:
        """Say the temperature and what it gains."""
        lines = [
            f"temperature {self.value:.4g} ± {self.error:.2g}, fitted on {self.n_rows} rows",
            f"  negative log-likelihood {self.nll_before:.4g} -> {self.nll:.4g} nats",
        ]
        return "\n".join([*lines, *([f"  {_bound_note(self)}"] if self.at_bound else [])])


def fit_temperature(logits: Prediction | Tensor, labels: Tensor | ArrayLike, *, class_axis: int = -1) -> Temperature:
    """Find the temperature whose probabilities are likeliest on held-out rows: `min_T -mean log p_y(T)`.

    `p(T) = softmax(logits / T)`; with several passes `p(T) = mean_t softmax(logits_t / T)`, for Monte-Carlo dropout:
    averaging makes a model less sure, so that each pass needs another temperature than the model without dropout.

    Args:
        logits: (rows, classes), or (rows, 1) or (rows,) for a single logit; of several passes, with their axis before:
            (passes, rows, classes); or a `Prediction` without transform whose samples were kept.
        labels: true class of each row, from 0; of rows that the model was not trained on.
        class_axis: axis of the classes in the output.

    Returns:
        The temperature.

    Raises:
        ValueError: the shapes do not fit, or the samples were not kept.

    Warns:
        UserWarning: the likelihood grows as T goes to a bound, as where every row is right (T goes to 0) or the model
            is no better than chance (T grows); T is then the bound.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
        >>> temperature = fit_temperature(logits, [0, 0, 0, 1])
        >>> temperature(logits)[0]  # three of four are right
        tensor([0.7500, 0.2500])

    Reference:
        Guo et al., 2017, arXiv:1706.04599; of averages: Rahaman & Thiery, 2021, arXiv:2007.08792.
    """
    passes, truth, link = _read(logits, numbers("labels", labels), class_axis)
    # log p_y is minus the logsumexp of what the other logits have over that of y.
    ahead = passes - passes.gather(-1, truth.expand(len(passes), -1).unsqueeze(-1))

    def losses(log_t: float) -> Tensor:
        log_p = -(ahead * math.exp(-log_t)).logsumexp(-1)
        return math.log(len(ahead)) - log_p.logsumexp(0)

    spread = math.log(passes.std(-1, correction=0).mean().item())
    low, high = spread - math.log(WIDEST), spread + math.log(WIDEST)
    log_t = lowest(lambda at: losses(at).mean().item(), low, high)
    error = math.nan if log_t in (low, high) else math.exp(log_t) * _sandwich(losses, log_t)

    nll, before = losses(log_t).mean().item(), losses(0.0).mean().item()
    bounds = (math.exp(low), math.exp(high))
    found = Temperature(math.exp(log_t), error, nll, before, truth.numel(), bounds, link, class_axis)
    if found.at_bound:
        warnings.warn(_bound_note(found), stacklevel=2)
    return found


def _bound_note(found: Temperature) -> str:
    why = (
        "the surer the model, the likelier these rows, as where all are right: give more of them"
        if found.value < math.prod(found.bounds) ** 0.5
        else "the logits tell no more than chance on these rows"
    )
    return f"the temperature stopped at its bound {found.value:.3g}: {why}."


def _sandwich(losses: Callable[[float], Tensor], log_t: float) -> float:
    """Standard error of log T: the scatter of the rows' slopes over the mean curvature."""
    below, here, above = (losses(log_t + step) for step in (-STEP, 0.0, STEP))
    slopes = (above - below) / (2 * STEP)
    curvature = (above + below - 2 * here).mean() / STEP**2
    return (slopes.square().mean().sqrt() / curvature / len(slopes) ** 0.5).item()


def _read(logits: Prediction | Tensor, labels: Tensor, class_axis: int) -> tuple[Tensor, Tensor, str]:
    """Give logits (passes, rows, classes), labels (rows,), and the link; a single logit z becomes the pair (0, z)."""
    if labels.dim() == 2 and labels.shape[1] == 1:
        labels = labels.squeeze(1)
    passes = _passes(logits, labels, class_axis)
    if passes.numel() == 0 or not passes.isfinite().all():
        raise ValueError("`logits` must be finite, and of at least one row.")
    if ((passes > 0) & (passes < 1)).all() and sum_to_one(passes):
        raise ValueError("`logits` must be logits, got probabilities: take what the model gives before the softmax.")

    rows = passes.to(wide(passes)).flatten(1, -2)
    link = "sigmoid" if rows.shape[-1] == 1 else "softmax"
    rows = torch.cat([torch.zeros_like(rows), rows], -1) if link == "sigmoid" else rows
    if (rows == rows[..., :1]).all():
        raise ValueError("`logits` must differ between the classes of some row: all temperatures are as likely here.")
    return rows, whole_labels(labels, rows.shape[-1]).to(rows.device), link


def _passes(logits: Prediction | Tensor, labels: Tensor, class_axis: int) -> Tensor:
    """Give logits with the passes on the first axis and the classes on the last."""
    if isinstance(logits, Prediction):
        values = passes = _from_prediction(logits)
    else:
        values = numbers("logits", logits)
        passes = values if values.dim() > labels.dim() + 1 else values.unsqueeze(0)

    axis = class_axis if class_axis < 0 else class_axis + 1  # that of the passes stands before
    if passes.shape[1:] == labels.shape:
        check_axis(class_axis, (*labels.shape, 1))
        passes = passes.unsqueeze(axis)
    check_axis(class_axis, passes.shape[1:])
    if passes.dim() != labels.dim() + 2 or passes.movedim(axis, -1).shape[1:-1] != labels.shape:
        raise ValueError(
            "`logits` must be of shape (rows, classes) or (passes, rows, classes) for labels of shape "
            f"{tuple(labels.shape)}, got {tuple(values.shape)}."
        )
    return passes.movedim(axis, -1)


def _from_prediction(prediction: Prediction) -> Tensor:
    if prediction.classes is not None:
        raise ValueError(
            "`logits` must be logits, got a prediction of probabilities: call predict without `transform`."
        )
    return passes_of(prediction)
