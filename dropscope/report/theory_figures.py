"""Figures on the theory of q^k: what it says of a trained network, and what training did instead."""

import math
from typing import Any

import numpy as np

from dropscope.report.picture import Figure, Level, Line, Panel
from dropscope.report.reading import (
    PLACES,
    arm_name,
    baseline,
    interval,
    number,
    orders_of,
    p_text,
    place_arms,
    sentence,
    trials_of,
    x_range,
)
from dropscope.report.stacked_bars import order_colour
from dropscope.spectrum import Spectrum
from dropscope.study import Arm, StudyResult
from dropscope.study.rates import SINGLE

__all__ = ["measured_figure", "survival_figure"]

# A ratio to a share below this is noise.
LEAST_SHARE = 0.02


def survival_figure(result: StudyResult) -> Figure | None:
    """Draw the survival S(p) of the networks trained without dropout.

    Args:
        result: the study.

    Returns:
        The figure; None where no spectrum was measured.
    """
    spectra = _untouched(result)
    if not spectra:
        return None
    grid = np.linspace(0, 1, 51)
    survival = np.array([[one.survival(float(p)) for p in grid] for one in spectra])
    mean, x = survival.mean(0), grid.tolist()
    lines = [
        Line(
            x, ((1 - grid) ** k).tolist(), order_colour(f"order {k}"), f"if all variance were at order {k}", "dash", 1.3
        )
        for k in range(1, spectra[0].max_order + 1)
    ]
    if len(spectra) > 1:
        low, high = survival.min(0).tolist(), survival.max(0).tolist()
        lines.append(Line(x, x, label="range over seeds", low=low, high=high, band=True, opacity=0.2))
    hover = [f"p = {p:.2f}\nS(p) = {s:.3f}" for p, s in zip(grid, mean, strict=True)]
    lines.append(Line(x, mean.tolist(), label="S(p), networks of p = 0", width=2.8, hover=hover))
    panel = Panel(
        "Theory: S(p) = Σ qᵏ Wₖ / Var, with q = 1 - p", "p, chance that a block is drawn anew",
        "share of variance explained", lines, (0, 1.03), (0, 1),
    )  # fmt: skip
    reading = (
        f"By theory, drawing each block anew with chance ½ leaves {100 * mean[25]:.0f} % of the variance explained."
    )
    caption = (
        "Theory, computed from the measured spectra of the networks trained without dropout: what a copy of their "
        "inputs, each block drawn anew with chance p, still explains of their output. It says nothing of networks "
        "trained with dropout."
    )
    return Figure("survival", "Theory: what survives of a trained network", reading, caption, [panel], columns=1)


def _untouched(result: StudyResult) -> list[Spectrum]:
    """Spectra of the networks trained without dropout."""
    zero = baseline(result)
    measured = [trial["spectrum"] for trial in trials_of(result, zero)] if zero else []
    return [Spectrum.from_dict(one) for one in measured if one and number(one["total"]) > 0]


def measured_figure(result: StudyResult) -> Figure | None:
    """Draw the measured change of the variance at each order, W_k(p) / W_k(0), paired by seed.

    Args:
        result: the study.

    Returns:
        The figure; None where it cannot be measured.
    """
    zero = baseline(result)
    base = _by_seed(result, zero) if zero else {}
    orders = orders_of(result)
    if not base or not orders:
        return None
    shares = np.array([row / row.sum() for row in base.values()]).mean(0)
    firm = [k for k in range(len(orders)) if shares[k] >= LEAST_SHARE]
    lines = {
        place: [_ratio_line(result, place, k, orders[k], base) for k in firm]
        for place in PLACES
        if place_arms(result, place)
    }
    y_range = _ratio_range([line for each in lines.values() for line in each])
    panels = [
        Panel(f"Dropout at the {PLACES[place]}", _x_label(place), "Wₖ(p) / Wₖ(0)",
              [Level(1.0, "as at\np = 0", 1.0), *each], y_range, x_range(place_arms(result, place)))
        for place, each in lines.items() if each
    ]  # fmt: skip
    if not panels:
        return None
    caption = (
        "Measured on trained networks; not predicted by qᵏ. Variance at each order, divided by that of the networks "
        "of the same seed trained without dropout; mean over seeds with its 95 % interval."
    )
    left_out = [name for k, name in enumerate(orders) if k not in firm]
    if left_out:
        caption += f" Left out, as under 2 % of the variance at p = 0: {', '.join(left_out)}."
    title = "Measured: what training with dropout did to each order"
    return Figure("measured", title, _reading(lines), caption, panels)


def _ratio_range(lines: list[Line]) -> tuple[float, float]:
    """From 0 to the highest whisker, unless that would squash the curves."""
    means = [y for line in lines for y in line.y if math.isfinite(y)]
    whiskers = [end for line in lines for end in line.high if math.isfinite(end)]
    return 0.0, min(1.08 * max([1.0, *means, *whiskers]), 2 * max([1.0, *means]))


def _by_seed(result: StudyResult, arm: Arm) -> dict[int, np.ndarray]:
    spectra: dict[int, dict[str, Any]] = {t["seed"]: t["spectrum"] for t in trials_of(result, arm) if t["spectrum"]}
    return {
        seed: one["total"] * np.array([number(v) for v in (*one["share"], one["rest"])])
        for seed, one in spectra.items() if number(one["total"]) > 0
    }  # fmt: skip


def _ratio_line(result: StudyResult, place: str, k: int, name: str, base: dict[int, np.ndarray]) -> Line:
    arms = _main_arms(result, place)
    found = []
    for _, arm in arms:
        mine = _by_seed(result, arm)
        found.append(interval(mine[seed][k] / base[seed][k] for seed in mine if seed in base and base[seed][k] > 0))
    mean, low, high = (list(ends) for ends in zip(*found, strict=True))
    low = [max(end, 0.0) if math.isfinite(end) else end for end in low]
    hover = [f"{arm_name(arm)}\n{name}: {m:.3g} times" for (_, arm), m in zip(arms, mean, strict=True)]
    return Line([p for p, _ in arms], mean, order_colour(name), name, marker="circle", low=low, high=high, hover=hover)


def _main_arms(result: StudyResult, place: str) -> list[tuple[float, Arm]]:
    """One arm at each p: of several pairs with one hidden p, the one with the gentlest input."""
    kept: dict[float, Arm] = {}
    for p, arm in place_arms(result, place):
        kept.setdefault(p, arm)
    return list(kept.items())


def _x_label(place: str) -> str:
    layers = f"the {place} hidden layer" if place in SINGLE else "hidden layers"
    return "p at the input" if place == "input" else f"p after {layers}"


def _reading(lines: dict[str, list[Line]]) -> str:
    parts = []
    for place in ("input", "hidden"):
        shown = [line for line in lines.get(place, [])[:2] if math.isfinite(line.y[-1])]
        left = " and ".join(f"{100 * line.y[-1]:.0f} % of {line.label}" for line in shown)
        if left:
            parts.append(f"dropping with p = {p_text(shown[0].x[-1])} at the {PLACES[place]} leaves {left}")
    return sentence(parts)
