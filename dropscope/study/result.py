"""What a study returns: every number that the table, the advice and the report show."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dropscope.study.rates import HiddenRate, Rates, place_of, rate_of

__all__ = ["Advice", "Arm", "StudyResult", "arms_of"]


@dataclass(frozen=True, eq=False)
class Arm:
    """One arm at its best learning rate: mean and standard error over seeds, in units of the metric.

    `share` holds the mean share of variance at orders 1, 2, ...; `rest` that of all higher orders. `left` arms were
    clearly beaten and left training early: their losses are those of half-trained networks. `estimate` is the mean
    loss on stop and selection rows together; nan where an arm diverged or left.
    """

    p_input: float
    p_hidden: HiddenRate
    lr: float
    select: float
    select_se: float
    test: float
    test_se: float
    share: tuple[float, ...]
    rest: float
    total: float
    mean_order: float
    best_epoch: float
    converged: bool
    diverged: bool
    left: bool = False
    estimate: float = math.nan

    @property
    def rates(self) -> Rates:
        """(input p, hidden p)."""
        return self.p_input, self.p_hidden

    @property
    def place(self) -> str:
        """Where it drops: none, input, hidden, both, first or last."""
        return place_of(self.rates)


@dataclass(frozen=True, eq=False)
class Advice:
    """How much dropout, where and why.

    `kind` is "dropout", "no dropout", "cannot tell" or "void"; `sentences` are the answer and its reason; `code` is
    what to paste. `gain` is that of the best arm and `gain_se` its standard error, in units of the metric; `critical`
    is the ratio of the two that had to be passed. `excluded` arms diverged. Void advice has the rates that come closest
    to the constant prediction, or nan where training diverged.
    """

    kind: str
    p_input: float
    p_hidden: HiddenRate
    sentences: tuple[str, str]
    code: str
    gain: float
    gain_se: float
    critical: float
    seeds_needed: int | None
    excluded: tuple[Rates, ...] = ()


@dataclass(frozen=True, eq=False)
class StudyResult:
    """A finished study: its configuration, trials, arms, reference lines, advice and files.

    `target` names the target columns in one text, `targets` one by one.
    """

    name: str
    target: str
    task: str
    metric: str
    options: dict[str, Any]
    source: str
    notes: tuple[str, ...]
    rows: dict[str, int]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    blocks: tuple[tuple[str, ...], ...]
    epochs: int
    trials: tuple[dict[str, Any], ...]
    references: tuple[dict[str, Any], ...]
    arms: tuple[Arm, ...] = ()
    advice: Advice | None = None
    refit: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    seconds: float = 0.0
    targets: tuple[str, ...] = ()

    @property
    def advised_arm(self) -> Arm | None:
        """The advised arm, a best guess where the data cannot tell; None where the advice is void."""
        if self.advice is None or self.advice.kind == "void":
            return None
        return next((arm for arm in self.arms if arm.rates == (self.advice.p_input, self.advice.p_hidden)), None)

    def summary(self) -> dict[str, Any]:
        """Everything but the trials, as plain data: what `dropscope study --json` prints.

        Returns:
            A dictionary with `advice`, `arms`, `files`, `seconds` and what they refer to.
        """
        kept = _plain({name: value for name, value in asdict(self).items() if name != "trials"})
        return dict(kept)

    def save(self, path: Path) -> None:
        """Write the result as JSON.

        Args:
            path: the file.
        """
        path.write_text(json.dumps(_plain(asdict(self)), indent=1))

    @classmethod
    def load(cls, path: Path) -> "StudyResult":
        """Read a result that `save` wrote.

        Args:
            path: the file.

        Returns:
            The result.
        """
        kept = json.loads(Path(path).read_text())
        kept["arms"] = tuple(
            Arm(**{**arm, "p_hidden": rate_of(arm["p_hidden"]), "share": tuple(_nan(arm["share"]))})
            for arm in _nan(kept["arms"])
        )
        if kept["advice"]:
            advice = _nan(kept["advice"])
            excluded = tuple((p_input, rate_of(p_hidden)) for p_input, p_hidden in advice["excluded"])
            kept["advice"] = Advice(**{**advice, "p_hidden": rate_of(advice["p_hidden"]), "excluded": excluded})
        for name in ("notes", "features", "classes", "trials", "references", "files"):
            kept[name] = tuple(kept[name])
        kept["targets"] = tuple(kept.get("targets", (kept["target"],)))
        kept["blocks"] = tuple(map(tuple, kept["blocks"]))
        return cls(**kept)


def arms_of(trials: list[dict[str, Any]], metric: str, epochs: int) -> tuple[Arm, ...]:
    """Summarise trials by arm; with several learning rates, each arm keeps the one with the lowest mean stop loss.

    Args:
        trials: records of the store, in the order of the arms.
        metric: the name of the score.
        epochs: planned epochs; an arm is not converged if the median of its best epochs lies in the last 10 % of 2×.

    Returns:
        The arms, in order of first appearance.
    """
    grouped: dict[Rates, dict[float, list[dict[str, Any]]]] = {}
    for trial in trials:
        grouped.setdefault((trial["p_input"], rate_of(trial["p_hidden"])), {}).setdefault(trial["lr"], []).append(trial)
    chosen = [min(by_lr.values(), key=lambda one: (_left(one), _mean_stop(one))) for by_lr in grouped.values()]
    orders = max((len(trial["spectrum"]["share"]) for trial in trials if trial["spectrum"]), default=0)
    return tuple(_arm(records, metric, epochs, orders) for records in chosen)


def _estimate(records: list[dict[str, Any]], metric: str) -> float:
    if _left(records) or any(record["diverged"] for record in records):
        return math.nan
    return math.fsum(record["held"][metric] for record in records) / len(records)


def _mean_stop(records: list[dict[str, Any]]) -> float:
    return math.fsum(math.inf if r["stop"] is None or r["diverged"] else r["stop"] for r in records) / len(records)


def _left(records: list[dict[str, Any]]) -> bool:
    return any(record.get("left_at") is not None for record in records)


def _arm(records: list[dict[str, Any]], metric: str, epochs: int, orders: int) -> Arm:
    spectra = [r["spectrum"] for r in records if r["spectrum"] and r["spectrum"]["total"] > 0]
    shares = np.array([[*s["share"], s["rest"]] for s in spectra]) if spectra else np.full((1, orders + 1), np.nan)
    select, test = (np.array([r[part][metric] for r in records]) for part in ("select", "test"))
    best = float(np.median([r["best_epoch"] for r in records]))
    return Arm(
        p_input=records[0]["p_input"],
        p_hidden=rate_of(records[0]["p_hidden"]),
        lr=records[0]["lr"],
        select=float(select.mean()),
        select_se=_standard_error(select),
        test=float(test.mean()),
        test_se=_standard_error(test),
        share=tuple(shares.mean(0)[:-1].tolist()),
        rest=float(shares.mean(0)[-1]),
        total=float(np.mean([s["total"] for s in spectra])) if spectra else math.nan,
        mean_order=float(np.mean([s["mean_order"] for s in spectra])) if spectra else math.nan,
        best_epoch=best,
        converged=best <= 0.9 * 2 * epochs,
        diverged=any(r["diverged"] for r in records),
        left=_left(records),
        estimate=_estimate(records, metric),
    )


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else math.nan


def _plain(value: Any) -> Any:
    """JSON has no nan and no infinity: both become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _nan(value: Any) -> Any:
    """Null numbers of a kept arm or advice become nan again; `seeds_needed` may truly be None."""
    if isinstance(value, list):
        return [math.nan if one is None else _nan(one) for one in value]
    if isinstance(value, dict):
        return {k: math.nan if v is None and k != "seeds_needed" else v for k, v in value.items()}
    return value
