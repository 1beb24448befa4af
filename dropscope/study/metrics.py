"""Scores of network outputs in the units a user knows."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import special

from dropscope.errors import need
from dropscope.study.targets import Target

__all__ = ["LABELS", "Scorer", "Scores", "score"]


class _Labels(dict[str, str]):
    """Names of metrics in words; a user's own metric is called what it is called."""

    def __missing__(self, name: str) -> str:
        return name


LABELS = _Labels(
    {
        "rmse": "RMSE",
        "mae": "MAE",
        "r2": "R²",
        "pinball": "pinball loss",
        "coverage": "coverage",
        "log_loss": "log-loss (nats)",
        "error": "error rate",
        "accuracy": "accuracy",
        "balanced_error": "balanced error rate",
        "balanced_accuracy": "balanced accuracy",
    }
)
IN_UNITS = {"mae", "pinball"}  # and rmse, whose square is averaged
Scores = dict[str, float]


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores outputs on rows of a study against the truth.

    `y` holds the targets of all rows, `units` the standard deviation of each of several targets of numbers on the rows
    that are not test rows.
    """

    target: Target
    y: np.ndarray
    units: np.ndarray

    def each(self, outputs: np.ndarray, rows: np.ndarray, weights: np.ndarray | None = None) -> dict[str, Scores]:
        """Score every target by itself.

        Args:
            outputs: shape (rows,) or (rows, outputs), in units of the targets, or logits.
            rows: indices of the rows.
            weights: what each row of the table counts, None for all alike.

        Returns:
            Scores by name of the target.
        """
        y, counts, target = self.y[rows], None if weights is None else weights[rows], self.target
        scored = partial(score, target.task, weights=counts, quantile=target.quantile)
        if not target.several:
            return {target.names[0]: scored(outputs, y)}
        columns = list(outputs.T)
        if target.levels:
            columns = [np.column_stack([np.zeros(len(rows)), logits]) for logits in columns]
        return {name: scored(one, truth) for name, one, truth in zip(target.names, columns, y.T, strict=True)}

    def overall(self, scores: dict[str, Scores]) -> Scores:
        """Join the scores of all targets.

        Args:
            scores: by name of the target, from `each`.

        Returns:
            Means over targets, errors in units of each one's standard deviation; rmse is the root of the mean square.
        """
        first, *others = scores.values()
        if not others:
            return first
        table = {name: np.array([one[name] for one in scores.values()]) for name in first}
        means = {name: (values / self.units if name in IN_UNITS else values).mean() for name, values in table.items()}
        if "rmse" in table:
            means["rmse"] = np.square(table["rmse"] / self.units).mean() ** 0.5
        return {name: float(mean) for name, mean in means.items()}


def score(
    task: str, outputs: np.ndarray, y: np.ndarray, *, weights: np.ndarray | None = None, quantile: float | None = None
) -> Scores:
    """Score outputs for one target against the truth.

    Args:
        task: regression or classification.
        outputs: shape (rows,), in units of the target; or shape (rows, classes), logits or log-probabilities.
        y: shape (rows,), values or class indices.
        weights: shape (rows,), what each row counts; None for all alike.
        quantile: the quantile that the outputs predict, in place of the mean.

    Returns:
        Regression: rmse, mae, r2; of a quantile: pinball and coverage, the share of values at or below the outputs.
        Classification: log_loss (nats), error, balanced_error, accuracy, balanced_accuracy.

    Example:
        >>> score("regression", np.array([1.0, 2.0]), np.array([1.0, 4.0]))["rmse"] == 2**0.5
        True
    """
    outputs = outputs.astype(float)
    mean = partial(np.average, weights=weights)
    if quantile is not None:
        above = y - outputs
        pinball = float(mean(np.maximum(quantile * above, (quantile - 1) * above)))
        return {"pinball": pinball, "coverage": float(mean(y <= outputs))}
    if task == "regression":
        error = outputs - y
        spread = float(mean(np.square(y - mean(y))))
        square = float(mean(np.square(error)))
        r2 = 1 - square / spread if spread > 0 else float("nan")
        return {"rmse": square**0.5, "mae": float(mean(np.abs(error))), "r2": r2}
    chances = special.log_softmax(outputs, axis=1)
    balanced = _balanced_accuracy(y, outputs.argmax(1), weights)
    accuracy = float(mean(outputs.argmax(1) == y))
    return {
        "log_loss": float(-mean(chances[np.arange(len(y)), y])),
        "error": 1 - accuracy,
        "balanced_error": 1 - balanced,
        "accuracy": accuracy,
        "balanced_accuracy": balanced,
    }


def _balanced_accuracy(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None) -> float:
    # Recall averaged over the classes present in y: scikit-learn's definition, without its warning on absent ones.
    metrics = need("sklearn.metrics", "study")
    return float(
        metrics.recall_score(y, predicted, average="macro", labels=np.unique(y), sample_weight=weights, zero_division=0)
    )
