"""Figure of the loss by epoch."""

import math
from typing import Any

import numpy as np

from dropscope.report.picture import Figure, Line, Panel
from dropscope.report.reading import arm_name, number, shown_arms, trials_of
from dropscope.study import StudyResult

__all__ = ["learning_figure"]

CURVES = {"fit": ("fit rows, while dropping", "orange"), "stop": ("stop rows, nothing dropped", "blue")}


def learning_figure(result: StudyResult) -> Figure | None:
    """Draw the loss on fit and stop rows by epoch: without dropout, for the advised arm and for the best one.

    Args:
        result: the study.

    Returns:
        The figure; None where nothing was trained.
    """
    arms = shown_arms(result)
    shown = [(title, trials_of(result, arm)) for title, arm in arms]
    values = [v for _, trials in shown for t in trials for kind in CURVES for v in _finite(t[f"{kind}_curve"])]
    if not values:
        return None
    most = max(len(trial["stop_curve"]) for _, trials in shown for trial in trials)
    low, high = min(values), _ceiling(shown, values)
    margin = 0.05 * ((high - low) or 1.0)
    ticks = {float(2**k): str(2**k) for k in range(int(math.log2(most)) + 1)}
    panels = [
        Panel(
            title,
            "epoch",
            _loss_label(result),
            _lines(trials),
            (low - margin, high + margin),
            (0.92, most * 1.09),
            ticks,
            log_x=True,
        )
        for title, trials in shown
    ]
    epochs = [f"{arm.best_epoch:g} ({arm_name(arm)})" for _, arm in arms]
    caption = (
        "Bold: mean over seeds while all of them train. Thin: single seeds, on stop rows. Rings: the best epochs, "
        "at which the networks are kept. The loss on fit rows is measured during the updates, with dropout on, and "
        "so usually lies above that of the same network at rest."
    )
    return Figure("learning", "Loss by epoch", f"Median best epoch: {', '.join(epochs)}.", caption, panels)


def _lines(trials: list[dict[str, Any]]) -> list[Line]:
    lines = []
    for kind, (label, colour) in CURVES.items():
        curves = [[number(v) for v in trial[f"{kind}_curve"]] for trial in trials]
        if kind == "stop":
            lines += [Line(_epochs(curve), curve, colour, width=1, opacity=0.3) for curve in curves]
        common = min(map(len, curves))
        mean = np.mean([curve[:common] for curve in curves], axis=0).tolist()
        hover = [f"epoch {epoch:.0f}\n{label}: {loss:.4g}" for epoch, loss in zip(_epochs(mean), mean, strict=True)]
        lines.append(Line(_epochs(mean), mean, colour, label, hover=hover, width=2.5))
    ended = [trial for trial in trials if trial["best_epoch"]]
    x = [float(trial["best_epoch"]) for trial in ended]
    y = [number(trial["stop"]) for trial in ended]
    hover = [f"seed {trial['seed']}\nbest epoch {trial['best_epoch']}: {number(trial['stop']):.4g}" for trial in ended]
    return [*lines, Line(x, y, "ink", "best epoch of a seed", dash="", marker="ring", size=7, hover=hover)]


def _epochs(curve: list[float]) -> list[float]:
    return [float(epoch) for epoch in range(1, len(curve) + 1)]


def _finite(curve: list[float | None]) -> list[float]:
    return [value for value in map(number, curve) if math.isfinite(value)]


def _ceiling(shown: list[tuple[str, list[dict[str, Any]]]], values: list[float]) -> float:
    """Cut off losses far above where the networks begin on stop rows: nothing that matters happens there."""
    first = [curve[0] for _, trials in shown for trial in trials if (curve := _finite(trial["stop_curve"]))]
    return min(max(values), 1.6 * float(np.median(first)) if first else math.inf)


def _loss_label(result: StudyResult) -> str:
    if result.task == "model" or result.options.get("quantile"):
        return "loss in training"
    return "log-loss (nats)" if result.task == "classification" else "mean square error / target variance"
