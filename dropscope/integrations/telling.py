"""What trackers are told of a study: plain texts and numbers, the same for all of them."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from dropscope.report.reading import number, trials_of
from dropscope.study import Arm, StudyResult
from dropscope.study.rates import largest, rate_text

__all__ = ["advice_numbers", "arm_numbers", "arm_rates", "curves", "file_names", "key_of", "option_texts"]

LONGEST = 500  # characters of a text that every server takes
CURVES = {"fit": "loss on fit rows", "stop": "loss on stop rows"}


def key_of(name: str) -> str:
    """Write a name with the characters that trackers allow."""
    return re.sub(r"[^\w.\- /]", "_", name)


def option_texts(result: StudyResult) -> dict[str, str]:
    """Write the options and the size of a study as texts.

    Args:
        result: a finished study.

    Returns:
        Texts by name.
    """
    told: dict[str, Any] = {
        **result.options, "target": result.target, "task": result.task, "metric": result.metric,
        "epochs": result.epochs, "networks": len(result.trials),
        **{f"{part} rows": count for part, count in result.rows.items()},
    }  # fmt: skip
    return {key_of(name): str(value)[:LONGEST] for name, value in told.items() if value is not None and value != ()}


def advice_numbers(result: StudyResult) -> dict[str, float]:
    """List the numbers of the advice; those that are not finite are left out.

    Args:
        result: a finished study.

    Returns:
        Numbers by name.
    """
    advice = result.advice
    if advice is None:
        return {}
    told = {
        "advised p_input": advice.p_input, "advised p_hidden": largest(advice.p_hidden), "gain": advice.gain,
        "gain standard error": advice.gain_se, "critical ratio": advice.critical, "seconds": result.seconds,
    }  # fmt: skip
    return _finite(told)


def arm_rates(arm: Arm) -> dict[str, float | str]:
    """List what distinguishes an arm; rates that differ over layers are a text."""
    p_hidden = rate_text(arm.p_hidden) if isinstance(arm.p_hidden, tuple) else arm.p_hidden
    return {"p_input": arm.p_input, "p_hidden": p_hidden, "lr": arm.lr}


def arm_numbers(result: StudyResult, arm: Arm) -> dict[str, float]:
    """List the means over seeds of an arm; those that were not measured are left out.

    Args:
        result: a finished study.
        arm: one of its arms.

    Returns:
        Numbers by name.
    """
    metric = key_of(result.metric)
    told = {
        f"select {metric}": arm.select, f"select {metric} standard error": arm.select_se,
        f"estimated {metric}": arm.estimate, f"test {metric}": arm.test, f"test {metric} standard error": arm.test_se,
        **{f"share of order {order}": share for order, share in enumerate(arm.share, start=1)},
        "share of higher orders": arm.rest, "mean order": arm.mean_order, "output variance": arm.total,
        "best epoch": arm.best_epoch, "converged": float(arm.converged), "diverged": float(arm.diverged),
    }  # fmt: skip
    return _finite(told)


def _finite(numbers: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


def curves(result: StudyResult, arm: Arm) -> dict[str, list[tuple[int, float]]]:
    """Average the losses of an arm over seeds, epoch by epoch, while all of its networks train.

    Args:
        result: a finished study.
        arm: one of its arms.

    Returns:
        Pairs of epoch and mean loss, by name of the curve.
    """
    found = {}
    for kind, name in CURVES.items():
        losses = [[number(value) for value in trial[f"{kind}_curve"]] for trial in trials_of(result, arm)]
        common = min(map(len, losses))
        means = np.mean([curve[:common] for curve in losses], axis=0).tolist()
        found[name] = [(epoch, mean) for epoch, mean in enumerate(means, start=1) if math.isfinite(mean)]
    return found


def file_names(result: StudyResult) -> list[Path]:
    """List the page and the numbers of a study, as far as they are on disk."""
    paths = [Path(file) for file in result.files]
    return [path for path in paths if path.name in ("report.html", "result.json") and path.is_file()]
