"""Scores of a user's own model: by the loss, by a metric of dropscope's, or by one of the user's."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dropscope.errors import closest
from dropscope.study.metrics import score
from dropscope.study.own.data import count_rows, joined, moved, unpacked

__all__ = ["Metric", "answers", "batch_loss", "mean_loss", "name_of"]

Loss = Callable[[Any, Any], Tensor]
TASKS = {
    "rmse": "regression", "mae": "regression",
    "log_loss": "classification", "error": "classification", "balanced_error": "classification",
}  # fmt: skip
REFERENCES = {"regression": "mean of the target", "classification": "class shares"}


def name_of(function: Any) -> str:
    """Name a loss, metric or other callable, as short as a report wants it."""
    inner = getattr(function, "func", function)  # of a partial
    return str(getattr(inner, "__name__", type(inner).__name__)).strip("<>")


@torch.no_grad()
def answers(model: nn.Module, batches: Iterable[Any], device: torch.device) -> Iterator[tuple[Any, Any]]:
    """Give the outputs at rest and the targets of every batch."""
    model.eval()
    for batch in batches:
        inputs, target = unpacked(batch, device)
        yield model(*inputs), target


def batch_loss(loss: Loss, outputs: Any, target: Any) -> Tensor:
    """Compute the loss of a batch.

    Raises:
        ValueError: it is not one number.
    """
    value = loss(outputs, target)
    if not isinstance(value, Tensor) or value.ndim:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"`loss` must give a tensor of one number, got {got}.")
    return value


@torch.no_grad()
def mean_loss(pairs: Iterable[tuple[Any, Any]], loss: Loss) -> tuple[float, int]:
    """Average the loss of batches over their rows; give it with the number of rows."""
    total, rows = 0.0, 0
    for outputs, target in pairs:
        count = count_rows(target)
        total += float(batch_loss(loss, outputs, target)) * count
        rows += count
    return (total / rows if rows else float("nan")), rows


@dataclass(frozen=True)
class Metric:
    """What arms are compared by; lower is better.

    `function` is None for the loss itself and for the metrics that dropscope knows by `name`.
    """

    name: str
    function: Callable[[Any, Any], Any] | None = None

    @classmethod
    def of(cls, given: str | Callable[[Any, Any], Any] | None) -> "Metric":
        """Read what the user gave.

        Args:
            given: None for the loss, a name, or a function of outputs and targets of all rows.

        Returns:
            The metric.

        Raises:
            ValueError: the name is unknown.
            TypeError: it is neither.
        """
        if given is None:
            return cls("loss")
        if isinstance(given, str):
            if given not in TASKS:
                raise ValueError(f"`metric` must be a metric or a function, got {given!r}: {closest(given, [*TASKS])}")
            return cls(given)
        if not callable(given):
            raise TypeError(f"`metric` must be a name or a function of (outputs, target), got {given!r}.")
        return cls(name_of(given), given)

    @property
    def task(self) -> str | None:
        """The task whose metric this is, if dropscope knows it."""
        return TASKS.get(self.name) if self.function is None else None

    def scores(self, pairs: Iterable[tuple[Any, Any]], loss: Loss) -> tuple[dict[str, float], int]:
        """Score outputs against targets.

        Args:
            pairs: outputs and targets, batch by batch.
            loss: the loss of a batch.

        Returns:
            Numbers by name, this metric's among them, and the number of rows.
        """
        if self.name == "loss" and self.function is None:
            value, rows = mean_loss(pairs, loss)
            return {"loss": value}, rows
        collected = [moved(pair, "cpu") for pair in pairs]
        if not collected:
            return {self.name: float("nan")}, 0
        outputs, target = (joined([pair[i] for pair in collected]) for i in range(2))
        if self.function is not None:
            return {self.name: float(self.function(outputs, target))}, count_rows(target)
        return self._known(outputs, target), count_rows(target)

    def _known(self, outputs: Any, target: Any) -> dict[str, float]:
        task, y = self.task, _array(target)
        z = _array(outputs)
        y = y.astype(int) if y.dtype.kind == "b" else y
        if task == "regression" and z.size == y.size:
            return score("regression", z.reshape(-1), y.reshape(-1))
        labelled = z.ndim == 2 and y.shape == z.shape[:1] and y.dtype.kind in "iu"
        if task == "classification" and labelled and y.min() >= 0 and y.max() < z.shape[1]:
            return score("classification", z, y)
        wanted = "a number a row" if task == "regression" else "logits (rows, classes) and one label below it a row"
        raise ValueError(
            f"`metric` {self.name} needs {wanted}, got outputs {z.shape} and targets {y.shape} {y.dtype}: give a "
            "function of (outputs, target)."
        )

    def constant(self, y: Tensor, pairs: Iterable[Any]) -> dict[str, float]:
        """Score the constant prediction that fit rows give: their mean, or the shares of their classes.

        Args:
            y: targets of the fit rows.
            pairs: batches of the rows to score.

        Returns:
            Numbers by name.
        """
        target = joined([unpacked(batch, "cpu")[1] for batch in pairs])
        if self.task == "regression":
            return self._known(y.double().mean(0).expand(target.shape), target)
        labels = int(max(y.max(), target.max())) + 1
        # A class that no fit row has gets the chance that one row in a million would.
        shares = (torch.bincount(y.long(), minlength=labels) / len(y)).clamp(min=1e-6)
        return self._known(shares.log().expand(len(target), -1), target)


def _array(values: Any) -> np.ndarray:
    if not isinstance(values, Tensor):
        raise ValueError(f"`metric` by name needs a tensor of outputs, got {type(values).__name__}: give a function.")
    return np.asarray(values.detach().double().numpy() if values.is_floating_point() else values.numpy())
