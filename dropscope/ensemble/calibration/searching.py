"""The lowest point of a function of one number."""

from collections.abc import Callable

import numpy as np
from scipy import optimize

__all__ = ["lowest"]

POINTS = 25


def lowest(loss: Callable[[float], float], low: float, high: float) -> float:
    """Find where a smooth function is lowest: on a grid, then between the neighbours of the best point (Brent).

    Args:
        loss: the function; it may be infinite, and have several minima farther apart than the grid's points.
        low: lower end of where to look.
        high: upper end.

    Returns:
        The place; exactly an end, if it is lowest there.

    Example:
        >>> lowest(lambda x: (x - 2) ** 2, 0, 10), lowest(lambda x: x, 0, 10)
        (2.0, 0.0)
    """
    grid = np.linspace(low, high, POINTS)
    values = [loss(float(x)) for x in grid]
    best = int(np.argmin(values))
    between = (grid[max(best - 1, 0)], grid[min(best + 1, POINTS - 1)])

    found = optimize.minimize_scalar(loss, bounds=between, method="bounded", options={"xatol": 1e-10})
    return float(found.x if found.fun < values[best] else grid[best])
