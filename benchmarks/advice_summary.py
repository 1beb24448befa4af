"""From the records of `advice.py` to relative regrets, paired intervals, the goals, and where the advice was wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

METHODS = ("advice", "lowest", "p=0", "p=.5", "(.2, .5)", "Optuna")
RIVALS = {"p=.5": 0.0, "Optuna": 0.0, "p=0": 0.005}  # what the upper bound of advice - rival may reach
MOST_REGRET, WRONG = 0.02, 0.02
RESAMPLES = 10_000


def regrets(record: dict[str, Any]) -> dict[str, float]:
    """Compute the relative regret of every method on one table.

    The best arm in hindsight is found on one half of the test rows and regret is measured on the other, and the
    reverse; the mean of both is free of the luck of having been chosen, and may be negative.
    """
    arms = len(record["arms"])
    mean = np.mean(record["test"], axis=0)  # candidates, halves
    found: dict[str, float] = {}
    for method, choice in record["choices"].items():
        both = []
        for half in range(2):
            best = mean[mean[:arms, half].argmin(), 1 - half]
            both.append((mean[choice, 1 - half] - best) / best)
        found[method] = float(np.mean(both))
    return found


def logarithms(record: dict[str, Any]) -> dict[str, float]:
    """Take the logarithm of every method's mean loss on one table's test rows: differences are ratios of losses."""
    mean = np.mean(record["test"], axis=(0, 2))
    return {method: float(np.log(mean[choice])) for method, choice in record["choices"].items()}


def interval(differences: np.ndarray) -> dict[str, float]:
    """Mean of paired differences over tables with both 95 % intervals, by t and by the bootstrap."""
    count, mean = len(differences), float(differences.mean())
    if count < 2:
        return {"mean": mean, **dict.fromkeys(("t_low", "t_high", "boot_low", "boot_high"), float("nan"))}
    margin = stats.t.ppf(0.975, count - 1) * differences.std(ddof=1) / count**0.5
    draws = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    low, high = np.quantile(differences[draws].mean(1), (0.025, 0.975))
    return {"mean": mean, "t_low": mean - margin, "t_high": mean + margin, "boot_low": low, "boot_high": high}


def wins(differences: np.ndarray) -> dict[str, float]:
    """Count the tables on which the advice is better, and worse, with Wilcoxon's signed-rank p of both together."""
    better, worse = int((differences < 0).sum()), int((differences > 0).sum())
    return {"better": better, "worse": worse, "p": float(stats.wilcoxon(differences).pvalue) if better + worse else 1.0}


def summarise(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Summarise all tables: mean regrets, paired differences, goals and the tables where the advice was wrong."""
    table = {method: np.array([regrets(record)[method] for record in records]) for method in METHODS}
    paired = {rival: interval(table["advice"] - table[rival]) for rival in METHODS[1:]}
    logs = {method: np.array([logarithms(record)[method] for record in records]) for method in METHODS}
    goals = [("mean relative regret", float(table["advice"].mean()), MOST_REGRET)]
    for rival, limit in RIVALS.items():
        upper = max(paired[rival]["t_high"], paired[rival]["boot_high"])
        goals.append((f"advice minus {rival}, upper bound", upper, limit))
    return {
        "tables": len(records),
        "mean": {method: float(values.mean()) for method, values in table.items()},
        "median": {method: float(np.median(values)) for method, values in table.items()},
        "paired": paired,
        "wins": {rival: wins(table["advice"] - table[rival]) for rival in METHODS[1:]},
        "ratios": {rival: interval(logs["advice"] - logs[rival]) for rival in METHODS[1:]},
        "goals": [
            {"goal": name, "value": value, "limit": limit, "met": bool(value < limit)} for name, value, limit in goals
        ],
        "wrong": [_wrong(record) for record in records if regrets(record)["advice"] > WRONG],
    }


def row(record: dict[str, Any]) -> dict[str, Any]:
    """What one table showed, in short."""
    kept = ("table", "metric", "rows", "columns", "epochs", "lr", "study_seconds", "optuna_seconds", "optuna_trials")
    advised, tuned = (record["candidates"][record["choices"][name]] for name in ("advice", "Optuna"))
    return {**{name: record[name] for name in kept}, "kind": record["advice"]["kind"], "advised": advised[:2],
            "optuna": tuned, "regrets": regrets(record)}  # fmt: skip


def _wrong(record: dict[str, Any]) -> dict[str, Any]:
    """Say what went wrong, as far as the numbers tell."""
    found, advice, arms = regrets(record), record["advice"], record["arms"]
    rates = [(arm["p_input"], arm["p_hidden"]) for arm in arms]
    mean = np.mean(record["test"], axis=0)[: len(arms)]
    hindsight = [rates[i] for i in mean.argmin(0)]
    advised, lowest = (rates[record["choices"][name]] for name in ("advice", "lowest"))
    unit = 100 / np.mean(arms[0]["select"])
    if advice["kind"] == "void" or advice["gain"] is None:
        why = advice["sentence"]
    elif advice["kind"] == "no dropout":
        why = f"{lowest} gained {unit * advice['gain']:.1f} %, and no rate could gain 1 %"
    else:
        gain, bar = unit * advice["gain"], unit * advice["critical"] * advice["gain_se"]
        why = f"held rows misled: {lowest} was lowest on selection rows, by {gain:.1f} % where {bar:.1f} % would pass"
    return {"table": record["table"], "regret": found["advice"], "kind": advice["kind"], "advised": advised,
            "lowest": lowest, "hindsight": hindsight, "why": why}  # fmt: skip


def show(records: Sequence[dict[str, Any]]) -> None:
    """Print the regrets of every table and the summary."""
    print("\nrelative regret on test rows, %".ljust(34), *(method.rjust(9) for method in METHODS))
    for record in records:
        found = regrets(record)
        p_input, p_hidden, _ = record["candidates"][record["choices"]["advice"]]
        label = f"{record['table']}: {record['advice']['kind']} ({p_input:g}, {p_hidden:g})"
        print(f"{label:33.33}", *(f"{100 * found[method]:9.2f}" for method in METHODS))
    summary = summarise(records)
    for statistic in ("mean", "median"):
        print(f"{statistic:33}", *(f"{100 * summary[statistic][method]:9.2f}" for method in METHODS))

    titles = {"paired": "advice minus rival over tables, %", "ratios": "logarithm of advice's loss over rival's, %"}
    for kind, title in titles.items():
        print(f"\n{title}: mean, 95 % interval by t, by bootstrap")
        for rival, one in summary[kind].items():
            low, high, *boot = (100 * one[key] for key in ("t_low", "t_high", "boot_low", "boot_high"))
            print(f"  {rival:9} {100 * one['mean']:7.2f}   [{low:.2f}, {high:.2f}]   [{boot[0]:.2f}, {boot[1]:.2f}]")
    print("\ntables on which the advice is better, worse; Wilcoxon's p")
    for rival, one in summary["wins"].items():
        print(f"  {rival:9} {one['better']:4} {one['worse']:4}   {one['p']:.4f}")
    print("\ngoals")
    for goal in summary["goals"]:
        verdict = "met" if goal["met"] else "MISSED"
        print(f"  {goal['goal']:40} {100 * goal['value']:7.2f} %, limit {100 * goal['limit']:.1f} %: {verdict}")
    print(f"\nthe advice lost more than {WRONG:.0%} on {len(summary['wrong'])} of {summary['tables']} tables")
    for one in sorted(summary["wrong"], key=lambda one: -one["regret"]):
        print(f"  {one['table']}: {100 * one['regret']:.1f} %, best in hindsight {one['hindsight']}; {one['why']}")
