"""Figure of how true class probabilities are."""

from dropscope.ensemble.calibration import Reliability
from dropscope.report.picture import Bars, Figure, Line, Panel

__all__ = ["draw_reliability"]

# Height of the panel that counts rows, beside the one above it.
COUNTS = 0.55


def draw_reliability(found: Reliability) -> Figure:
    """Draw how often each bin of confidences is right, and how many rows it has.

    Beside it stand the line of perfect calibration and the range in which 95 % of perfectly calibrated models with
    these confidences would lie.

    Args:
        found: what `ensemble.calibration.reliability` gives.

    Returns:
        The figure; `to_png` and `to_plotly` show it.

    Example:
        >>> from dropscope.ensemble import calibration
        >>> found = calibration.reliability([[0.8, 0.2], [0.3, 0.7]], [0, 0], bins=10)
        >>> draw_reliability(found).panels[0].title
        'Accuracy by confidence'
    """
    whose = "the likeliest class" if found.of_class is None else f"class {found.of_class}"
    right = "accuracy" if found.of_class is None else f"share of class {found.of_class}"
    n = len(found.bins.count)
    ends, ticks = (-0.5, n - 0.5), {n * at / 10 - 0.5: f"{at / 10:g}" for at in range(0, 11, 2)}
    label = f"confidence: probability of {whose}"

    upper = Panel(
        f"{right.capitalize()} by confidence", "", right, _accuracies(found, right), (-0.02, 1.02), ends, ticks
    )
    count = found.bins.count.tolist()
    hover = [f"{rows:g} of {found.n_rows} rows" for rows in count]
    bars = Bars(list(range(n)), [0.0] * n, count, "rest", "", hover)
    lower = Panel("Rows by confidence", label, "rows", [bars], (0, 1.06 * max(count)), ends, ticks, height=COUNTS)

    chance = "more than chance explains" if found.p_value < 0.05 else "no more than chance explains"
    reading = (
        f"Confidence is off by {found.ece:.3f} on average (ECE), {chance}: a perfectly calibrated model would show "
        f"{found.expected['ece']:.3f} (p = {found.p_value:.2g})."
    )
    caption = (
        f"{found.n_rows} rows in {n} bins of equal width by the probability of {whose}. Points: {right} at the mean "
        "confidence of a bin, with its standard error. Shaded: where 95 % of perfectly calibrated models with these "
        f"confidences would lie. Mean confidence minus {right}: {found.overconfidence:+.3f} ± "
        f"{found.errors['overconfidence']:.3f}."
    )
    return Figure("reliability", "How true the probabilities are", reading, caption, [upper, lower], columns=1)


def _accuracies(found: Reliability, right: str) -> list[Line]:
    """The x axis counts bins, so that confidence c stands at n c - 1/2."""
    n = len(found.bins.count)
    filled = found.bins.count.nonzero().flatten().tolist()
    bins = {name: value[filled].tolist() for name, value in vars(found.bins).items() if name != "edges"}
    rows = [dict(zip(bins, values, strict=True)) for values in zip(*bins.values(), strict=True)]

    bands = []
    for k, one in zip(filled, rows, strict=True):
        sides, low, high = [k - 0.46, k + 0.46], [one["low"]] * 2, [one["high"]] * 2
        label = "95 % of calibrated models" if k == filled[0] else ""
        bands.append(Line(sides, low, "orange", label, low=low, high=high, band=True, opacity=0.4))
    hover = [
        f"confidence {one['confidence']:.3f}\n{right} {one['accuracy']:.3f} ± {one['error']:.3f}\n"
        f"{one['low']:.3f} to {one['high']:.3f} if calibrated\n{one['count']:g} rows"
        for one in rows
    ]
    points = Line(
        [n * one["confidence"] - 0.5 for one in rows], bins["accuracy"], "blue", right, width=1.5, marker="circle",
        low=[max(one["accuracy"] - one["error"], 0.0) for one in rows],
        high=[min(one["accuracy"] + one["error"], 1.0) for one in rows], hover=hover,
    )  # fmt: skip
    return [*bands, Line([-0.5, n - 0.5], [0, 1], "muted", "perfect calibration", "dash", 1.5), points]
