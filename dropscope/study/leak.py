"""Find up to three numeric columns that give the target away."""

from itertools import combinations

import numpy as np

__all__ = ["find_leak"]

THRESHOLD = 0.9999
SEARCHED = 60


def find_leak(x: np.ndarray, names: list[str], y: np.ndarray) -> tuple[str, ...] | None:
    """Find the smallest set of up to three columns whose linear fit gives the target at R² > .9999.

    Args:
        x: shape (rows, columns), missing values as nan (taken as the column's mean).
        names: one name a column.
        y: shape (rows,).

    Returns:
        The names of the columns, or None.

    Example:
        >>> a, b = np.random.default_rng(0).normal(size=(2, 100))
        >>> find_leak(np.column_stack([a, b, a * b]), ["a", "b", "c"], 2 * a - b)
        ('a', 'b')
    """
    known = ~np.isnan(x).all(0)
    x, names = x[:, known], [name for name, one in zip(names, known, strict=True) if one]
    if not names or y.min() == y.max():
        return None
    x = np.where(np.isnan(x), np.nanmean(x, axis=0), x)
    x, y = x - x.mean(0), y - y.mean()
    x = x / np.maximum(np.linalg.norm(x, axis=0), 1e-300)
    y = y / np.linalg.norm(y)
    weight = x.T @ y
    if x.shape[1] < len(y):
        weight = np.linalg.lstsq(x, y, rcond=None)[0]
        if np.square(y - x @ weight).sum() >= 1 - THRESHOLD:
            return None
    kept = np.argsort(-np.abs(weight))[:SEARCHED]
    gram, along = x[:, kept].T @ x[:, kept], x[:, kept].T @ y
    for size in range(1, 1 + min(3, len(kept))):
        sets = np.array(list(combinations(range(len(kept)), size)))
        blocks = gram[sets[:, :, None], sets[:, None, :]] + 1e-12 * np.eye(size)
        explained = (along[sets] * np.linalg.solve(blocks, along[sets][..., None])[..., 0]).sum(1)
        if explained.max() > THRESHOLD:
            return tuple(names[kept[i]] for i in sets[explained.argmax()])
    return None
