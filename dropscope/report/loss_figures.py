"""Figures of losses against p: as they are, and as paired gains over no dropout."""

import math
from itertools import groupby

import numpy as np

from dropscope.report.picture import Figure, Level, Line, Panel
from dropscope.report.reading import (
    PLACES,
    advised_name,
    arm_name,
    baseline,
    best,
    compared,
    loss_name,
    place_arms,
    scores,
    trials_of,
    x_range,
)  # fmt: skip
from dropscope.study import Arm, StudyResult
from dropscope.study.advice import describe
from dropscope.study.metrics import LABELS
from dropscope.study.rates import SINGLE

__all__ = ["gain_figure", "loss_figure"]

DASHES = ("dot", "dash", "dashdot")
LEFT_OUT = "left out: diverged, or beaten early"
X_LABELS = {
    "input": "p, chance that an input column is dropped",
    "hidden": "p, chance that a hidden unit is dropped",
    "both": "hidden p of each pair (input p, hidden p)",
    **{place: f"p, chance that a unit of the {place} hidden layer is dropped" for place in SINGLE},
}

Placed = list[tuple[float, Arm]]


def loss_figure(result: StudyResult) -> Figure | None:
    """Draw the selection loss against p, one panel a place.

    Args:
        result: the study.

    Returns:
        The figure; None where every network diverged.
    """
    sound = [arm for arm in result.arms if not arm.diverged and math.isfinite(arm.select)]
    if not sound:
        return None
    seen = [score for arm in sound for score in scores(result, arm)]
    ends = [end for arm in sound for end in (arm.select - arm.select_se, arm.select + arm.select_se, arm.estimate)]
    levels, y_range = _reference_levels(result, [v for v in (*seen, *ends) if math.isfinite(v)])
    panels = [
        Panel(
            f"Dropout at the {PLACES[place]}", X_LABELS[place], loss_name(result),
            [*levels, *_loss_lines(result, place)], y_range, x_range(place_arms(result, place)),
        )
        for place in PLACES if place_arms(result, place)
    ]  # fmt: skip
    caption = (
        "Scored on selection rows, which neither training nor the choice of the epoch has seen. Whiskers: one "
        "standard error over seeds. Thin lines: single seeds; they differ mostly in their rows, which all rates "
        "share, and paired gains take that out. Dashed: the loss on stop and selection rows together, which says "
        "which rate to use. In grey: reference models."
    )
    return Figure("loss", "Loss against the rate of dropping", _loss_reading(result), caption, panels)


def _loss_lines(result: StudyResult, place: str) -> list[Line]:
    arms, lines = place_arms(result, place), []
    for joined in _curves(arms, place):
        complete = [(p, arm) for p, arm in joined if len(trials_of(result, arm)) == len(trials_of(result, arms[0][1]))]
        if len(complete) > 1:
            per_seed = np.array([scores(result, arm) for _, arm in complete]).T
            lines += [Line([p for p, _ in complete], y.tolist(), "blue", width=1, opacity=0.25) for y in per_seed]
        means, errors = [arm.select for _, arm in joined], [arm.select_se for _, arm in joined]
        shown = [
            f"{mean:.4g}" + (f" ± {error:.2g}" if math.isfinite(error) else "")
            for mean, error in zip(means, errors, strict=True)
        ]
        lines.append(_arm_line(joined, means, errors, "mean over seeds", shown))
        if len(joined) > 1:
            rates, estimates = [p for p, _ in joined], [arm.estimate for _, arm in joined]
            lines.append(Line(rates, estimates, "vermilion", "estimate, with stop rows", "dash", 1.5))
    lost = [(p, arm.select) for p, arm in arms if not compared(arm)]
    mark = result.advised_arm
    ring = [(p, arm.select) for p, arm in arms if mark is not None and arm.rates == mark.rates]
    for points, label, marker, size in ((lost, LEFT_OUT, "cross", 8.0), (ring, advised_name(result), "ring", 16.0)):
        if points:
            lines.append(
                Line([p for p, _ in points], [y for _, y in points], "ink", label, dash="", marker=marker, size=size)
            )
    return lines


def _arm_line(arms: Placed, y: list[float], errors: list[float], label: str, shown: list[str]) -> Line:
    """Points of arms with whiskers: joined by a line, or one that belongs to none and is named."""
    alone = len(arms) == 1
    return Line(
        [p for p, _ in arms], y, "blue", arm_name(arms[0][1]) if alone else label, dash="" if alone else "solid",
        marker="diamond" if alone else "circle", low=[m - e for m, e in zip(y, errors, strict=True)],
        high=[m + e for m, e in zip(y, errors, strict=True)],
        hover=[f"{arm_name(arm)}\n{text}" for (_, arm), text in zip(arms, shown, strict=True)],
    )  # fmt: skip


def _curves(arms: Placed, place: str) -> list[Placed]:
    """Join what belongs together: arms of one ratio of rates; a ratio studied once stands alone beside others."""

    def ratios(one: tuple[float, Arm]) -> tuple[float, float]:
        p, arm = one
        first = arm.p_hidden[0] if isinstance(arm.p_hidden, tuple) else p
        return round(first / p, 6), round(arm.p_input / p, 6)

    zero, dropped = arms[:1], arms[1:]
    groups = [list(group) for _, group in groupby(sorted(dropped, key=ratios), key=ratios)]
    if len(groups) == 1 and place != "both":
        return [arms]
    return [[*zero, *group] if len(group) > 1 else group for group in groups]


def _reference_levels(result: StudyResult, seen: list[float]) -> tuple[list[Level], tuple[float, float]]:
    """Place the reference lines; those far from the networks are only named at the edge, not to squash the curves."""
    low, high = min(seen), max(seen)
    span = (high - low) or abs(high) or 1.0
    means = {r["name"]: float(np.mean([s[result.metric] for s in r["select"]])) for r in result.references}
    near = [mean for mean in means.values() if low - 0.8 * span <= mean <= high + 0.8 * span]
    low, high = min([low, *near]), max([high, *near])
    space = high - low or span
    # A name at the edge needs room of its own, or it would stand on the line of the next one.
    above, below = max(means.values()) > high, min(means.values()) < low
    low, high = low - space * (0.25 if below else 0.08), high + space * (0.25 if above else 0.08)
    names_y = _spread({name: min(max(mean, low), high) for name, mean in means.items()}, low, high)
    levels = []
    for (name, mean), dash in zip(means.items(), DASHES, strict=False):
        arrow = " ↑" if mean > high else " ↓" if mean < low else ""
        levels.append(Level(math.nan if arrow else mean, f"{name}\n{mean:.4g}{arrow}", names_y[name], dash))
    return levels, (low, high)


def _spread(wanted: dict[str, float], low: float, high: float) -> dict[str, float]:
    """Move names apart until each has its own eighth of the axis, within the axis."""
    gap = (high - low) / 8
    placed: dict[str, float] = {}
    floor = low + gap / 2
    for name, y in sorted(wanted.items(), key=lambda item: item[1]):
        placed[name] = max(y, floor)
        floor = placed[name] + gap
    ceiling = high - gap / 2
    for name, y in sorted(placed.items(), key=lambda item: -item[1]):
        placed[name] = min(y, ceiling)
        ceiling = placed[name] - gap
    return placed


def _loss_reading(result: StudyResult) -> str:
    zero, lowest = baseline(result), best(result)
    if zero is None or lowest is None:
        return "No rate trained to its end, so nothing can be compared."
    if lowest is zero:
        return f"The lowest {LABELS[result.metric]}, {zero.select:.4g}, is that of the networks without dropout."
    return (
        f"The lowest {LABELS[result.metric]} is {lowest.select:.4g}, with {describe(lowest)}; without dropout it is "
        f"{zero.select:.4g}."
    )


def gain_figure(result: StudyResult) -> Figure | None:
    """Draw what the advice rests on: each arm's paired gain over no dropout, against what would convince.

    Args:
        result: the study.

    Returns:
        The figure; None where the advice is void, no rate trained to its end, or no dropout has no loss to reduce.
    """
    advice, zero = result.advice, baseline(result)
    if advice is None or zero is None or not math.isfinite(advice.gain_se) or not zero.select:
        return None
    percent = 100 / abs(zero.select)
    error, needed = advice.gain_se * percent, advice.critical * advice.gain_se * percent
    kept = {place: [(p, a) for p, a in place_arms(result, place) if compared(a)] for place in PLACES}
    gains = [(zero.select - arm.select) * percent for arms in kept.values() for _, arm in arms if arm is not zero]
    if not gains:
        return None
    top = 1.1 * (max(needed, *gains) + error)
    # Rates that do great harm leave the axis: what matters lies between no gain and the gain that would convince.
    y_range = max(1.1 * (min(0.0, *gains) - error), -2 * top), top
    names = _spread({"zero": 0.0, "needed": needed}, *y_range)
    levels = [
        Level(0.0, "no gain", names["zero"], "solid"),
        Level(needed, f"needed\n{needed:.1f} %", names["needed"], "dash"),
    ]
    panels = [
        Panel(
            f"Dropout at the {PLACES[place]}", X_LABELS[place], f"gain (% of {LABELS[result.metric]})",
            [*levels, *(_gain_line(curve, zero, percent, error) for curve in _curves(arms, place))],
            y_range, x_range(arms),
        )
        for place, arms in kept.items() if len(arms) > 1
    ]  # fmt: skip
    reading = (
        f"Dropout is advised only if a gain passes {needed:.1f} %; the largest is {max(gains):.1f} ± {error:.1f} %."
    )
    caption = (
        "Gains are paired: every rate is compared with p = 0 on the same rows and seeds. Whiskers: one standard "
        "error of a gain, corrected for fit rows that seeds share. The dashed line is the one-sided 90 % point for "
        "the best of all rates compared. Curves may leave the axis below."
    )
    return Figure("gain", "Gain over no dropout", reading, caption, panels)


def _gain_line(arms: Placed, zero: Arm, percent: float, error: float) -> Line:
    gains = [(zero.select - arm.select) * percent for _, arm in arms]
    errors = [math.nan if arm is zero else error for _, arm in arms]
    return _arm_line(arms, gains, errors, "mean gain over seeds", [f"{gain:+.2f} %" for gain in gains])
