"""Figure of the variance by order as training goes on, one small panel a rate: all of them at a glance."""

import math
from typing import Any

import numpy as np

from dropscope.report.law_words import law_of
from dropscope.report.picture import Figure, Line, Panel
from dropscope.report.reading import advised_name, arm_name, number, orders_of, p_text, trials_of, variances
from dropscope.report.stacked_bars import order_colour
from dropscope.study import Arm, StudyResult
from dropscope.study.rates import SINGLE

__all__ = ["arms_figure"]

WIDEST = 5  # panels in a row
MOST_PANELS = 30
MOST_TICKS = 6
MOST_LAYERS = 3  # whose rates a title names one by one

Curve = dict[float, np.ndarray]


def arms_figure(result: StudyResult) -> Figure | None:
    """Draw the shares of variance at each order against the epoch, one small panel an arm, no dropout first.

    Args:
        result: the study.

    Returns:
        The figure; None where no spectrum was measured during training.
    """
    orders = orders_of(result)
    curves = [(arm, _curve(result, arm, len(orders))) for arm in _in_order(result)]
    measured = [(arm, curve) for arm, curve in curves if len(curve) > 1]
    if not orders or not measured:
        return None

    shown = measured
    if len(measured) > MOST_PANELS:
        shown = [measured[i] for i in np.linspace(0, len(measured) - 1, MOST_PANELS).round().astype(int)]
    last = max(max(*curve, arm.best_epoch) for arm, curve in shown)
    panels = [_panel(result, arm, curve, orders, last) for arm, curve in shown]

    caption = (
        "One panel a rate, all on the same axes. Mean over the seeds still training at an epoch, while at least half "
        "of them do; measured at epochs 1, 2, 4, 8, ..., and an area ends at the last of them. Dashed: the median best "
        f"epoch. {law_of(result)}"
    )
    if len(shown) < len(result.arms):
        caption += f" Shown: {len(shown)} of {len(result.arms)} rates" + (
            ", evenly spaced." if len(shown) < len(measured) else "; of the others no two epochs were measured."
        )
    title = "Variance by interaction order, by epoch and rate"
    rows = math.ceil(len(panels) / WIDEST)
    reading = _reading([arm for arm, _ in measured])
    return Figure("spectrum_by_arm", title, reading, caption, panels, columns=math.ceil(len(panels) / rows), small=True)


def _in_order(result: StudyResult) -> list[Arm]:
    """The arms as they are listed, that without dropout first."""
    return sorted(result.arms, key=lambda arm: arm.place != "none")


def _curve(result: StudyResult, arm: Arm, orders: int) -> Curve:
    """Mean shares at every probed epoch that at least half of the seeds reached."""
    trials = trials_of(result, arm)
    by_epoch: dict[int, list[dict[str, Any]]] = {}
    for trial in trials:
        for epoch, one in trial["curve"].items():
            if one and number(one["total"]) > 0:  # not of a constant network
                by_epoch.setdefault(int(epoch), []).append(one)
    kept = {float(epoch): one for epoch, one in sorted(by_epoch.items()) if 2 * len(one) >= len(trials)}
    return {epoch: variances(one, total=False)[:, :orders].mean(0) for epoch, one in kept.items()}


def _panel(result: StudyResult, arm: Arm, curve: Curve, orders: list[str], last: float) -> Panel:
    epochs = list(curve)
    tops = np.array(list(curve.values())).cumsum(1).T
    items: list[Line] = []
    base = np.zeros(len(epochs))
    for name, top in zip(orders, tops, strict=True):
        ends = {"low": base.tolist(), "high": top.tolist()}
        items.append(Line(epochs, ends["high"], order_colour(name), name, band=True, **ends))
        said = [
            f"epoch {epoch:g}\n{name}: {100 * share:.1f} %" for epoch, share in zip(epochs, top - base, strict=True)
        ]
        items.append(Line(epochs, ends["high"], "card", width=1.0, hover=said))
        base = top

    if arm.best_epoch >= 1:
        best = [arm.best_epoch] * 2
        hover = [f"median best epoch {arm.best_epoch:g}"] * 2
        items.append(Line(best, [0.0, 1.0], "ink", "best epoch", "dash", 1.8, hover=hover))
    mark = result.advised_arm
    title = _title(arm) + (f" ({advised_name(result)})" if mark is not None and mark.rates == arm.rates else "")
    return Panel(
        title, "epoch", "share of variance", items, (0.0, 1.0), (1.0, 1.04 * last), _ticks(last), log_x=True,
        height=0.56,
    )  # fmt: skip


def _title(arm: Arm) -> str:
    """Name an arm in half a line: of many layers, the first and last rate."""
    hidden = arm.p_hidden
    if arm.place in SINGLE or not isinstance(hidden, tuple) or len(hidden) <= MOST_LAYERS:
        return arm_name(arm).replace(", ", ",\n")
    ends = f"hidden p = {p_text(hidden[0])}/…/{p_text(hidden[-1])}"
    return f"input p = {p_text(arm.p_input)},\n{ends}" if arm.p_input else ends


def _ticks(last: float) -> dict[float, str]:
    """Powers of 2, or of 4 or 8 where those would be too many."""
    powers = int(math.log2(last)) + 1
    step = math.ceil(powers / MOST_TICKS)
    return {float(2**k): str(2**k) for k in range(0, powers, step)}


def _reading(arms: list[Arm]) -> str:
    """What interactions hold at the best epoch: without dropout, and at both ends over the rates."""
    shares = {arm.rates: 100 * (1 - arm.share[0]) for arm in arms if arm.share and math.isfinite(arm.share[0])}
    ranked = sorted((arm for arm in arms if arm.rates in shares), key=lambda arm: shares[arm.rates])
    if len(ranked) < 2:
        return ""
    least, most = (f"{shares[arm.rates]:.0f} % ({arm_name(arm)})" for arm in (ranked[0], ranked[-1]))
    return f"At the best epochs, interactions (order 2 and up) hold from {least} to {most} of the variance."
