"""Figures of losses against p: as they are, and as paired gains over no dropout."""

import math
from itertools import groupby

import numpy as np

from dropscope.report.picture import Figure, Level, Line, Panel
from dropscope.report.reading import (
    PLACES, advised, arm_name, best, loss_name, place_arms, scores, trials_of,
)  # fmt: skip
from dropscope.study import Arm, StudyResult
from dropscope.study.advice import describe
from dropscope.study.metrics import LABELS

__all__ = ["gain_figure", "loss_figure"]

COLOURS = {"input": "blue", "hidden": "vermilion", "both": "green"}
DASHES = ("dot", "dash", "dashdot")
LEFT_OUT = "left out: not converged or diverged"


def loss_figure(result: StudyResult) -> Figure | None:
    """Draw the selection loss against p, one panel a place.

    Args:
        result: the study.

    Returns:
        The figure.
    """
    sound = [arm for arm in result.arms if not arm.diverged and math.isfinite(arm.select)]
    if not sound:
        return None
    seen = [score for arm in sound for score in scores(result, arm)]
    ends = [arm.select + sign * arm.select_se for arm in sound for sign in (-1, 1)]
    levels, y_range = _reference_levels(result, [v for v in (*seen, *ends) if math.isfinite(v)])
    panels = [
        Panel(
            f"Dropout at the {PLACES[place]}", _x_label(place), f"selection {loss_name(result)}",
            [*levels, *_loss_lines(result, place)], y_range, _x_range(place_arms(result, place)),
        )
        for place in PLACES if place_arms(result, place)
    ]  # fmt: skip
    caption = (
        "Mean over seeds, scored on selection rows that neither training nor the choice of the epoch has seen. Whiskers: one "
        "standard error over seeds. Thin lines: single seeds. They differ mostly in their rows, which all rates share; the next "
        "figure takes that out."
    )
    return Figure("loss", "Loss against the rate of dropping", _loss_reading(result), caption, panels)


def _loss_lines(result: StudyResult, place: str) -> list[Line]:
    arms, colour = place_arms(result, place), COLOURS[place]
    lines = []
    for joined in _curves(arms, place):
        per_seed = np.array([scores(result, arm) for _, arm in joined if _complete(result, arm)])
        x = [p for p, arm in joined if _complete(result, arm)]
        if len(x) > 1:
            lines += [Line(x, y.tolist(), colour, width=1, opacity=0.25) for y in per_seed.T]
        lines.append(_arm_line(joined, colour))
    lost = [(p, arm) for p, arm in arms if arm.diverged or not arm.converged]
    if lost:
        lines.append(
            Line([p for p, _ in lost], [a.select for _, a in lost], "ink", LEFT_OUT, dash="", marker="cross", size=8)
        )
    mark = advised(result)
    ring = [(p, arm) for p, arm in arms if mark is not None and arm.rates == mark.rates]
    if ring:
        x, y = [p for p, _ in ring], [arm.select for _, arm in ring]
        lines.append(Line(x, y, "ink", "advised", dash="", marker="ring", size=16))
    return lines


def _complete(result: StudyResult, arm: Arm) -> bool:
    return len(trials_of(result, arm)) == max(len(trials_of(result, one)) for one in result.arms)


def _arm_line(arms: list[tuple[float, Arm]], colour: str) -> Line:
    means, errors = [arm.select for _, arm in arms], [arm.select_se for _, arm in arms]
    hover = [
        f"{arm_name(arm)}\n{arm.select:.4g} ± {arm.select_se:.2g}" if math.isfinite(arm.select_se) else
        f"{arm_name(arm)}\n{arm.select:.4g}" for _, arm in arms
    ]  # fmt: skip
    return Line(
        [p for p, _ in arms], means, colour, "mean over seeds" if len(arms) > 1 else "", dash="solid" if len(arms) > 1 else "", marker="circle",
        low=[m - e for m, e in zip(means, errors, strict=True)], high=[m + e for m, e in zip(means, errors, strict=True)],
        hover=hover,
    )  # fmt: skip


def _curves(arms: list[tuple[float, Arm]], place: str) -> list[list[tuple[float, Arm]]]:
    """Join what belongs together: for pairs, arms of one ratio of rates; a ratio studied once stands alone."""
    zero, dropped = arms[:1], arms[1:]
    if place != "both":
        return [arms]

    def ratio(one: tuple[float, Arm]) -> float:
        return round(one[1].p_input / one[1].p_hidden, 6)

    groups = [list(group) for _, group in groupby(sorted(dropped, key=ratio), key=ratio)]
    longest = max(map(len, groups))
    return [[*zero, *group] if len(group) == longest and longest > 1 else group for group in groups]


def _x_label(place: str) -> str:
    return {
        "input": "p, chance that an input column is dropped",
        "hidden": "p, chance that a hidden unit is dropped",
        "both": "p of the hidden layers (with its p of the input)",
    }[place]


def _x_range(arms: list[tuple[float, Arm]]) -> tuple[float, float]:
    widest = max(p for p, _ in arms)
    return -0.06 * widest, 1.06 * widest


def _reference_levels(result: StudyResult, seen: list[float]) -> tuple[list[Level], tuple[float, float]]:
    """Place the reference lines: those far from the networks are named at the edge, so that they do not squash the curves."""
    low, high = min(seen), max(seen)
    span = (high - low) or abs(high) or 1.0
    means = {r["name"]: float(np.mean([s[result.metric] for s in r["select"]])) for r in result.references}
    near = [mean for mean in means.values() if low - 0.8 * span <= mean <= high + 0.8 * span]
    low, high = min([low, *near]), max([high, *near])
    low, high = low - 0.08 * (high - low or span), high + 0.08 * (high - low or span)
    inside = {name: min(max(mean, low), high) for name, mean in means.items()}
    spread = _spread(inside, low, high)
    levels = []
    for (name, mean), dash in zip(means.items(), DASHES, strict=False):
        arrow = " ↑" if mean > high else " ↓" if mean < low else ""
        levels.append(Level(math.nan if arrow else mean, f"{name}\n{mean:.4g}{arrow}", spread[name], dash))
    return levels, (low, high)


def _spread(wanted: dict[str, float], low: float, high: float) -> dict[str, float]:
    """Move labels apart until each has its own eighth of the axis, within the axis."""
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
    zero, lowest = next((a for a in result.arms if a.place == "none"), None), best(result)
    if zero is None or lowest is None:
        return "No network without dropout converged, so nothing can be compared."
    if lowest.place == "none":
        return f"The lowest selection {LABELS[result.metric]}, {zero.select:.4g}, is that of the networks without dropout."
    return (
        f"The lowest selection {LABELS[result.metric]} is {lowest.select:.4g}, with {describe(lowest)}; without dropout it is "
        f"{zero.select:.4g}."
    )


def gain_figure(result: StudyResult) -> Figure | None:
    """Draw what the advice rests on: each arm's paired gain over no dropout, against what would convince.

    Args:
        result: the study.

    Returns:
        The figure; None where the advice is void.
    """
    advice = result.advice
    if advice is None or not math.isfinite(advice.gain_se):
        return None
    zero = next(arm for arm in result.arms if arm.place == "none")
    percent = 100 / zero.select
    error, needed = advice.gain_se * percent, advice.critical * advice.gain_se * percent
    kept = {p: [(x, a) for x, a in place_arms(result, p) if a.converged and not a.diverged] for p in PLACES}
    gains = [(zero.select - arm.select) * percent for arms in kept.values() for _, arm in arms]
    low, high = min(-error, *gains), max(needed, *gains)
    low, high = low - error - 0.05 * (high - low), high + error + 0.05 * (high - low)
    names = _spread({"0": 0.0, "needed": needed}, low, high)
    levels = [
        Level(0.0, "no gain", names["0"], "solid"),
        Level(needed, f"needed\n{needed:.2g} %", names["needed"], "dash"),
    ]
    panels = [
        Panel(
            f"Dropout at the {PLACES[place]}", _x_label(place), f"gain over no dropout (% of {LABELS[result.metric]})",
            [*levels, *(_gain_line(curve, zero, percent, error, place) for curve in _curves(arms, place))],
            (low, high), _x_range(arms),
        )
        for place, arms in kept.items() if len(arms) > 1
    ]  # fmt: skip
    reading = (
        f"Dropout is advised only if a gain passes {needed:.2g} %; the largest one is {max(gains):.2g} ± {error:.2g} %."
    )
    caption = (
        "Gains are paired: every rate is compared with p = 0 on the same rows and seeds. Whiskers: one standard error of a gain, "
        "corrected for fit rows that seeds share. The dashed line is the one-sided 90 % point for the best of all rates compared."
    )
    return Figure("gain", "Gain over no dropout", reading, caption, panels)


def _gain_line(arms: list[tuple[float, Arm]], zero: Arm, percent: float, error: float, place: str) -> Line:
    gains = [(zero.select - arm.select) * percent for _, arm in arms]
    errors = [error if arm is not zero else math.nan for _, arm in arms]
    return Line(
        [p for p, _ in arms], gains, COLOURS[place], "mean gain" if len(arms) > 1 else "", dash="solid" if len(arms) > 1 else "",
        marker="circle", low=[g - e for g, e in zip(gains, errors, strict=True)],
        high=[g + e for g, e in zip(gains, errors, strict=True)],
        hover=[f"{arm_name(arm)}\n{gain:+.2f} %" for (_, arm), gain in zip(arms, gains, strict=True)],
    )  # fmt: skip
