"""Numbers out of a result: trials of an arm, means with intervals, variance by order. Nothing here draws."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import stats

from dropscope.study import Arm, StudyResult
from dropscope.study.metrics import LABELS
from dropscope.study.rates import SINGLE, Rates, largest, middle, rate_of, rate_text

__all__ = [
    "PLACES", "advised_name", "arm_name", "baseline", "best", "compared", "interval", "loss_name", "number",
    "one_line", "orders_of", "p_text", "place_arms", "scores", "sentence", "shown_arms", "trials_of", "variances",
    "x_range",
]  # fmt: skip

PLACES = {"input": "input", "hidden": "hidden layers", "both": "input and hidden layers",
          **{place: f"{place} hidden layer alone" for place in SINGLE}}  # fmt: skip
CONFIDENCE = 0.95


def number(value: float | None) -> float:
    """Read a number that JSON may have turned into null.

    Args:
        value: the number.

    Returns:
        The number, nan for None.
    """
    return math.nan if value is None else float(value)


def p_text(p: float) -> str:
    """Write a probability as short as it is exact enough to find again.

    Args:
        p: the probability.

    Returns:
        Such as "0.25" or "0.0312".
    """
    return f"{p:.3g}"


def arm_name(arm: Arm) -> str:
    """Name an arm in a few words.

    Args:
        arm: the arm.

    Returns:
        Such as "hidden p = 0.25".
    """
    if arm.place in SINGLE:
        return f"{arm.place} hidden layer p = {p_text(largest(arm.p_hidden))}"
    parts = [("input", arm.p_input), ("hidden", arm.p_hidden)]
    return ", ".join(f"{place} p = {rate_text(p, '.3g')}" for place, p in parts if p) or "no dropout"


def one_line(name: str, most: int) -> str:
    """Write a user's name on one line, cut to fit.

    Args:
        name: the name.
        most: longest text in characters.

    Returns:
        The text.
    """
    name = " ".join(name.split())
    return name if len(name) <= most else name[: most - 1] + "…"


def loss_name(result: StudyResult) -> str:
    """Name the metric with its unit, for an axis.

    Args:
        result: the study.

    Returns:
        Such as "RMSE (units of price)".
    """
    label = LABELS[result.metric]
    target = one_line(result.target, 18)
    return f"{label} (units of {target})" if result.metric in ("rmse", "mae") else f"{label}, {target}"


def trials_of(result: StudyResult, arm: Arm) -> list[dict[str, Any]]:
    """List the trials that an arm summarises: those at its own learning rate, by seed.

    Args:
        result: the study.
        arm: one of its arms.

    Returns:
        The records.
    """
    mine = [t for t in result.trials if (t["p_input"], rate_of(t["p_hidden"]), t["lr"]) == (*arm.rates, arm.lr)]
    return sorted(mine, key=lambda trial: trial["seed"])


def sentence(parts: Iterable[str]) -> str:
    """Join clauses into one sentence.

    Args:
        parts: the clauses; empty ones are left out.

    Returns:
        The sentence, empty if no clause is left.

    Example:
        >>> sentence(["one thing holds", "", "so does another"])
        'One thing holds; so does another.'
    """
    text = "; ".join(filter(None, parts))
    return f"{text[0].upper()}{text[1:]}." if text else ""


def scores(result: StudyResult, arm: Arm, part: str = "select") -> list[float]:
    """List the arm's scores by seed.

    Args:
        result: the study.
        arm: one of its arms.
        part: select or test.

    Returns:
        One score a seed.
    """
    return [number(trial[part][result.metric]) for trial in trials_of(result, arm)]


def place_arms(result: StudyResult, place: str) -> list[tuple[float, Arm]]:
    """List the arms that drop at a place with their position on its axis, the shared p = 0 arm first.

    Args:
        result: the study.
        place: one of `PLACES`.

    Returns:
        Pairs of p (of the hidden layers for both, the mean over the layers studied there) and arm, by p; empty where no
        arm drops there.
    """
    hidden = largest if place in SINGLE else middle
    arms = [
        (arm.p_input if place == "input" else hidden(arm.p_hidden), arm) for arm in result.arms if arm.place == place
    ]
    zero = [(0.0, arm) for arm in result.arms if arm.place == "none"]
    return [*zero, *sorted(arms, key=lambda one: (one[0], one[1].p_input))] if arms else []


def x_range(arms: list[tuple[float, Arm]]) -> tuple[float, float]:
    """Set an axis of p that leaves room around the points.

    Args:
        arms: pairs of p and arm.

    Returns:
        Both ends of the axis.
    """
    widest = max(p for p, _ in arms)
    return -0.06 * widest, 1.06 * widest


def baseline(result: StudyResult) -> Arm | None:
    """Find the arm without dropout.

    Args:
        result: the study.

    Returns:
        The arm, or None where there is none.
    """
    return next((arm for arm in result.arms if arm.place == "none"), None)


def compared(arm: Arm) -> bool:
    """Say whether an arm's losses may be compared with those of others.

    Args:
        arm: the arm.

    Returns:
        False where it diverged or left early.
    """
    return not arm.diverged and not arm.left


def best(result: StudyResult) -> Arm | None:
    """Find the arm of the lowest selection loss among those that may be compared.

    Args:
        result: the study.

    Returns:
        The arm, or None where there is none.
    """
    sound = [arm for arm in result.arms if compared(arm) and not math.isnan(arm.select)]
    return min(sound, key=lambda arm: arm.select, default=None)


def advised_name(result: StudyResult) -> str:
    """Name the advised arm: how sure the study is of it.

    Args:
        result: the study.

    Returns:
        "best guess" where the data cannot tell, else "advised".
    """
    return "best guess" if result.advice and result.advice.kind == "cannot tell" else "advised"


def shown_arms(result: StudyResult) -> list[tuple[str, Arm]]:
    """Choose the arms that are worth a panel of their own: no dropout, the advised one and the best one.

    Args:
        result: the study.

    Returns:
        Pairs of title and arm, each arm once.
    """
    zero = baseline(result)
    roles: dict[Rates, tuple[Arm, list[str]]] = {}
    for role, arm in (("", zero), (advised_name(result), result.advised_arm), ("lowest loss", best(result))):
        if arm is not None:
            roles.setdefault(arm.rates, (arm, []))[1].append(role)
    named = [(arm, ", ".join(filter(None, mine))) for arm, mine in roles.values()]
    return [(arm_name(arm) + (f": {role}" if role else ""), arm) for arm, role in named]


def interval(values: Iterable[float]) -> tuple[float, float, float]:
    """Compute the mean over seeds and its 95 % interval by Student's t.

    Args:
        values: one number a seed; those that are not finite are left out.

    Returns:
        Mean, lower and upper end; the ends are nan for a single value.
    """
    kept = np.array([value for value in values if math.isfinite(value)])
    if len(kept) < 2:
        return (float(kept[0]) if len(kept) else math.nan), math.nan, math.nan
    mean = float(kept.mean())
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(kept) - 1) * kept.std(ddof=1) / len(kept) ** 0.5)
    return mean, mean - half, mean + half


def orders_of(result: StudyResult) -> list[str]:
    """Name the orders that the study's spectra show one by one, and the rest.

    Args:
        result: the study.

    Returns:
        The names; empty where no spectrum was measured.
    """
    measured = [t["spectrum"] for t in result.trials if t["spectrum"]]
    if not measured:
        return []
    count = len(measured[0]["share"])
    higher = len(measured[0]["blocks"]) > count
    return [f"order {k}" for k in range(1, count + 1)] + ([f"order > {count}"] if higher else [])


def variances(spectra: Iterable[dict[str, Any] | None], *, total: bool) -> np.ndarray:
    """Stack variance by order of several spectra: absolute, or as shares.

    Args:
        spectra: spectra as plain data; absent ones and those of constant networks are left out.
        total: multiply shares by the variance of the output.

    Returns:
        Shape (spectra, orders and rest).
    """
    kept = [s for s in spectra if s and number(s["total"]) > 0]
    rows = [[number(v) * (s["total"] if total else 1) for v in (*s["share"], s["rest"])] for s in kept]
    return np.array(rows).reshape(len(rows), -1)
