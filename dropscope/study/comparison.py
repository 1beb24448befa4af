"""Two studies side by side: what was run differently, what each advises, and the losses of the arms common to both."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dropscope.study.contrasts import Difference, contrast
from dropscope.study.differences import changed_options, changed_table, one_cut
from dropscope.study.metrics import LABELS
from dropscope.study.opening import fingerprint_of, load_result
from dropscope.study.rates import HiddenRate, Rates, rate_of, rate_text
from dropscope.study.result import Advice, Arm, StudyResult

__all__ = ["ArmDifference", "Comparison", "compare"]

WEIGHTS = ("class_weight", "weight_column")  # in every loss


@dataclass(frozen=True, eq=False)
class ArmDifference(Difference):
    """The difference of one arm's mean selection losses.

    An arm is not `sound` where in one of the studies it diverged, had not converged or left training early.
    """

    p_input: float
    p_hidden: HiddenRate
    sound: bool

    @property
    def rates(self) -> Rates:
        """(input p, hidden p)."""
        return self.p_input, self.p_hidden


@dataclass(frozen=True, eq=False)
class Comparison:
    """What differs between two studies of one target and metric.

    `studies` describe each in a line; `table` and `options` list (what, a, b); `advice` are both answers. With `paired`
    losses are compared seed by seed over `seeds` on the same rows, else study by study; `why` says which and why.
    `mean` is the difference averaged over all sound arms common to both, None where there is none.
    """

    studies: tuple[str, str]
    metric: str
    table: tuple[tuple[str, str, str], ...]
    options: tuple[tuple[str, str, str], ...]
    advice: tuple[Advice | None, Advice | None]
    paired: bool
    why: str
    seeds: tuple[int, ...]
    arms: tuple[ArmDifference, ...]
    mean: Difference | None
    only: tuple[tuple[Rates, ...], tuple[Rates, ...]]

    def describe(self) -> str:
        """Say in words and in a table what differs.

        Returns:
            The text, of several lines.
        """
        lines = [f"{name}: {text}" for name, text in zip("AB", self.studies, strict=True)]
        for title, changed in (("The tables differ:", self.table), ("The options differ:", self.options)):
            if changed:
                lines += ["", title, *_columns(["", "A", "B"], changed)]
        if not self.table and not self.options:
            lines += ["", "Table and options are the same."]
        lines += ["", *(f"{name} advises: {_said(advice)}" for name, advice in zip("AB", self.advice, strict=True))]
        lines += ["", self.verdict(), self.why]
        if self.arms:
            lines += ["", *self._arms()]
        for name, arms in zip("AB", self.only, strict=True):
            if arms:
                lines.append(f"Only in {name}, as (input p, hidden p): {_listed(arms)}.")
        return "\n".join(lines)

    def verdict(self) -> str:
        """Say which study's networks lose less, on average over the rates common to both.

        Returns:
            A sentence.
        """
        label = LABELS[self.metric]
        if self.mean is None:
            reason = "in both trained to its end" if self.arms else "is common to both"
            return f"No rate {reason}: there is nothing to compare."
        count = sum(arm.sound for arm in self.arms)
        over = (
            f"over the {count} rates that both trained to their end"
            if count > 1
            else "of the one rate that both trained to its end"
        )
        mean = self.mean
        if mean.difference == mean.error == 0:
            return f"The {label} {over} is the same, number by number."
        change = f"{_with_error(mean)}, from {mean.a:.4g} in A to {mean.b:.4g} in B"
        if not math.isfinite(mean.low) or mean.low <= 0 <= mean.high:
            return f"No difference can be told: the mean {label} {over} changes by {change}."
        better = "B" if mean.difference < 0 else "A"
        return f"{better} is better: the mean {label} {over} changes by {change}."

    def to_dict(self) -> dict[str, Any]:
        """Write everything as plain data.

        Returns:
            A dictionary of the fields with `verdict`; numbers that are not finite are None.
        """
        return dict(_plain({**asdict(self), "verdict": self.verdict()}))

    def _arms(self) -> list[str]:
        label = LABELS[self.metric]
        rows = [
            (f"{arm.p_input:g}", rate_text(arm.p_hidden), f"{arm.a:.4g}", f"{arm.b:.4g}",
             _with_error(arm), "" if arm.sound else "left out of the mean")
            for arm in self.arms
        ]  # fmt: skip
        heads = ["input p", "hidden p", f"{label} in A", "in B", "B - A", ""]
        note = "± is one standard error, corrected for fit rows that seeds share"
        left = "; left out of the mean: diverged, not converged or left early" if any(row[-1] for row in rows) else ""
        return [*_columns(heads, rows), f"{note}{left}."]


def compare(a: str | Path | StudyResult, b: str | Path | StudyResult) -> Comparison:
    """Compare two finished studies of one target and metric.

    Losses are those on selection rows. Where both studies cut the same rows alike, the difference d of an arm is paired
    by seed, with variance `var(d) * (1 / seeds + selection rows / fit rows)`, which allows for fit rows that seeds
    share; elsewhere the variances of both means add up.

    Args:
        a: the first study: its folder, or its result.
        b: the second one; only folders tell for certain that the rows are the same.

    Returns:
        The comparison.

    Raises:
        ValueError: a folder holds no finished study, or the studies are of another target or metric.

    Reference:
        Nadeau & Bengio 2003, doi:10.1023/A:1024068626366.
    """
    opened = [one if isinstance(one, StudyResult) else load_result(one) for one in (a, b)]
    first, second = opened
    _check_comparable(first, second)
    digests = [None if isinstance(one, StudyResult) else fingerprint_of(one, found)
               for one, found in zip((a, b), opened, strict=True)]  # fmt: skip

    paired, why = one_cut(first, second, *digests)
    ratio = float(np.mean([trial["n_select"] / trial["n_fit"] for one in opened for trial in one.trials]))
    losses, others = ({arm.rates: _losses(one, arm) for arm in one.arms} for one in opened)
    unsound = {arm.rates for one in opened for arm in one.arms if not _sound(arm)}
    differences = {
        rates: contrast(losses[rates], others[rates], ratio=ratio, paired=paired) for rates in losses if rates in others
    }
    sound = [rates for rates in differences if rates not in unsound]
    mean = None
    if sound:
        mean = contrast(_averaged(losses, sound), _averaged(others, sound), ratio=ratio, paired=paired)

    return Comparison(
        studies=(_line(first, a), _line(second, b)),
        metric=first.metric,
        table=changed_table(first, second, *digests),
        options=changed_options(first, second),
        advice=(first.advice, second.advice),
        paired=paired,
        why=why,
        seeds=tuple(sorted(_seeds(first) & _seeds(second))),
        arms=tuple(
            ArmDifference(**vars(one), p_input=rates[0], p_hidden=rates[1], sound=rates in sound)
            for rates, one in differences.items()
        ),
        mean=mean,
        only=(tuple(r for r in losses if r not in others), tuple(r for r in others if r not in losses)),
    )


def _check_comparable(first: StudyResult, second: StudyResult) -> None:
    said = []
    for one in (first, second):
        quantile = one.options.get("quantile")
        said.append(f"`{one.target}` by {LABELS[one.metric]}" + (f" of quantile {quantile:g}" if quantile else ""))
        weights = [f"{name}={one.options[name]}" for name in WEIGHTS if one.options.get(name)]
        said[-1] += f", weighted ({', '.join(weights)})" if weights else ""
    if said[0] != said[1]:
        raise ValueError(f"studies must share target and metric to be compared, got {said[0]} and {said[1]}.")
    if first.classes != second.classes:
        raise ValueError(
            f"studies must share the classes of `{first.target}` to be compared, got {len(first.classes)} and "
            f"{len(second.classes)} of them, or others."
        )


def _seeds(result: StudyResult) -> set[int]:
    return {trial["seed"] for trial in result.trials}


def _losses(result: StudyResult, arm: Arm) -> dict[int, float]:
    """Selection losses of an arm at its own learning rate, by seed."""
    mine = (t for t in result.trials if (t["p_input"], rate_of(t["p_hidden"]), t["lr"]) == (*arm.rates, arm.lr))
    found = {trial["seed"]: trial["select"][result.metric] for trial in mine}
    return {seed: math.nan if loss is None else float(loss) for seed, loss in found.items()}


def _averaged(losses: dict[Rates, dict[int, float]], arms: list[Rates]) -> dict[int, float]:
    """Mean loss over arms, by seed."""
    seeds = set.intersection(*(set(losses[arm]) for arm in arms))
    return {seed: float(np.mean([losses[arm][seed] for arm in arms])) for seed in seeds}


def _sound(arm: Arm) -> bool:
    return arm.converged and not arm.diverged and not arm.left and math.isfinite(arm.select)


def _line(result: StudyResult, given: str | Path | StudyResult) -> str:
    where = "" if isinstance(given, StudyResult) else f"{given}, "
    return (
        f"{where}{result.name}: {result.target}, {len(result.arms)} rates × {len(_seeds(result))} seeds, "
        f"{result.epochs} epochs, {result.seconds:.0f} s"
    )


def _said(advice: Advice | None) -> str:
    return advice.sentences[0] if advice else "nothing, as it was not asked for advice."


def _columns(heads: list[str], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Lay out a table: the first column to the left, the others to the right."""
    cells = [tuple(heads), *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join([f"{row[0]:<{widths[0]}}", *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in cells]


def _listed(arms: Iterable[Rates]) -> str:
    return ", ".join(f"({p_input:g}, {rate_text(p_hidden)})" for p_input, p_hidden in arms)


def _with_error(one: Difference) -> str:
    """A difference with its sign and error, both to two digits of the error."""
    if not math.isfinite(one.difference):
        return "–"
    digits = max(0, 1 - math.floor(math.log10(one.error))) if one.error > 0 else 3
    return f"{one.difference:+.{digits}f} ± {one.error:.{digits}f}".replace("-", "\u2212")


def _plain(value: Any) -> Any:
    """JSON has no nan: it becomes None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
