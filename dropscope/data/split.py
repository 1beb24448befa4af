"""What every loader of a data set that is cut into training and test rows returns."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Split"]


@dataclass(frozen=True, eq=False)
class Split:
    """One cut of a data set, in the units of its source: nothing is scaled.

    Attributes:
        x_train: inputs to train on (rows, columns), float64.
        y_train: their targets (rows,), float64.
        x_test: inputs to test on (rows, columns), float64.
        y_test: their targets (rows,), float64.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
