"""The result of a study of one's own model, and its advice in words that name sites instead of layers."""

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from torch import nn

from dropscope.study.advice import advise
from dropscope.study.own.scores import REFERENCES, Metric, name_of
from dropscope.study.own.sites import rates_taken
from dropscope.study.result import Advice, StudyResult, arms_of

__all__ = ["own_result"]

UNPAIRED = (
    "the initial weights of a seed differ between rates: `build` draws random numbers that depend on the rates, and "
    "gains are paired less well than they could be."
)


def own_result(
    records: list[dict[str, Any]], epochs: int, metric: Metric, build: Callable[..., nn.Module], roles: dict[str, str],
    **told: Any,
) -> StudyResult:  # fmt: skip
    """Put the records of a study together.

    Args:
        records: finished trials, all arms of a seed one after the other.
        epochs: planned epochs.
        metric: what arms are compared by.
        build: makes the network.
        roles: input, hidden or fixed, by the path of each site; empty where `build` sets the rates.
        told: other fields of the result.

    Returns:
        The result with its arms and its advice.
    """
    rows = {
        part: round(sum(r[f"n_{part}"] for r in records) / len(records)) for part in ("fit", "stop", "select", "test")
    }
    starts = {(record["seed"], record["start"]) for record in records}
    if len(starts) > len({seed for seed, _ in starts}):
        told["notes"] = (*told["notes"], UNPAIRED)
    result = StudyResult(
        task="model",
        metric=metric.name,
        rows={"all": sum(rows.values()), **rows},
        classes=(),
        epochs=epochs,
        trials=tuple(records),
        references=(_reference(records, metric),),
        arms=arms_of(records, metric.name, epochs),
        versions={name: version(name) for name in ("dropscope", "torch", "numpy")},
        **told,
    )
    return replace(result, advice=_in_sites(advise(result), build, roles, metric))


def _reference(records: list[dict[str, Any]], metric: Metric) -> dict[str, Any]:
    of_seeds = {record["seed"]: record["reference"] for record in reversed(records)}
    name, label = "untrained", "the network before it is trained"
    if metric.task is not None:
        name, label = "constant", REFERENCES[metric.task]
    parts = {part: [of_seeds[seed][part] for seed in sorted(of_seeds)] for part in ("select", "test")}
    return {"name": name, "label": label, **parts}


def _in_sites(advice: Advice, build: Callable[..., nn.Module], roles: dict[str, str], metric: Metric) -> Advice:
    """Say where the model drops in its own terms, and give code that sets its rates."""
    words = {
        "on the inputs": "at the input sites",
        "after each hidden layer": "at all dropout sites" if _alike(roles) else "at the hidden sites",
        "the table has one block of columns": "the inputs are no table of numbers",
    }
    if metric.task is None:
        words["the constant ("] = "the network before it was trained ("
    first, second = advice.sentences
    for old, new in words.items():
        first, second = first.replace(old, new), second.replace(old, new)
    code = advice.code
    if advice.p_input or advice.p_hidden:
        comments = [line for line in code.splitlines() if line.startswith("#")]
        code = "\n".join([*comments, _setting(advice, build, roles)]) if code else ""
    return replace(advice, sentences=(first, second), code=code)


def _alike(roles: dict[str, str]) -> bool:
    return set(roles.values()) == {"hidden"}


def _setting(advice: Advice, build: Callable[..., nn.Module], roles: dict[str, str]) -> str:
    """Write the line that gives a model the advised rates."""
    rates = {"p_input": advice.p_input, "p_hidden": advice.p_hidden, "p": advice.p_hidden}
    if taken := rates_taken(build):
        name = name_of(build) if name_of(build).isidentifier() else "build"
        return f"model = {name}({', '.join(f'{rate}={rates[rate]:g}' for rate in taken)})"
    if _alike(roles):
        return f"dropscope.surgery.set_p(model, {advice.p_hidden:g})"
    by_path = {path: rates[f"p_{role}"] for path, role in roles.items() if role != "fixed"}
    return f"dropscope.surgery.set_p(model, {by_path})"
