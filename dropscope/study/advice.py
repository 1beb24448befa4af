"""The advice in words: the decision, the measured reason, and code to paste."""

import math

import numpy as np

from dropscope.study.decision import Decision, Losses, decide
from dropscope.study.metrics import LABELS
from dropscope.study.result import Advice, Arm, StudyResult

__all__ = ["advise"]


def advise(result: StudyResult) -> Advice:
    """Say how much dropout to use, where and why, from the selection losses of a study.

    The statistics are those of `decide`; only scores on selection rows enter. Arms that did not converge, or diverged,
    are left out and named. The advice is void if the best network loses to the constant prediction.

    Args:
        result: a study with its trials, arms and references.

    Returns:
        The advice.
    """
    kept = [arm for arm in result.arms if arm.converged and not arm.diverged]
    excluded = tuple(arm.rates for arm in result.arms if arm not in kept)
    metric = LABELS[result.metric]
    if len(kept) < 2 or kept[0].rates != (0, 0):
        which = "with" if kept and kept[0].rates == (0, 0) else "without"
        sentence = (
            f"The advice is void: networks {which} dropout were still improving when training ended, or diverged."
        )
        return _void(sentence, "Train longer (`--epochs`) or with another learning rate (`--lr`).", excluded)
    constant = float(np.mean([scores[result.metric] for scores in result.references[0]["select"]]))
    best = min(arm.select for arm in kept)
    if best >= constant:
        sentence = f"The advice is void: the best network ({metric} {best:.4g}) loses to the constant ({constant:.4g})."
        return _void(sentence, "The networks learned nothing that holds on new rows: look at the data first.", excluded)
    decision = decide(Losses(tuple(arm.rates for arm in kept), _table(result, kept), _ratio(result)))
    arm = kept[decision.arm]
    sentences = _answer(decision, kept, metric), _reason(decision, kept) + _left_out(excluded)
    gain = float(decision.gains[decision.best])
    return Advice(
        decision.kind, arm.p_input, arm.p_hidden, sentences, _code(decision, arm), gain, decision.se, decision.point,
        decision.seeds_needed, excluded,
    )  # fmt: skip


def _table(result: StudyResult, arms: list[Arm]) -> np.ndarray:
    by_trial = {(t["p_input"], t["p_hidden"], t["lr"], t["seed"]): t["select"][result.metric] for t in result.trials}
    seeds = sorted({t["seed"] for t in result.trials})
    return np.array([[by_trial[*arm.rates, arm.lr, seed] for seed in seeds] for arm in arms])


def _ratio(result: StudyResult) -> float:
    return float(np.mean([t["n_select"] / t["n_fit"] for t in result.trials]))


def _void(sentence: str, reason: str, excluded: tuple[tuple[float, float], ...]) -> Advice:
    nan = float("nan")
    return Advice("void", nan, nan, (sentence, reason), "", nan, nan, nan, None, excluded)


def _answer(decision: Decision, arms: list[Arm], metric: str) -> str:
    base, best, advised = arms[0], arms[decision.best], arms[decision.arm]
    # An error rate of 0 without dropout leaves nothing to gain, in any unit.
    relative = 100 / base.select if base.select else 0.0
    gain, error = relative * decision.gains, relative * decision.se
    edge = " The largest rate studied there was best: widen the grid." if decision.at_edge else ""
    if decision.kind == "dropout":
        smaller = f", the smallest rate within one standard error of the best ({describe(best)})"
        return (
            f"Use {describe(advised)}: {metric} on selection rows falls by {gain[decision.arm]:.1f} ± {error:.1f} %, "
            f"from {base.select:.4g} to {advised.select:.4g}{smaller if advised is not best else ''}.{edge}"
        )
    found = f"the best rate ({describe(best)}) gains {_signed(gain[decision.best], '.1f')} ± {error:.1f} % of {metric}"
    if decision.kind == "no dropout":
        return f"Use no dropout: {found}, and with 90 % confidence no rate gains 1 %."
    seeds = "no number of seeds would tell, more rows might"
    if decision.seeds_needed:
        seeds = f"about {decision.seeds_needed} seeds would tell (`--seeds {decision.seeds_needed}`)"
    return f"The data cannot tell: {found}, where {error * decision.point:.1f} % would pass; {seeds}.{edge}"


def _reason(decision: Decision, arms: list[Arm]) -> str:
    """Quote what was measured on the trained networks, never what a formula predicts."""
    base, arm = arms[0], arms[decision.arm if decision.kind == "dropout" else decision.best]
    if math.isnan(base.mean_order) or math.isnan(arm.mean_order):
        return "No interaction spectrum: the table has one block of columns, or the networks' outputs do not vary."
    change = _signed(100 * (arm.total / base.total - 1), "+.0f")
    return (
        f"Measured on the trained networks, {describe(arm)} changes the variance of their outputs by {change} %, "
        f"the share of it in interactions (order 2 and up) from {1 - base.share[0]:.2f} to {1 - arm.share[0]:.2f}, "
        f"and the mean interaction order from {base.mean_order:.2f} to {arm.mean_order:.2f}."
    )


def _signed(value: float, form: str) -> str:
    """Format a number with a true minus sign."""
    return format(value, form).replace("-", "\u2212")


def _left_out(excluded: tuple[tuple[float, float], ...]) -> str:
    if not excluded:
        return ""
    shown = ", ".join(f"({p_input:g}, {p_hidden:g})" for p_input, p_hidden in excluded)
    return f" Left out because not converged (or diverged), as (input p, hidden p): {shown}."


def describe(arm: Arm) -> str:
    """Name an arm in words.

    Args:
        arm: the arm.

    Returns:
        Such as "p=0.25 after hidden layers".
    """
    return {
        "none": "no dropout",
        "input": f"p={arm.p_input:g} on the inputs",
        "hidden": f"p={arm.p_hidden:g} after each hidden layer",
        "both": f"p={arm.p_input:g} on the inputs and p={arm.p_hidden:g} after each hidden layer",
    }[arm.place]


def _code(decision: Decision, arm: Arm) -> str:
    if decision.kind != "dropout":
        return "# no nn.Dropout" if decision.kind == "no dropout" else ""
    lines = []
    if arm.p_input:
        lines.append(f"nn.Dropout(p={arm.p_input:g})  # on the inputs, before the first nn.Linear")
    if arm.p_hidden:
        lines.append(f"nn.Dropout(p={arm.p_hidden:g})  # after the activation of each hidden layer")
    return "\n".join(lines)
