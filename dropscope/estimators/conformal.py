"""The one number of split-conformal prediction: the quantile of held-out scores that a new row stays below."""

import numpy as np

from dropscope.ensemble.calibration.arguments import numbers
from dropscope.ensemble.calibration.ranks import ranked

__all__ = ["conformal_quantile"]


def conformal_quantile(scores: np.ndarray, weights: np.ndarray, alpha: float) -> np.ndarray:
    """Find the score that a new row exceeds with probability of at most alpha.

    With equal weights the k-th smallest of n scores, k = ceil((n + 1)(1 - alpha)); in general the smallest score up to
    which the weights sum to (1 - alpha)(Σw + w̄): the new row counts as much as the mean of the others.

    Args:
        scores: shape (rows, outputs), from rows that decided nothing about the model.
        weights: shape (rows,), positive.
        alpha: in (0, 1).

    Returns:
        Shape (outputs,).

    Raises:
        ValueError: `alpha` is not in (0, 1), or too small for so few rows: only infinity would do.

    Example:
        >>> conformal_quantile(np.arange(1.0, 20.0)[:, None], np.ones(19), alpha=0.1)
        array([18.])

    Reference:
        Vovk, Gammerman & Shafer, 2005, doi:10.1007/b106715; with weights: Tibshirani et al., 2019, arXiv:1904.06019.
    """
    own = numbers("weights", weights)
    return ranked(numbers("scores", scores), alpha, own).quantiles(alpha, 1, own.mean())[0].numpy()
