"""The one number of split-conformal prediction: the quantile of held-out scores that a new row stays below."""

import numpy as np
import torch

from dropscope.ensemble.calibration.ranks import ROUNDING, ranked

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
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` must be in (0, 1), got {alpha}.")
    n = len(scores)
    needed = f"`alpha` must be at least {1 / (n + 1):.3g} where {n} rows calibrate, got {alpha}"
    quantile = _quantile(scores, weights, alpha) if alpha * (n + 1) > 1 - ROUNDING else np.array(np.inf)
    if np.isinf(quantile).any():
        raise ValueError(f"{needed}: fit on more rows, or raise `calibration_fraction`.")
    return quantile


def _quantile(scores: np.ndarray, weights: np.ndarray, alpha: float) -> np.ndarray:
    new = torch.tensor([weights.mean()])
    return ranked(torch.from_numpy(scores.copy()), alpha, weights.copy()).quantile(alpha, new)[0].numpy()
