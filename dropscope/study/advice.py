"""The advice in words: the decision, the measured reason, and code to paste."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from dropscope.study.decision import Decision, Losses, at_edge, best_guess, decide
from dropscope.study.metrics import LABELS
from dropscope.study.rates import SINGLE, Rates, largest, rate_of, rate_text
from dropscope.study.result import Advice, Arm, StudyResult

__all__ = ["advise"]


def advise(result: StudyResult) -> Advice:
    """Say how much dropout to use, where and why, from the losses of a study.

    The statistics are those of `decide`: whether dropout helps is decided on selection rows, and the rate by the arms'
    estimates; no test row enters. Arms that diverged are left out and named; those that left early, beaten, and those
    that were still improving when training ended are named too. While networks without dropout were still improving, no
    gain is claimed over them. The advice is void if the best network loses to the constant prediction; its rates are
    then those that come closest, for who must use a network all the same.

    Args:
        result: a study with its trials, arms and references.

    Returns:
        The advice.
    """
    kept = [arm for arm in result.arms if not arm.diverged]
    excluded = tuple(arm.rates for arm in result.arms if arm.diverged)
    metric = LABELS[result.metric]
    left = tuple(i for i, arm in enumerate(kept) if arm.left)
    if len(kept) - len(left) < 2 or kept[0].rates != (0, 0):
        which = "with" if kept and kept[0].rates == (0, 0) else "without"
        sentence = f"The advice is void: training of the networks {which} dropout diverged."
        return _void(sentence, "Train with a lower learning rate (`--lr`).", excluded)
    rates, estimates = tuple(arm.rates for arm in kept), np.array([arm.estimate for arm in kept])
    losses = Losses(rates, _table(result, kept), estimates, _ratio(result), left)
    constant = float(np.mean([scores[result.metric] for scores in result.references[0]["select"]]))
    best = min(arm.select for arm in kept if not arm.left)
    if best >= constant:
        sentence = f"The advice is void: the best network ({metric} {best:.4g}) loses to the constant ({constant:.4g})."
        closest = kept[best_guess(losses)]
        reason = (
            "The networks learned nothing that holds on new rows: look at the data first. "
            f"Those with {describe(closest)} come closest."
        )
        return _void(sentence, reason, excluded, closest.rates)
    decision = decide(losses)
    if not kept[0].converged:
        decision = replace(decision, kind="cannot tell", arm=best_guess(losses), seeds_needed=None)
    arm = kept[decision.arm]
    sentences = (
        _answer(decision, kept, metric),
        _reason(decision, kept) + _remarks(kept, excluded),
    )
    gain = float(decision.gains[decision.best])
    return Advice(
        decision.kind, arm.p_input, arm.p_hidden, sentences, _code(decision, arm), gain, decision.se, decision.point,
        decision.seeds_needed, excluded,
    )  # fmt: skip


def _table(result: StudyResult, arms: list[Arm]) -> np.ndarray:
    by_trial = {
        (t["p_input"], rate_of(t["p_hidden"]), t["lr"], t["seed"]): t["select"][result.metric] for t in result.trials
    }
    seeds = sorted({t["seed"] for t in result.trials})
    return np.array([[by_trial[*arm.rates, arm.lr, seed] for seed in seeds] for arm in arms])


def _ratio(result: StudyResult) -> float:
    return float(np.mean([t["n_select"] / t["n_fit"] for t in result.trials]))


def _void(sentence: str, reason: str, excluded: tuple[Rates, ...], closest: Rates = (math.nan, math.nan)) -> Advice:
    nan = math.nan
    return Advice("void", *closest, (sentence, reason), "", nan, nan, nan, None, excluded)


def _answer(decision: Decision, arms: list[Arm], metric: str) -> str:
    base, best, advised = arms[0], arms[decision.best], arms[decision.arm]
    # An error rate of 0 without dropout leaves nothing to gain, in any unit.
    relative = 100 / abs(base.select) if base.select else 0.0
    gain, error = relative * decision.gains, relative * decision.se
    widest = at_edge([arm.rates for arm in arms], advised.rates)
    edge = " The largest rate studied there was best: widen the grid." if widest else ""
    if decision.kind == "dropout":
        return (
            f"Use {describe(advised)}: {metric} on selection rows falls by {gain[decision.arm]:.1f} ± {error:.1f} %, "
            f"from {base.select:.4g} to {advised.select:.4g}.{edge}"
        )
    found = f"the best rate ({describe(best)}) gains {_signed(gain[decision.best], '.1f')} ± {error:.1f} % of {metric}"
    if decision.kind == "no dropout":
        return f"Use no dropout: {found}, and with 90 % confidence no rate gains 1 %."
    why = ", by stop and selection rows together" if gain[decision.arm] < max(0.0, gain[decision.best]) else ""
    guess = f" The best guess is {describe(advised)}{why}."
    if not base.converged:
        return (
            f"The data cannot tell: {found}, but networks without dropout were still improving when training ended; "
            f"train longer (`--epochs`, `--max-seconds`).{guess}{edge}"
        )
    seeds = "no number of seeds would tell, more rows might"
    if decision.seeds_needed:
        seeds = f"about {decision.seeds_needed} seeds would tell (`--seeds {decision.seeds_needed}`)"
    return f"The data cannot tell: {found}, where {error * decision.point:.1f} % would pass; {seeds}.{guess}{edge}"


def _reason(decision: Decision, arms: list[Arm]) -> str:
    """Quote what was measured on the trained networks, never what a formula predicts."""
    base, arm = arms[0], arms[decision.arm or decision.best]
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


def _remarks(arms: list[Arm], excluded: tuple[Rates, ...]) -> str:
    """Name the arms, as (input p, hidden p), whose losses say less than those of the others."""
    unfinished = tuple(arm.rates for arm in arms[1:] if not arm.converged and not arm.left)
    early = tuple(arm.rates for arm in arms if arm.left)
    remarks = {
        "Left out because training diverged": excluded,
        "Still improving when training ended": unfinished,
        "Left training early, clearly beaten on the stop rows": early,
    }
    return "".join(f" {remark}: {_rates(rates)}." for remark, rates in remarks.items() if rates)


def _rates(rates: Iterable[Rates]) -> str:
    return ", ".join(f"({p_input:g}, {rate_text(p_hidden)})" for p_input, p_hidden in rates)


def describe(arm: Arm) -> str:
    """Name an arm in words.

    Args:
        arm: the arm.

    Returns:
        Such as "p=0.25 after each hidden layer".
    """
    if arm.place in SINGLE:
        return f"p={largest(arm.p_hidden):g} after the {arm.place} hidden layer alone"
    hidden = f"p={rate_text(arm.p_hidden)} after each hidden layer"
    if isinstance(arm.p_hidden, tuple):
        hidden = f"p={rate_text(arm.p_hidden)} after the hidden layers in turn"
    return {
        "none": "no dropout",
        "input": f"p={arm.p_input:g} on the inputs",
        "hidden": hidden,
        "both": f"p={arm.p_input:g} on the inputs and {hidden}",
    }[arm.place]


def _code(decision: Decision, arm: Arm) -> str:
    if decision.arm == 0:
        return "# no nn.Dropout" if decision.kind == "no dropout" else ""
    lines = ["# a best guess: not shown to beat no dropout"] if decision.kind == "cannot tell" else []
    if arm.p_input:
        lines.append(f"nn.Dropout(p={arm.p_input:g})  # on the inputs, before the first nn.Linear")
    if isinstance(arm.p_hidden, tuple):
        lines += [
            f"nn.Dropout(p={p:g})  # after the activation of hidden layer {layer}"
            for layer, p in enumerate(arm.p_hidden, start=1)
            if p
        ]
    elif arm.p_hidden:
        lines.append(f"nn.Dropout(p={arm.p_hidden:g})  # after the activation of each hidden layer")
    return "\n".join(lines)
