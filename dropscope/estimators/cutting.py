"""Which rows train the network, which choose the epoch, and which calibrate what it says about itself."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Cut", "cut_rows"]


@dataclass(frozen=True, eq=False)
class Cut:
    """Row indices, sorted: weights come from `fit`, epoch and noise from `validation`, quantiles from `calibration`."""

    fit: np.ndarray
    validation: np.ndarray
    calibration: np.ndarray


def cut_rows(
    rows: int,
    validation: float,
    calibration: float,
    random: np.random.RandomState,
    classes: np.ndarray | None = None,
) -> Cut:
    """Cut rows at random.

    Calibration rows are drawn from all rows alike, so that they are exchangeable with new ones; validation rows keep
    the shares of the classes, and leave every class that has rows left one to fit.

    Args:
        rows: number of rows, at least 2.
        validation: share of all rows; at least one row, unless it is 0.
        calibration: share of all rows, rounded down.
        random: source of randomness.
        classes: shape (rows,), class indices, or None.

    Returns:
        The cut.

    Example:
        >>> cut = cut_rows(20, 0.1, 0.25, np.random.RandomState(0))
        >>> len(cut.fit), len(cut.validation), len(cut.calibration)
        (13, 2, 5)
    """
    order = random.permutation(rows)
    held = int(calibration * rows + 1e-9)
    calibrating, rest = order[:held], order[held:]
    if classes is not None:
        rest = rest[np.argsort(_pace(classes[rest]), kind="stable")]
    chosen = max(1, round(validation * rows)) if validation else 0
    parts = rest[chosen:], rest[:chosen], calibrating
    return Cut(*map(np.sort, parts))


def _pace(classes: np.ndarray) -> np.ndarray:
    """Rank every row within its class, as a share of the class: walking by it meets all classes at an even pace."""
    pace = np.empty(len(classes))
    for label in np.unique(classes):
        members = classes == label
        pace[members] = (np.arange(members.sum()) + 0.5) / members.sum()
    return pace
