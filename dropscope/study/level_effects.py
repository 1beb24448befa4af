"""Categories of many levels as numbers: how far the target of each level lies from the mean, shrunken to it."""

import numpy as np

__all__ = ["as_targets", "cross_fitted", "level_effects"]

FOLDS = 5


def as_targets(y: np.ndarray, classes: int) -> np.ndarray:
    """Write targets as columns whose means are meant: values; the second of two classes; one column a class.

    Args:
        y: shape (rows,), values or class indices; or (rows, targets), values or labels of 0 and 1.
        classes: number of classes, 0 for values.

    Returns:
        Shape (rows, columns), float64.

    Example:
        >>> as_targets(np.array([0, 1, 2]), 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if classes <= 2:
        return y.astype(float).reshape(len(y), -1)
    return (y[:, None] == np.arange(classes)).astype(float)


def level_effects(codes: np.ndarray, targets: np.ndarray, levels: int) -> np.ndarray:
    """Predict how far the mean target of each level lies from that of all rows.

    In the model target = mean + effect of the level + noise, the best linear prediction of the effect from the n rows
    of a level is `(their mean - mean) * n B / (n B + W)`, with the variances B between and W within levels estimated
    by the analysis of variance. Levels without rows get 0, and so do all where B is not above 0.

    Args:
        codes: shape (rows,), the level of each row; -1 is none.
        targets: shape (rows, columns).
        levels: number of levels.

    Returns:
        Shape (levels, columns).

    Example:
        >>> level_effects(np.array([0, 0, 1, 1]), np.array([[1.0], [1.0], [5.0], [5.0]]), 3).tolist()
        [[-2.0], [2.0], [0.0]]

    Reference:
        Searle, Casella & McCulloch, 1992, Variance Components, doi:10.1002/9780470316856; Micci-Barreca, 2001,
        doi:10.1145/507533.507538.
    """
    known = codes >= 0
    codes, targets = codes[known], targets[known]
    counts = np.bincount(codes, minlength=levels)
    present = int((counts > 0).sum())
    if len(codes) <= present or present < 2:
        return np.zeros((levels, targets.shape[1]))
    deviations = targets - targets.mean(0)
    sums = np.column_stack([np.bincount(codes, column, minlength=levels) for column in deviations.T])
    means = sums / np.maximum(counts, 1)[:, None]
    within = np.square(deviations - means[codes]).sum(0) / (len(codes) - present)
    between_squares = (counts[:, None] * np.square(means)).sum(0) / (present - 1)
    size = (len(codes) - np.square(counts).sum() / len(codes)) / (present - 1)
    between = np.maximum(0.0, (between_squares - within) / size)
    weight = counts[:, None] * between
    return means * np.divide(weight, weight + within, out=np.zeros_like(means), where=weight > 0)


def cross_fitted(codes: np.ndarray, targets: np.ndarray, levels: int) -> np.ndarray:
    """Give each row the effect of its level as the other rows show it: rows of the other four of five folds.

    With effects of all rows, each row's own target would be in its input, and a network would trust these columns more
    than new rows bear out.

    Args:
        codes: shape (rows,), the level of each row; -1 is none.
        targets: shape (rows, columns).
        levels: number of levels.

    Returns:
        Shape (rows, columns).
    """
    fold = np.random.default_rng(0).permutation(len(codes)) % FOLDS
    effects = np.zeros(targets.shape)
    for held_out in range(FOLDS):
        rest = fold != held_out
        table = level_effects(codes[rest], targets[rest], levels)
        effects[~rest] = np.vstack([table, np.zeros_like(targets[:1])])[codes[~rest]]
    return effects
