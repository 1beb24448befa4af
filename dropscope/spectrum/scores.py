"""The function of a model whose variance is measured: what it computes, or the logits of a fitted classifier."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

__all__ = ["centre_logits", "score_function"]


def centre_logits(logits: Any) -> Any:
    """Subtract from each row of logits its mean, which no probability depends on.

    Args:
        logits: outputs of a classifier, a tensor or an array of shape (..., classes).

    Returns:
        Logits of the same shape whose rows sum to zero.

    Example:
        >>> centre_logits(np.array([[1.0, 3.0]]))
        array([[-1.,  1.]])
    """
    return logits - logits.mean(-1, keepdims=True)


def score_function(f: Any) -> Callable[[Any], Any]:
    """The function of rows that a model stands for.

    A callable is taken as it is. An estimator that classifies gives its `decision_function`, else its margins (xgboost,
    lightgbm) or log probabilities, centred over the classes; any other its `predict`.

    Args:
        f: a callable, or a fitted estimator with the methods of scikit-learn.

    Returns:
        A function from rows to outputs of shape (rows,) or (rows, outputs).

    Raises:
        TypeError: f is neither, or a class.
    """
    if isinstance(f, type):
        raise TypeError(f"`f` must be a fitted model, got the class {f.__name__}.")
    if callable(f):
        return f
    if hasattr(f, "decision_function"):
        return lambda rows: _centred(f.decision_function(rows))
    if hasattr(f, "predict_proba"):
        margins = _margins(f)
        return (lambda rows: _centred(margins(rows))) if margins else (lambda rows: _log_probabilities(f, rows))
    if hasattr(f, "predict"):
        return f.predict
    raise TypeError(f"`f` must be a function, a torch module or a fitted estimator, got {type(f).__name__}.")


def _centred(scores: Any) -> Any:
    """Scores of several classes, centred; of two classes there is often one score, and it is left as it is."""
    scores = np.asarray(scores)
    return centre_logits(scores) if scores.ndim == 2 and scores.shape[1] > 1 else scores


def _margins(f: Any) -> Callable[[Any], Any] | None:
    """The scores of boosted trees before they become probabilities, which may round to 0 or 1."""
    if hasattr(f, "get_booster"):
        return partial(f.predict, output_margin=True)
    if hasattr(f, "booster_"):
        return partial(f.predict, raw_score=True)
    return None


def _log_probabilities(f: Any, rows: Any) -> Any:
    logged = hasattr(f, "predict_log_proba")
    with np.errstate(divide="ignore"):
        given = f.predict_log_proba(rows) if logged else f.predict_proba(rows)
    if isinstance(given, list):
        raise TypeError(
            f"`f` must predict one target, got {len(given)}: pass a function of one of them, "
            "`lambda x: f.predict_proba(x)[0]` for the first."
        )

    with np.errstate(divide="ignore"):
        logits = np.asarray(given) if logged else np.log(given)
    if np.isneginf(logits).any():
        raise ValueError(
            f"`f` must give finite logits, but gives one of its {logits.shape[1]} classes the probability 0: measure "
            "the probability itself, with `lambda x: f.predict_proba(x)[:, 1]` for class 1."
        )
    return centre_logits(logits)
