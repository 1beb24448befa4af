"""Figures of the variance that networks learn at each interaction order: against p, and by epoch."""

import math
from typing import Any

import numpy as np

from dropscope.report.law_words import law_of
from dropscope.report.picture import Figure, Panel
from dropscope.report.reading import (
    PLACES,
    arm_name,
    baseline,
    best,
    orders_of,
    p_text,
    place_arms,
    sentence,
    shown_arms,
    trials_of,
    variances,
)
from dropscope.report.stacked_bars import Stack, bars_panel, tallest
from dropscope.study import Arm, StudyResult
from dropscope.study.rates import SINGLE, HiddenRate, largest

__all__ = ["epoch_spectrum_figure", "spectrum_figure"]

MOST_LINES = 4  # of a tick
SHARE = "share of the output's variance"
TOTAL = {
    "regression": "output variance / target variance", "classification": "variance of the centred logits",
    "model": "variance of the output",
}  # fmt: skip
X_LABELS = {
    "input": "p at the input",
    "hidden": "p after hidden layers",
    "both": "p hidden (above) and input (below)",
    **{place: f"p after the {place} hidden layer" for place in SINGLE},
}


def spectrum_figure(result: StudyResult) -> Figure | None:
    """Draw the variance at each order against p, one column a place: its total above, its shares below.

    Args:
        result: the study.

    Returns:
        The figure; None where no spectrum was measured.
    """
    if not orders_of(result):
        return None
    stacks = {place: [_arm_stack(result, arm) for _, arm in place_arms(result, place)] for place in PLACES}
    titled = {(f"Dropout at the {PLACES[place]}", X_LABELS[place]): bars for place, bars in stacks.items() if bars}
    several = len({trial["seed"] for trial in result.trials}) > 1
    caption = (
        "Each network at its best epoch, mean over seeds. Whiskers, at the upper edge of each segment: 95 % "
        f"interval of that segment's height, {'over seeds' if several else 'from the fit of its one spectrum'}. "
        f"{law_of(result)}"
    )
    if any(isinstance(arm.p_hidden, tuple) and arm.place not in SINGLE for arm in result.arms):
        caption += " Rates that differ over layers stand one above the other, the first layer's on top."
    title = "Variance by interaction order, against the rate of dropping"
    panels = _total_and_share(result, titled)
    return Figure("spectrum", title, _spectrum_reading(result), caption, panels, columns=len(titled))


def epoch_spectrum_figure(result: StudyResult) -> Figure | None:
    """Draw the variance at each order as training goes on, without dropout and with the rate that matters most.

    Args:
        result: the study.

    Returns:
        The figure; None where no spectrum was measured during training.
    """
    shown = [(title, arm, _epoch_stacks(trials_of(result, arm))) for title, arm in shown_arms(result)[:2]]
    shown = [(title, arm, stacks) for title, arm, stacks in shown if len(stacks) > 1]
    if not orders_of(result) or not shown:
        return None
    panels = _total_and_share(result, {(title, "epoch"): stacks for title, _, stacks in shown})
    reading = sentence(_epoch_reading(arm, stacks) for _, arm, stacks in shown)
    caption = (
        "Mean over the seeds still training at that epoch; the last bar is each network's own best epoch, measured "
        f"with more evaluations. Whiskers: 95 % interval over seeds. {law_of(result)}"
    )
    title = "Variance by interaction order, by epoch"
    return Figure("spectrum_by_epoch", title, reading, caption, panels, columns=len(shown))


def _total_and_share(result: StudyResult, titled: dict[tuple[str, str], list[Stack]]) -> list[Panel]:
    orders = orders_of(result)
    top = tallest((stack for stacks in titled.values() for stack in stacks), len(orders))
    return [
        bars_panel(title, x_label, y_label, stacks, orders, end)
        for y_label, end in ((TOTAL[result.task], top), (SHARE, None))
        for (title, x_label), stacks in titled.items()
    ]


def _arm_stack(result: StudyResult, arm: Arm) -> Stack:
    tick = p_text(arm.p_input) if arm.place == "input" else _one_above_another(arm.p_hidden)
    if arm.place == "both":
        tick += f"\n{arm.p_input:.2g}"
    if arm.place in SINGLE:
        tick = p_text(largest(arm.p_hidden))
    return Stack(tick, arm_name(arm), [trial["spectrum"] for trial in trials_of(result, arm)])


def _one_above_another(p_hidden: HiddenRate) -> str:
    """The rates of a profile, the first layer's on top; of many layers only the ends."""
    rates = p_hidden if isinstance(p_hidden, tuple) else (p_hidden,)
    texts = [p_text(p) for p in rates]
    return "\n".join(texts if len(texts) <= MOST_LINES else [texts[0], "…", texts[-1]])


def _epoch_stacks(trials: list[dict[str, Any]]) -> list[Stack]:
    """Spectra at the probed epochs before the median best epoch, then those at the best epochs."""
    last = float(np.median([trial["best_epoch"] for trial in trials])) if trials else 0.0
    curves = [{int(epoch): one for epoch, one in trial["curve"].items()} for trial in trials]
    epochs = sorted({epoch for curve in curves for epoch in curve if epoch < last})
    stacks = [Stack(str(epoch), f"epoch {epoch}", [curve.get(epoch) for curve in curves]) for epoch in epochs]
    final = Stack(f"best\n({last:g})", "best epoch", [trial["spectrum"] for trial in trials])
    return [*stacks, final]


def _spectrum_reading(result: StudyResult) -> str:
    zero, lowest = baseline(result), best(result)
    if zero is None or math.isnan(zero.mean_order):
        return ""
    without = f"{_interacting(zero):.0f} %"
    if lowest is None or lowest is zero or math.isnan(lowest.mean_order):
        return f"Without dropout, {without} of the variance lies in interactions (order 2 and up)."
    change = 100 * (lowest.total / zero.total - 1)
    return (
        f"With the lowest loss ({arm_name(lowest)}), {_interacting(lowest):.0f} % of the variance lies in interactions "
        f"(order 2 and up), against {without} without dropout; the total changes by {change:+.0f} %."
    )


def _interacting(arm: Arm) -> float:
    return 100 * (1 - arm.share[0])


def _epoch_reading(arm: Arm, stacks: list[Stack]) -> str:
    ends = [variances(stack.spectra, total=False) for stack in (stacks[0], stacks[-1])]
    if not all(len(rows) for rows in ends):
        return ""
    first, last = (100 * (1 - rows[:, 0].mean()) for rows in ends)
    return (
        f"with {arm_name(arm)}, interactions hold {first:.0f} % of the variance at epoch {stacks[0].tick} and "
        f"{last:.0f} % at the best epoch"
    )
