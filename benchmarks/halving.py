"""Successive halving: how often a halved study gives the advice of the whole one, and what it saves.

Small studies of planted interaction orders, pure noise and bundled tables, each run whole and halved, with the default
grid of rates. Time is CPU time from the first update to the last record, so that reference models and the refit, which
are the same in both, do not count. "same" is the same kind and the same rates, those of a best guess included; "firm"
leaves out the rates of best guesses, where the data cannot tell.
"""

import argparse
import math
import statistics
import time
from typing import Any

import numpy as np
import torch
from timing import save

from dropscope import data, study

Made = tuple[str, Any, Any, dict[str, Any]]


class Clock(study.Progress):
    """CPU seconds between the plan and the last record."""

    def planned(self, epochs: int, total: int, done: int) -> None:
        """Start."""
        self.start = time.process_time()

    def finished(self, records: list[dict[str, Any]]) -> None:
        """Read the clock."""
        self.seconds = time.process_time() - self.start


def planted(order: int, rows: int, noise: float, seed: int, columns: int = 8) -> Made:
    """Four products of `order` columns, with noise; order 0 is noise alone."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 1, (rows, columns))
    terms = [np.prod([x[:, (j + i) % columns] for i in range(order)], axis=0) for j in range(0, columns, 2)]
    signal = np.sum(terms, axis=0) if order else np.zeros(rows)
    scaled = signal / signal.std() if order else signal
    return f"order {order}, {rows} rows, noise {noise:g}", x, scaled + noise * generator.normal(size=rows), {}


def tables(seed: int) -> list[Made]:
    settings = [(order, rows, noise) for order in (1, 2, 3) for rows in (300, 800) for noise in (0.3, 1.0, 2.0)]
    made = [planted(*one, seed + i) for i, one in enumerate([*settings, (0, 300, 1.0), (0, 800, 1.0)])]
    for name in ("diabetes", "breast_cancer"):
        kept = data.bundled(name)
        made.append((name, kept.table, kept.target, dict(kept.options)))
    return made


def compare(made: Made, **settings: Any) -> dict[str, Any]:
    """Run one study whole and halved."""
    name, x, y, options = made
    results, seconds = [], []
    for halving in (False, True):
        clock = Clock()
        results.append(study.run(x, y, progress=clock, halving=halving, **settings, **options))
        seconds.append(clock.seconds)
    advice = [(one.advice.kind, one.advice.p_input, one.advice.p_hidden) for one in results if one.advice]
    epochs = [sum(trial["epochs"] for trial in one.trials) for one in results]
    return {
        "table": name, "advice": [list(one) for one in advice], "same": repr(advice[0]) == repr(advice[1]),
        "firm": repr(firm(*advice[0])) == repr(firm(*advice[1])),
        "left": sum(arm.left for arm in results[1].arms), "seconds": seconds, "epochs": epochs,
        "test": [gain(one) for one in results],
    }  # fmt: skip


def firm(kind: str, p_input: float, p_hidden: float) -> tuple[Any, ...]:
    """What the advice says for sure."""
    return (kind,) if kind == "cannot tell" else (kind, p_input, p_hidden)


def gain(result: study.StudyResult) -> float:
    """What following the advice gains on the test rows, in percent of the loss without dropout."""
    base = result.arms[0]
    advice = result.advice
    rates = (advice.p_input, advice.p_hidden) if advice else base.rates
    followed = next((arm for arm in result.arms if arm.rates == rates), base)
    return 100 * (1 - followed.test / base.test)


def show(row: dict[str, Any]) -> None:
    (a, b), (c, d) = row["seconds"], row["epochs"]
    told = [f"{kind} ({p_input:g}, {p_hidden:g})" for kind, p_input, p_hidden in row["advice"]]
    print(
        f"{row['table']:30}{told[0]:26}{'same' if row['same'] else told[1]:26}{row['left']:3} left"
        f"{a:7.1f} s /{b:6.1f} s ={a / b:5.2f}   epochs{c / d:5.2f}   test{row['test'][0]:6.1f}{row['test'][1]:6.1f} %",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--part", default="0/1", help="K/N: every N-th table, from the K-th.")
    parser.add_argument("--save", action="store_true", help="Write results/halving.json.")
    asked = parser.parse_args()

    torch.set_num_threads(1)
    first, step = map(int, asked.part.split("/"))
    compare(planted(1, 200, 1.0, seed=0), seeds=2, epochs=2, budget=13_000)  # pays for what is loaded once
    rows = []
    for made in tables(asked.seed)[first::step]:
        rows.append(compare(made, width=64, depth=2, epochs=asked.epochs, budget=13_000))
        show(rows[-1])

    ratios = [row["seconds"][0] / row["seconds"][1] for row in rows]
    same, sure = (sum(row[name] for row in rows) for name in ("same", "firm"))
    ratio = math.exp(statistics.mean(map(math.log, ratios)))
    print(f"same advice {same} of {len(rows)}, firm {sure} of {len(rows)}; time ratio {ratio:.2f}")
    if asked.save:
        print("written:", save("halving", rows))


if __name__ == "__main__":
    main()
