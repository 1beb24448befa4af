"""Is the study's advice better than what people do today? Regret on test rows, over thirty tables, and thirty others.

Each table's test rows are set aside before anybody sees them. On the others: the study gives its advice within a wall
budget; Optuna's TPE gets the same seconds for input p, hidden p and learning rate; p=0, p=.5 in hidden layers and
(.2, .5) take the learning rate of the study's pilot. Then what each chose, and every arm of the study's grid, is
trained on fresh cuts of those rows and scored on the test rows. The best arm in hindsight is found on half of the test
rows and regret measured on the other half, swapped. "lowest" is the arm of the lowest mean selection loss, whatever the
statistics and its neighbours say; the advice is its best guess where the data cannot tell, and no dropout where it is
void.

Finished tables are appended to benchmarks/results/advice.jsonl, and the same call goes on where an interrupted one was;
several may run at once on different tables. Writes benchmarks/results/advice.json, or advice_second.json.

    DROPSCOPE_DATA=FOLDER python benchmarks/advice.py
    DROPSCOPE_DATA=FOLDER python benchmarks/advice.py --tables second
    python benchmarks/advice.py --smoke
"""

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
import optuna
from advice_rivals import Candidate, fresh_losses, tpe
from advice_summary import row, show, summarise
from advice_tables import LISTS, LOADERS, Table, load
from timing import RESULTS, save

from dropscope.errors import MissingData
from dropscope.study import Options, StudyResult, run
from dropscope.study.plan import recipe_of
from dropscope.study.problem import Problem, pose

FRESH = 1000  # the first seed that no study uses
HABITS = {"p=0": (0.0, 0.0), "p=.5": (0.0, 0.5), "(.2, .5)": (0.2, 0.5)}
SMOKE = {"only": ["diabetes", "breast_cancer", "planted_pairs"], "seconds": 4.0, "seeds": 2}


def measure(table: Table, seconds: float, seeds: int, split: int) -> dict[str, Any]:
    """Run the study and Optuna on one table, then train and test what every method chose."""
    result = run(table.frame, table.target, max_seconds=seconds, **table.options)
    options = Options.of(**table.options)
    problem = pose(table.frame, table.target, options)
    recipe = recipe_of(problem, options, result.epochs)
    start = time.perf_counter()
    best, trials = tpe(problem, recipe, result.seconds)
    optuna_seconds = time.perf_counter() - start

    candidates = [*(Candidate(*arm.rates, arm.lr) for arm in result.arms), best]
    select, test = fresh_losses(problem, recipe, candidates, range(FRESH, FRESH + seeds))
    return {
        "table": table.name,
        "seconds": seconds,
        "seeds": seeds,
        "split": split,
        "metric": result.metric,
        "rows": result.rows,
        "columns": len(result.features),
        "epochs": result.epochs,
        "lr": result.arms[0].lr,
        "study_seconds": result.seconds,
        "optuna_seconds": optuna_seconds,
        "optuna_trials": trials,
        "optuna_version": optuna.__version__,
        "constant": float(np.mean([scores[result.metric] for scores in result.references[0]["select"]])),
        "spread": spread(problem),
        "advice": told(result),
        "arms": measured(result),
        "candidates": candidates,
        "choices": choices(result),
        "fresh_select": select.tolist(),
        "test": test.tolist(),
    }


def spread(problem: Problem) -> float:
    """Standard deviation of the target, or the entropy of its classes: what the loss of the constant is made of."""
    y = problem.y[problem.cutter.rest]
    if problem.schema.task == "regression":
        return float(y.std())
    shares = np.bincount(y) / len(y)
    return float(-sum(share * math.log(share) for share in shares if share))


def told(result: StudyResult) -> dict[str, Any]:
    advice = result.advice
    numbers = {name: finite(getattr(advice, name)) for name in ("gain", "gain_se", "critical")}
    return {"kind": advice.kind, "sentence": advice.sentences[0], **numbers}


def finite(value: float) -> float | None:
    """JSON has no nan."""
    return value if math.isfinite(value) else None


def measured(result: StudyResult) -> list[dict[str, Any]]:
    """What the study measured of each arm on its way."""
    return [
        {
            "p_input": arm.p_input,
            "p_hidden": arm.p_hidden,
            **{
                part: [t[part][result.metric] for t in result.trials if (t["p_input"], t["p_hidden"]) == arm.rates]
                for part in ("select", "held")
            },
            "best_epoch": arm.best_epoch,
            "converged": arm.converged,
            "variance": [finite(arm.total * share) for share in (*arm.share, arm.rest)],
        }
        for arm in result.arms
    ]


def choices(result: StudyResult) -> dict[str, int]:
    """Position of what each method chose among the candidates: the arms, then Optuna's."""
    rates = [arm.rates for arm in result.arms]
    advice = result.advice
    advised = (advice.p_input, advice.p_hidden) if advice.kind != "void" else HABITS["p=0"]
    lowest = min((arm for arm in result.arms if not arm.left), key=lambda arm: arm.select).rates
    chosen = {"advice": advised, "lowest": lowest, **HABITS}
    return {**{method: rates.index(pair) for method, pair in chosen.items()}, "Optuna": len(rates)}


def finished(path: Path, **settings: Any) -> dict[str, dict[str, Any]]:
    """Read the records of the tables that were measured with these settings; the last one of each counts."""
    lines = path.read_text().splitlines() if path.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("}")]  # one may have been cut short
    return {r["table"]: r for r in records if all(r.get(name) == value for name, value in settings.items())}


def append(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def arguments(description: str, *, seeds: int) -> argparse.Namespace:
    """Read the options that this script and `advice_theory.py` share."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--tables", choices=LISTS, default="first", help="on the second list no rule was chosen")
    parser.add_argument("--only", nargs="+", choices=LOADERS, metavar="TABLE", help="these tables of both lists")
    parser.add_argument("--seconds", type=float, default=60.0, help="wall budget of a study, and of Optuna")
    parser.add_argument("--seeds", type=int, default=seeds, help="networks of each kind that are trained afresh")
    parser.add_argument("--split", type=int, default=0, help="which rows are test rows")
    parser.add_argument("--data", help="folder of the tables that are not bundled (or set DROPSCOPE_DATA)")
    parser.add_argument("--smoke", action="store_true", help="three small tables in a few seconds each; keeps nothing")
    options = parser.parse_args()
    options.only = options.only or [*LISTS[options.tables]]
    if options.data:
        os.environ["DROPSCOPE_DATA"] = options.data
    if options.smoke:
        vars(options).update(SMOKE)
    options.folder = Path(gettempdir(), "dropscope-smoke") if options.smoke else RESULTS
    return options


def loaded(names: Sequence[str], split: int) -> Any:
    """Load tables one by one; say which cannot be had."""
    for name in names:
        try:
            yield load(name, split)
        except MissingData as error:
            print(f"left out: {name}. {error}", flush=True)


def main() -> None:
    options = arguments(__doc__, seeds=10)
    path = options.folder / "advice.jsonl"
    settings = {"seconds": options.seconds, "seeds": options.seeds, "split": options.split}
    for table in loaded([name for name in options.only if name not in finished(path, **settings)], options.split):
        start = time.perf_counter()
        record = measure(table, **settings)
        append(path, record)
        kind, epochs, trials = record["advice"]["kind"], record["epochs"], record["optuna_trials"]
        took = time.perf_counter() - start
        print(f"{table.name}: {kind}; {epochs} epochs, {trials} Optuna trials, {took:.0f} s", flush=True)

    records = [record for name, record in finished(path, **settings).items() if name in options.only]
    show(records)
    if not options.smoke:
        name = "advice" if options.tables == "first" else f"advice_{options.tables}"
        print("\nwritten:", save(name, [*map(row, records), {**settings, **summarise(records)}]))


if __name__ == "__main__":
    main()
