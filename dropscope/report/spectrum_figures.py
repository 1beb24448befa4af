"""Figures of the variance that networks learn at each interaction order: against p, and by epoch."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dropscope.report.picture import Bars, Figure, Line, Panel
from dropscope.report.reading import (
    PLACES, arm_name, best, interval, number, one_line, orders_of, p_text, place_arms, sentence, shown_arms, trials_of, variances,
)  # fmt: skip
from dropscope.study import Arm, StudyResult

__all__ = ["epoch_spectrum_figure", "order_colour", "spectrum_figure"]

ORDER_COLOURS = ("blue", "orange", "green", "purple", "vermilion", "sky")
SHARE = "share of the output's variance"
TOTAL = {"regression": "output variance / target variance", "classification": "variance of the centred logits"}
# More bars than this cannot all be labelled.
MOST_TICKS = 10
MOST_BLOCKS = 15

Stack = tuple[str, list[dict[str, Any] | None]]


def order_colour(name: str) -> str:
    """Choose the colour of an order, the same in every figure.

    Args:
        name: such as "order 2" or "order > 3".

    Returns:
        The name of a colour.
    """
    return "rest" if ">" in name else ORDER_COLOURS[(int(name.split()[1]) - 1) % len(ORDER_COLOURS)]


def spectrum_figure(result: StudyResult) -> Figure | None:
    """Draw the variance at each order against p, one column a place: its total above, its shares below.

    Args:
        result: the study.

    Returns:
        The figure; None where no spectrum was measured.
    """
    orders = orders_of(result)
    if not orders:
        return None
    stacks = {place: [_stack(result, arm) for _, arm in place_arms(result, place)] for place in PLACES}
    stacks = {place: bars for place, bars in stacks.items() if bars}
    top = _highest(list(stacks.values()))
    panels = [
        _panel(f"Dropout at the {PLACES[place]}", _place_label(place), bars, orders, result, total=total, top=top)
        for total in (True, False)
        for place, bars in stacks.items()
    ]
    caption = (
        "Each network at its best epoch, mean over seeds. Whiskers, at the upper edge of each segment: 95 % interval of that "
        f"segment's height {_interval_kind(result)}. {_law(result)}"
    )
    title = "Variance by interaction order, against the rate of dropping"
    return Figure("spectrum", title, _spectrum_reading(result), caption, panels, columns=len(stacks))


def epoch_spectrum_figure(result: StudyResult) -> Figure | None:
    """Draw the variance at each order as training goes on, without dropout and with the rate that matters most.

    Args:
        result: the study.

    Returns:
        The figure; None where no spectrum was measured during training.
    """
    orders, shown = orders_of(result), dict(shown_arms(result)[:2])
    stacks = {title: _epoch_stacks(trials_of(result, arm)) for title, arm in shown.items()}
    stacks = {title: bars for title, bars in stacks.items() if len(bars) > 1}
    if not orders or not stacks:
        return None
    top = _highest(list(stacks.values()))
    panels = [
        _panel(title, "epoch", bars, orders, result, total=total, top=top)
        for total in (True, False)
        for title, bars in stacks.items()
    ]
    reading = sentence(_epoch_reading(shown[title], bars) for title, bars in stacks.items())
    caption = (
        "Mean over the seeds still training at that epoch; the last bar is each network's own best epoch, measured with more "
        f"evaluations. Whiskers: 95 % interval over seeds. {_law(result)}"
    )
    return Figure(
        "spectrum_by_epoch", "Variance by interaction order, by epoch", reading, caption, panels, columns=len(stacks)
    )


def _stack(result: StudyResult, arm: Arm) -> Stack:
    label = p_text(arm.p_input if arm.place == "input" else arm.p_hidden)
    if arm.place == "both":
        label += f"\n{arm.p_input:.2g}"
    return label, [trial["spectrum"] for trial in trials_of(result, arm)]


def _epoch_stacks(trials: list[dict[str, Any]]) -> list[Stack]:
    """Spectra at the probed epochs before the median best epoch, then those at the best epochs."""
    last = float(np.median([trial["best_epoch"] for trial in trials])) if trials else 0.0
    curves = [{int(epoch): one for epoch, one in trial["curve"].items()} for trial in trials]
    epochs = sorted({epoch for curve in curves for epoch in curve if epoch < last})
    stacks: list[Stack] = [(str(epoch), [curve.get(epoch) for curve in curves]) for epoch in epochs]
    return [*stacks, (f"best\n({last:g})", [trial["spectrum"] for trial in trials])]


def _panel(
    title: str, x_label: str, bars: list[Stack], orders: list[str], result: StudyResult, *, total: bool, top: float
) -> Panel:
    """Stack the segments of all orders; whiskers of neighbouring orders are set side by side, so that none hides another."""
    columns = [_column(spectra, total=total) for _, spectra in bars]
    base, items, whiskers = np.zeros(len(bars)), [], []
    for k, name in enumerate(orders):
        mean, low, high = (np.array([column[k][end] for column in columns]) for end in range(3))
        hover = [
            f"{_said(x_label, label)}\n{name}: {m:.3g}"
            + (f" [{max(lo, 0):.3g}, {hi:.3g}]" if math.isfinite(hi) else "")
            for (label, _), m, lo, hi in zip(bars, mean, low, high, strict=True)
        ]
        x = np.arange(len(bars))
        items.append(Bars(x.tolist(), base.tolist(), mean.tolist(), order_colour(name), name, hover))
        base = base + np.nan_to_num(mean)
        shift = 0.13 * (k - (len(orders) - 1) / 2)
        ends = [(base - mean + np.maximum(low, 0)).tolist(), (base - mean + high).tolist()]
        if np.isfinite(high).any():
            whiskers.append(Line((x + shift).tolist(), base.tolist(), dash="", low=ends[0], high=ends[1], width=1.3))
    label = TOTAL[result.task] if total else SHARE
    step = math.ceil(len(bars) / MOST_TICKS)
    ticks = {float(i): text for i, (text, _) in enumerate(bars) if i % step == 0 or text.startswith("best")}
    return Panel(
        title, x_label, label, [*items, *whiskers], (0, top if total else 1.06), (-0.6, len(bars) - 0.4), ticks
    )


def _column(spectra: Sequence[dict[str, Any] | None], *, total: bool) -> list[tuple[float, float, float]]:
    """Mean and interval of every order: over seeds, or that of the one spectrum there is."""
    rows = variances(spectra, total=total)
    if len(rows) == 1:
        [one] = [s for s in spectra if s and number(s["total"]) > 0]
        scale = one["total"] if total else 1.0
        ends = [[scale * number(end) for end in one[side]] for side in ("low", "high")]
        return list(zip(rows[0].tolist(), *ends, strict=True))
    if not len(rows):
        return [(math.nan,) * 3] * 50
    return [interval(column) for column in rows.T]


def _highest(stacks: list[list[Stack]]) -> float:
    """Top of the axis of total variance: the tallest bar, with its whisker unless that would squash the bars."""
    bars_top, tops = 0.0, [0.0]
    for _, spectra in (bar for bars in stacks for bar in bars):
        column = [one for one in _column(spectra, total=True) if math.isfinite(one[0])]
        heights = np.cumsum([mean for mean, _, _ in column])
        bars_top = max([bars_top, *heights])
        tops += [h + np.nan_to_num(high - mean) for h, (mean, _, high) in zip(heights, column, strict=True)]
    return float(1.05 * min(max(tops), 1.5 * bars_top)) or 1.0


def _place_label(place: str) -> str:
    return {"input": "p at the input", "hidden": "p after hidden layers", "both": "p hidden (above) and input (below)"}[
        place
    ]


def _said(x_label: str, label: str) -> str:
    if x_label == "epoch":
        return f"epoch {label}".replace("\n", " ")
    return "p = " + " hidden, ".join(label.split("\n")) + (" input" if "\n" in label else "")


def _interval_kind(result: StudyResult) -> str:
    return "over seeds" if len({t["seed"] for t in result.trials}) > 1 else "from the fit of its one spectrum"


def _law(result: StudyResult) -> str:
    names = [" + ".join(block) for block in result.blocks]
    shown = [one_line(name, 24) for name in names[:MOST_BLOCKS]]
    more = f" and {len(names) - MOST_BLOCKS} more, listed below" if len(names) > MOST_BLOCKS else ""
    return (
        f"Order counts blocks of columns; law of inputs: the product of {len(names)} blocks: {', '.join(shown)}{more}."
    )


def _spectrum_reading(result: StudyResult) -> str:
    zero, lowest = next((a for a in result.arms if a.place == "none"), None), best(result)
    if zero is None or math.isnan(zero.mean_order):
        return ""
    if lowest is None or lowest is zero or math.isnan(lowest.mean_order):
        return (
            f"Without dropout, {100 * (1 - zero.share[0]):.0f} % of the variance lies in interactions (order 2 and up)."
        )
    return (
        f"With the lowest loss ({arm_name(lowest)}), {100 * (1 - lowest.share[0]):.0f} % of the variance lies in interactions (order 2 "
        f"and up), against {100 * (1 - zero.share[0]):.0f} % without dropout; the total changes by {100 * (lowest.total / zero.total - 1):+.0f} %."
    )


def _epoch_reading(arm: Arm, bars: list[Stack]) -> str:
    ends = [variances(spectra, total=False) for _, spectra in (bars[0], bars[-1])]
    if not all(len(rows) for rows in ends):
        return ""
    first, last = (1 - rows[:, 0].mean() for rows in ends)
    return (
        f"with {arm_name(arm)}, interactions hold {100 * first:.0f} % of the variance at epoch {bars[0][0]} and "
        f"{100 * last:.0f} % at the best epoch"
    )
