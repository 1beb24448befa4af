"""How often the intervals of `DropoutRegressor` hold the truth: over the published cuts of several UCI tables.

Of n calibration rows the k-th smallest score is taken, k = ceil((n + 1)(1 - alpha)), so that a new row should lie in
its interval with probability k / (n + 1), a little above 1 - alpha. The standard error is that over the cuts of a
table, whose test rows overlap somewhat. Beside them, the plain `prediction ± z std` without calibration.
"""

import argparse
import math
import statistics
import time
from typing import Any

import numpy as np
import torch
from scipy.stats import norm
from timing import machine, save

from dropscope import data
from dropscope.estimators import DropoutRegressor

TABLES = "boston concrete energy wine yacht".split()


def measure(name: str, cuts: int, alpha: float, **settings: Any) -> dict[str, Any]:
    """Fit on every cut of a table and look at its test rows."""
    held, gaussian, widths, errors, calibrating = [], [], [], [], 0
    start = time.process_time()
    for seed, split in enumerate(data.uci(name)[:cuts]):
        model = DropoutRegressor(random_state=seed, **settings).fit(split.x_train, split.y_train)
        y, (mean, std) = split.y_test, model.predict(split.x_test, return_std=True)
        low, high = model.predict_interval(split.x_test, alpha).T
        held.append(float(((low <= y) & (y <= high)).mean()))
        gaussian.append(float((np.abs(y - mean) <= norm.isf(alpha / 2) * std).mean()))
        widths.append(float((high - low).mean() / split.y_train.std()))
        errors.append(float(np.sqrt(np.square(y - mean).mean())))
        calibrating = len(model.calibration_scores_)
    k = math.ceil((calibrating + 1) * (1 - alpha) - 1e-9)
    return {
        "table": name, "cuts": len(held), "test rows": len(held) * len(y), "calibration rows": calibrating,
        "expected": k / (calibrating + 1), "coverage": held, "gaussian": gaussian,
        "width in standard deviations of y": statistics.mean(widths), "rmse": statistics.mean(errors),
        "cpu seconds a cut": (time.process_time() - start) / len(held),
    }  # fmt: skip


def error(values: list[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))


def show(row: dict[str, Any]) -> None:
    covered = row["coverage"]
    print(
        f"{row['table']:10}{row['cuts']:5}{row['test rows']:7}{row['calibration rows']:7}{row['expected']:10.4f}"
        f"{statistics.mean(covered):10.4f} ± {error(covered):.4f}{statistics.mean(row['gaussian']):10.4f}"
        f"{row['width in standard deviations of y']:8.2f}{row['rmse']:8.3f}{row['cpu seconds a cut']:8.2f}",
        flush=True,
    )


def pooled(rows: list[dict[str, Any]], name: str) -> tuple[float, float]:
    """Coverage over the test rows of all tables, with its standard error."""
    total = sum(row["test rows"] for row in rows)
    shares = [row["test rows"] / total for row in rows]
    mean = sum(share * statistics.mean(row[name]) for share, row in zip(shares, rows, strict=True))
    square = sum((share * error(row[name])) ** 2 for share, row in zip(shares, rows, strict=True))
    return mean, math.sqrt(square)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--alpha", type=float, default=0.1)
    parser.add_argument("--p", type=float, default=0.1)
    parser.add_argument("--calibration-fraction", type=float, default=0.2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("on", machine())

    print("table      cuts   test  calib  expected  coverage          gaussian   width    rmse   cpu s")
    rows = []
    for name in options.tables:
        fraction = options.calibration_fraction
        rows.append(measure(name, options.cuts, options.alpha, p=options.p, calibration_fraction=fraction))
        show(rows[-1])

    mean, spread = pooled(rows, "coverage")
    expected = sum(row["test rows"] * row["expected"] for row in rows) / sum(row["test rows"] for row in rows)
    print(f"pooled coverage {mean:.4f} ± {spread:.4f}: {(mean - 1 + options.alpha) / spread:+.1f} standard errors from "
          f"{1 - options.alpha:g}, {(mean - expected) / spread:+.1f} from the expected {expected:.4f}")  # fmt: skip
    print("written:", save("intervals", rows))


if __name__ == "__main__":
    main()
