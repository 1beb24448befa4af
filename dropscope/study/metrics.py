"""Scores of network outputs in the units a user knows."""

import numpy as np
from scipy import special

from dropscope.errors import need

__all__ = ["LABELS", "score"]

LABELS = {
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "log_loss": "log-loss (nats)",
    "error": "error rate",
    "accuracy": "accuracy",
    "balanced_error": "balanced error rate",
    "balanced_accuracy": "balanced accuracy",
}


def score(task: str, outputs: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Score outputs against the truth.

    Args:
        task: regression or classification.
        outputs: shape (rows,), in units of the target; or shape (rows, classes), logits or log-probabilities.
        y: shape (rows,), values or class indices.

    Returns:
        Regression: rmse, mae, r2. Classification: log_loss (nats), error, balanced_error, accuracy, balanced_accuracy.

    Example:
        >>> score("regression", np.array([1.0, 2.0]), np.array([1.0, 4.0]))["rmse"] == 2**0.5
        True
    """
    outputs = outputs.astype(float)
    if task == "regression":
        error = outputs - y
        spread = float(np.square(y - y.mean()).mean())
        square = float(np.square(error).mean())
        r2 = 1 - square / spread if spread > 0 else float("nan")
        return {"rmse": square**0.5, "mae": float(np.abs(error).mean()), "r2": r2}
    chances = special.log_softmax(outputs, axis=1)
    balanced = _balanced_accuracy(y, outputs.argmax(1))
    accuracy = float((outputs.argmax(1) == y).mean())
    return {
        "log_loss": float(-chances[np.arange(len(y)), y].mean()),
        "error": 1 - accuracy,
        "balanced_error": 1 - balanced,
        "accuracy": accuracy,
        "balanced_accuracy": balanced,
    }


def _balanced_accuracy(y: np.ndarray, predicted: np.ndarray) -> float:
    # Recall averaged over the classes present in y: scikit-learn's definition, without its warning on absent ones.
    metrics = need("sklearn.metrics", "study")
    return float(metrics.recall_score(y, predicted, average="macro", labels=np.unique(y), zero_division=0))
