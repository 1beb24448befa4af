"""Smooth losses over rates: what a rate's neighbours say of it, against the noise of few seeds."""

from collections.abc import Sequence

import numpy as np
from scipy import optimize

from dropscope.study.rates import Rates

__all__ = ["residual_square", "smoothed"]

STRETCH = 9.0  # rates are told apart by log(1 + 9p): .05 lies as far from 0 as .5 from .31
SIGNAL = (0.05, 1e6)  # variance of the losses over rates, in units of their noise


def smoothed(losses: np.ndarray, arms: Sequence[Rates]) -> np.ndarray:
    """Estimate the mean loss of every arm from its own seeds and from those of arms with similar rates.

    The mean losses y are a Gaussian process over u = log(1 + 9p), of input and hidden layers, plus noise: with Matérn's
    K_ab = (1 + √3 d) exp(-√3 d), d = |u_a - u_b|, the noise variance s² of a mean, from what arms and seeds leave
    unexplained, and the signal variance t² of the highest likelihood, the estimate is

        ȳ + t² K (t² K + s² I)⁻¹ (y - ȳ).

    Args:
        losses: shape (arms, seeds), two of each or more; seeds pair the arms.
        arms: their (input p, hidden p).

    Returns:
        Shape (arms,), in units of the loss.

    Example:
        >>> arms = [(0, 0), (0, 0.1), (0, 0.2), (0, 0.3), (0, 0.5)]
        >>> table = np.array([[5.1, 4.9], [4.1, 4.4], [4.0, 4.6], [3.2, 2.8], [4.2, 3.8]])  # the third is unlucky
        >>> smoothed(table, arms).round(2)
        array([4.96, 4.33, 4.06, 3.28, 3.9 ])

    Reference:
        Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, sections 2.2 and 4.2.
    """
    y = losses.mean(1)
    noise = residual_square(losses) / losses.shape[1]
    return y.mean() + _posterior(y - y.mean(), _kernel(arms), noise) if noise else y


def _kernel(arms: Sequence[Rates]) -> np.ndarray:
    depth = max(len(p) if isinstance(p, tuple) else 1 for _, p in arms)
    hidden = np.array([np.broadcast_to(p, depth) for _, p in arms], float)
    # A rate in all hidden layers counts as much as one on the inputs, however many layers there are.
    u = np.column_stack([np.log1p(STRETCH * np.array([p for p, _ in arms], float)), np.log1p(STRETCH * hidden)])
    u[:, 1:] /= depth**0.5
    d = 3**0.5 * np.sqrt(np.square(u[:, None] - u).sum(2))
    return np.asarray((1 + d) * np.exp(-d))


def _posterior(y: np.ndarray, kernel: np.ndarray, noise: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(kernel)
    values, turned = values.clip(0), vectors.T @ y

    def unlikely(log_signal: float) -> float:
        variance = np.exp(log_signal) * noise * values + noise
        return float(np.log(variance).sum() + (np.square(turned) / variance).sum())

    signal = np.exp(optimize.minimize_scalar(unlikely, bounds=np.log(SIGNAL), method="bounded").x)
    return np.asarray(vectors @ (turned * signal * values / (signal * values + 1)))


def residual_square(values: np.ndarray) -> float:
    """Compute the residual mean square of a randomised-block table.

    Args:
        values: shape (arms, seeds), two of each or more.

    Returns:
        The mean square, on (arms - 1)(seeds - 1) degrees of freedom.

    Example:
        >>> residual_square(np.array([[1.0, 2.0], [3.0, 4.0]]))  # arms and seeds explain everything
        0.0
    """
    residual = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    return float(np.square(residual).sum()) / ((values.shape[0] - 1) * (values.shape[1] - 1))
