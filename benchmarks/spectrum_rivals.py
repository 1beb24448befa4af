"""The interaction spectrum against what people use today, at equal numbers of evaluations.

TV is half the L1 error over orders 1, 2, 3 and the rest; "three" over orders 1, 2 and the rest, as SALib knows no more.
Methods take turns, so that a busy moment of the machine hits all alike; a method that used up its patience on a cell
makes no more replicates of it. Rows of methods that were not measured again are kept.

    python benchmarks/spectrum_rivals.py --budgets 10000 100000 --replicates 12 [--only dropscope "dropscope pce"]
"""

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import openturns as ot
import torch
from rivals import LARGEST, METHODS, chaos_basis
from spectrum_cases import Case, cases
from threadpoolctl import threadpool_limits
from timing import RESULTS, save

NAME = "spectrum_rivals"
Row = dict[str, Any]


def tv(shares: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(shares - truth).sum() / 2)


def three(shares: np.ndarray) -> np.ndarray:
    return np.append(shares[:2], shares[2:].sum())


def measure(case: Case, budget: int, names: list[str], options: argparse.Namespace) -> list[Row]:
    """One row per method, over replicates that share their seeds."""
    answers: dict[str, list] = {name: [] for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}

    for replicate in range(options.replicates):
        for name in names:
            if sum(seconds[name]) > options.patience:
                continue
            generator = torch.Generator().manual_seed(options.seed + replicate)
            start = time.perf_counter()
            answers[name].append(METHODS[name](case, budget, generator))
            seconds[name].append(time.perf_counter() - start)

    return [
        {"method": name, "function": case.name, "budget": budget, **score(answers[name], case.truth)}
        | {"seconds": float(np.median(seconds[name])), "run": options.run}
        for name in names
    ]


def score(answers: list, truth: np.ndarray) -> Row:
    """Mean errors of the best readings, their standard errors, and the mean of the best readings themselves."""
    best = [min(answer.readings, key=lambda shares: tv(shares, truth)) for answer in answers]
    errors = {
        "tv": [tv(shares, truth) for shares in best],
        "tv_three": [min(tv(three(shares), three(truth)) for shares in answer.readings) for answer in answers],
    }
    row: Row = {"replicates": len(answers), "evaluations": answers[0].evaluations}

    for name, values in errors.items():
        spread = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else None
        row |= {name: float(np.mean(values)), f"{name}_error": spread}
    return row | {"share": np.mean(best, axis=0).tolist(), "truth": truth.tolist()}


def merged(rows: list[Row]) -> list[Row]:
    """The rows, and those of earlier runs for whatever was not measured now."""

    def key(row: Row) -> tuple:
        return row["function"], row["budget"], row["method"]

    path = RESULTS / f"{NAME}.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    table = {key(row): row for row in [*before, *rows]}

    functions = [case.name for case in cases()]
    place = [functions, sorted({row["budget"] for row in table.values()}), list(METHODS)]
    return sorted(
        table.values(), key=lambda row: [order.index(part) for order, part in zip(place, key(row), strict=True)]
    )


def markdown(rows: list[Row], show: str) -> Iterator[str]:
    """A table of functions and budgets against methods."""
    yield f"| function | budget | {' | '.join(METHODS)} |"
    yield "|---" * (len(METHODS) + 2) + "|"

    cells = {(row["function"], row["budget"], row["method"]): row for row in rows}
    for function, budget in dict.fromkeys((row["function"], row["budget"]) for row in rows):
        found = [cells.get((function, budget, name)) for name in METHODS]
        shown = [f"{row[show]:.3f}" if row else "" for row in found]
        yield f"| {function} | {budget:,} | {' | '.join(shown)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budgets", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--replicates", type=int, default=12)
    parser.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS), help="methods to measure")
    parser.add_argument("--functions", nargs="+", choices=[case.name for case in cases()], help="default: all")
    parser.add_argument("--patience", type=float, default=60, help="seconds after which a cell has enough replicates")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.run = time.strftime("%Y-%m-%d %H:%M:%S")

    torch.set_num_threads(1)
    threadpool_limits(1)
    ot.TBB.Disable()
    if "OpenTURNS" in options.only:
        for n in {case.n for case in cases()}:
            chaos_basis(n)

    rows: list[Row] = []
    for case in cases():
        for budget in options.budgets:
            names = [name for name in options.only if budget <= LARGEST.get(name, budget)]
            if options.functions and case.name not in options.functions:
                continue

            for row in measure(case, budget, names, options):
                rows.append(row)
                print(
                    f"{row['function']:<22} {budget:>9,}  {row['method']:<14} x{row['replicates']:<3} "
                    f"TV {row['tv']:.4f}  three {row['tv_three']:.4f}  {row['seconds']:8.2f} s  "
                    f"{np.round(row['share'], 3)}",
                    flush=True,
                )
            save(NAME, merged(rows))

    table = merged(rows)
    for show in ("tv", "tv_three", "seconds"):
        print(f"\n{show}\n", *markdown(table, show), sep="\n")


if __name__ == "__main__":
    main()
