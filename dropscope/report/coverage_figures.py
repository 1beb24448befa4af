"""Figures of how true the uncertainty of predicted numbers is: coverage of intervals, and where values fall."""

import numpy as np
from scipy import stats

from dropscope.ensemble.calibration import RegressionScores
from dropscope.report.picture import Bars, Figure, Line, Panel

__all__ = ["draw_coverage", "draw_pit"]


def draw_coverage(scores: RegressionScores) -> Figure:
    """Draw how often central intervals hold the measured value, at every nominal level.

    Args:
        scores: what `ensemble.calibration.regression_scores` gives.

    Returns:
        The figure; `to_png` and `to_plotly` show it.

    Example:
        >>> from dropscope.ensemble import calibration
        >>> draw_coverage(calibration.regression_scores(([0.0, 0.0], [1.0, 1.0]), [0.3, -2.0])).name
        'coverage'
    """
    nominal = np.linspace(0, 1, 201)
    reached = np.sort(np.abs(2 * scores.pit.flatten().cpu().numpy() - 1))
    held = np.searchsorted(reached, nominal, side="right") / len(reached)
    low, high = _range(len(reached), nominal)
    hover = [f"nominal {level:.1%}\nmeasured {share:.1%}" for level, share in zip(nominal, held, strict=True)]
    x = nominal.tolist()
    lines = [
        Line(x, x, "orange", "95 % of true laws", low=low.tolist(), high=high.tolist(), band=True, opacity=0.35),
        Line([0, 1], [0, 1], "muted", "true laws", "dash", 1.5),
        Line(x, held.tolist(), "blue", "measured", width=2.8, hover=hover),
    ]
    panel = Panel(
        "Coverage of central intervals", "nominal level", "share of measured values inside", lines, (0, 1.02), (0, 1)
    )
    caption = (
        f"{len(reached)} measured values; law of a prediction: {scores.law}. Shaded: where, at each level, 95 % of the "
        "curves would lie if the laws were true and the values independent. Area between the curve and the dashed "
        f"line: {scores.area:.3f}; on average {scores.expected_area:.3f} if the laws were true."
    )
    return Figure("coverage", "How often intervals hold the truth", _reading(scores), caption, [panel], columns=1)


def _reading(scores: RegressionScores) -> str:
    half, ninety = (float(((2 * scores.pit - 1).abs() <= level).double().mean()) for level in (0.5, 0.9))
    return f"Intervals of nominally 50 % and 90 % hold {half:.1%} and {ninety:.1%} of the measured values."


def _range(n: int, chance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % range of the share of n that have each chance, from the exact binomial law."""
    low, high = stats.binom.ppf(np.array([[0.025], [0.975]]), n, chance) / n
    return low, high


def draw_pit(scores: RegressionScores, bins: int = 10) -> Figure:
    """Draw where the measured values fall in their predicted laws: evenly, if these are true.

    Args:
        scores: what `ensemble.calibration.regression_scores` gives.
        bins: number of bars, at least 2.

    Returns:
        The figure.

    Raises:
        ValueError: there are fewer bars.

    Example:
        >>> from dropscope.ensemble import calibration
        >>> scores = calibration.regression_scores(([0.0, 0.0], [1.0, 1.0]), [0.3, -2.0])
        >>> draw_pit(scores, bins=2).panels[0].items[0].height
        [0.5, 0.5]
    """
    if bins < 2:
        raise ValueError(f"`bins` must be at least 2, got {bins}.")
    counts = scores.pit_histogram(bins).tolist()
    n = scores.pit.numel()
    share = [count / n for count in counts]
    low, high = (float(end[0]) for end in _range(n, np.array([1 / bins])))
    ends = (-0.5, bins - 0.5)
    hover = [
        f"F(y) from {k / bins:g} to {(k + 1) / bins:g}\n{count:g} values, {count / n:.1%}"
        for k, count in enumerate(counts)
    ]
    items: list[Bars | Line] = [
        Bars(list(range(bins)), [0.0] * bins, share, "sky", "measured", hover),
        Line(ends, [1 / bins] * 2, "ink", "true laws", "dash", 1.5),
        Line(ends, [low] * 2, "ink", "95 % of true laws", "dot", 1.3),
        Line(ends, [high] * 2, "ink", "", "dot", 1.3),
    ]
    ticks = {bins * at / 10 - 0.5: f"{at / 10:g}" for at in range(0, 11, 2)}
    panel = Panel(
        "Measured values within their laws", "F(y), the predicted chance of a lower value", "share of measured values",
        items, (0, 1.08 * max(*share, high)), ends, ticks,
    )  # fmt: skip
    caption = (
        f"{n} measured values; law of a prediction: {scores.law}. High at both ends: the laws are too narrow; high in "
        "the middle: too wide; sloping: the means are off. A bar of true laws and independent "
        "values would end between the dotted lines with chance 95 %."
    )
    return Figure("pit", "Where the truth falls", _pit_reading(share), caption, [panel], columns=1)


def _pit_reading(share: list[float]) -> str:
    return (
        f"The two outermost bars hold {share[0] + share[-1]:.1%} of the measured values; of true laws they would hold "
        f"{2 / len(share):.1%}."
    )
