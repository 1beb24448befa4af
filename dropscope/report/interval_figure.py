"""Figure of predicted numbers with their intervals, beside the measured ones."""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from dropscope.ensemble.calibration import Intervals
from dropscope.ensemble.calibration.arguments import targets_like
from dropscope.report.picture import Figure, Line, Panel

__all__ = ["draw_intervals"]

# More rows hide one another.
MOST_ROWS = 150


def draw_intervals(intervals: Intervals, y: Tensor | ArrayLike) -> Figure:
    """Draw intervals in ascending order of the prediction, and which measured values they hold.

    Args:
        intervals: what `ensemble.calibration.central_intervals` or conformal intervals give.
        y: measured values.

    Returns:
        The figure; of more than 150 rows, every so manyth is shown.

    Raises:
        ValueError: there are more or fewer measured values than intervals.

    Example:
        >>> from dropscope.ensemble import calibration
        >>> draw_intervals(calibration.central_intervals(([1.0, 2.0], [1.0, 1.0])), [1.5, 9.0]).reading
        'The 90 % intervals hold 50.0 % of 2 measured values, and are 3.29 wide on average.'
    """
    inside = intervals.covers(y).flatten()
    measured = targets_like(y, intervals.mean).flatten()
    order = intervals.mean.flatten().argsort()
    n = len(order)
    shown = order[torch.linspace(0, n - 1, min(n, MOST_ROWS)).round().long()]
    rank = torch.arange(float(len(shown)))

    mean, low, high = (part.flatten()[shown].tolist() for part in (intervals.mean, intervals.low, intervals.high))
    name = f"{100 * intervals.level:g} %"
    x = rank.tolist()
    band = Line(x, mean, "rest", f"{name} interval", low=low, high=high, band=True, opacity=0.35)
    line = Line(x, mean, "muted", "prediction", width=1.5)
    points = [
        _points(rank[chosen], measured[shown[chosen]], colour, label)
        for chosen, colour, label in ((inside[shown], "blue", "measured, inside"),
                                      (~inside[shown], "vermilion", "measured, outside"))
    ]  # fmt: skip
    values = [value for value in (*low, *high, *measured[shown].tolist()) if abs(value) < float("inf")]
    margin = 0.04 * (max(values) - min(values)) or 1.0
    panel = Panel(
        "Measured and predicted", "rows, in order of the prediction", "value", [band, line, *points],
        (min(values) - margin, max(values) + margin), (-1, len(shown)),
    )  # fmt: skip

    held, width = float(inside.double().mean()), float(intervals.width.mean())
    reading = (
        f"The {name} intervals hold {100 * held:.1f} % of {n} measured values, and are {width:.3g} wide on average."
    )
    some = f" {len(shown)} of {n} rows are shown, evenly spaced in that order." if len(shown) < n else ""
    caption = f"Rows stand in ascending order of the predicted number; shaded are the intervals.{some}"
    return Figure("intervals", "Intervals and the truth", reading, caption, [panel], columns=1)


def _points(x: Tensor, y: Tensor, colour: str, label: str) -> Line:
    hover = [f"measured {value:.4g}" for value in y.tolist()]
    return Line(x.tolist(), y.tolist(), colour, label, "", marker="circle", size=5, hover=hover)
