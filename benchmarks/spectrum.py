"""Error, coverage and cost of the interaction spectrum on functions with known answers and on two networks.

TV is half the L1 error over orders 1, 2, 3 and the rest; coverage is that of the 95 % intervals of those four shares.
A truth that was itself measured is given two of its standard errors. The survival curve's coverage counts its points.

    python benchmarks/spectrum.py --budgets 10000 100000 1000000 --replicates 40 40 12
"""

import argparse
import resource
import time
import warnings
from itertools import pairwise

import numpy as np
import torch
from scipy.stats import binom
from spectrum_cases import Case, cases
from timing import save
from torch import nn

from dropscope.spectrum import Spectrum, interaction_spectrum

ROWS = 100_000
WAYS = {"default": {}, "nnls": {"point": "nnls"}, "pce": {"control_variate": "pce"}}


def measured(case: Case, budget: int, generator: torch.Generator, **options: str) -> Spectrum:
    inputs = case.sample(ROWS, generator=generator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return interaction_spectrum(case.f, inputs, budget=budget, generator=generator, **options)


def accuracy(case: Case, budget: int, replicates: int, seed: int, way: str) -> dict[str, object]:
    """Means over replicates, each with inputs and draws of its own."""
    errors, covered, survives, widths, methods = [], [], [], [], set()

    for replicate in range(replicates):
        generator = torch.Generator().manual_seed(1000 * seed + replicate)
        spectrum = measured(case, budget, generator, **WAYS[way])
        shares = np.append(spectrum.share, spectrum.rest)
        slack = 2 * case.error + 1e-12

        errors.append(np.abs(shares - case.truth).sum() / 2)
        covered.append((spectrum.low - slack <= case.truth) & (case.truth <= spectrum.high + slack))
        widths.append(spectrum.high - spectrum.low)
        methods.add(spectrum.method)

        if not case.error.any():
            curve = spectrum.survival_curve
            truth = (1 - curve.p[:, None]) ** np.arange(1, len(case.f.share) + 1) @ case.f.share
            inner = (curve.low - 1e-9 <= truth) & (truth <= curve.high + 1e-9)
            survives.append(inner[1:-1].mean())

    return {
        "function": case.name, "budget": budget, "way": way, "replicates": replicates, "methods": sorted(methods),
        "tv": float(np.mean(errors)), "tv_error": float(np.std(errors, ddof=1) / replicates**0.5),
        "covered": np.sum(covered, axis=0).tolist(), "width": np.mean(widths, axis=0).tolist(),
        "survival_coverage": float(np.mean(survives)) if survives else None,
    }  # fmt: skip


def accuracies(arguments: argparse.Namespace) -> list[dict[str, object]]:
    rows = []
    print(
        f"{'function':<22} {'budget':>9}  way      TV (error)      covered 1, 2, 3, rest   widths 1, 2, 3, rest  method"
    )

    for case in cases():
        for budget, replicates in zip(arguments.budgets, arguments.replicates, strict=True):
            for way in arguments.ways:
                row = accuracy(case, budget, replicates, arguments.seed, way)
                rows.append(row)
                cover = " ".join(f"{count / replicates:.2f}" for count in row["covered"])
                widths = " ".join(f"{width:.3f}" for width in row["width"])
                print(
                    f"{case.name:<22} {budget:>9,}  {way:<7}  {row['tv']:.4f} ({row['tv_error']:.4f})  {cover:<22}  "
                    f"{widths}  {', '.join(row['methods'])}",
                    flush=True,
                )
    return rows


def pooled(rows: list[dict[str, object]]) -> None:
    """Coverage over all functions, with the lower 95 % confidence bound of each order's."""
    for way in {row["way"]: None for row in rows}:
        for budget in {row["budget"]: None for row in rows}:
            chosen = [row for row in rows if row["budget"] == budget and row["way"] == way]
            trials = sum(row["replicates"] for row in chosen)
            covered = np.sum([row["covered"] for row in chosen], axis=0)
            bounds = [lower_bound(int(count), trials) for count in covered]
            print(
                f"{way}, {budget:,}: {trials} replicates, coverage by order {np.round(covered / trials, 3)}, mean "
                f"{covered.sum() / trials / 4:.3f}, lower confidence bounds {np.round(bounds, 3)}"
            )


def lower_bound(count: int, trials: int) -> float:
    """The smallest chance under which so many successes or more have a chance of 5 % (Clopper and Pearson)."""
    grid = np.linspace(0, 1, 2001)
    return float(grid[binom.sf(count - 1, trials, grid) >= 0.05].min())


def costs() -> list[dict[str, object]]:
    """Time spent outside the model, and memory of a wide network."""
    networks = {
        "25-128-128-1, 1e6": (dense(25, 128, 128, 1), 25, 1_000_000),
        "784-256-256-10, 1e5": (dense(784, 256, 256, 10), 784, 100_000),
    }
    return [cost(name, *network) for name, network in networks.items()]


def cost(name: str, network: nn.Module, columns: int, budget: int, repeats: int = 7) -> dict[str, object]:
    inputs = torch.rand(10_000, columns)
    inside, whole = [], []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def timed(rows: torch.Tensor) -> torch.Tensor:
        start = time.perf_counter()
        outputs = network(rows)
        inside[-1] += time.perf_counter() - start
        return outputs

    for _ in range(repeats):
        inside.append(0.0)
        start = time.perf_counter()
        interaction_spectrum(timed, inputs, budget=budget)
        whole.append(time.perf_counter() - start)

    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    overhead = float(np.median(1 - np.array(inside) / whole))
    row = {"network": name, "seconds": float(np.median(whole)), "overhead": overhead, "peak_mib": memory}
    print(f"{name}: {row['seconds']:.2f} s, {overhead:.1%} of it outside the model, {memory:.0f} MiB more at the peak")
    return row


def dense(*widths: int) -> nn.Module:
    layers = [part for sizes in pairwise(widths) for part in (nn.Linear(*sizes), nn.ReLU())]
    return nn.Sequential(*layers[:-1]).requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budgets", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--replicates", type=int, nargs="+", default=[40, 40, 16])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["default"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--costs", action="store_true", help="measure time and memory instead")
    arguments = parser.parse_args()

    start = time.perf_counter()
    if arguments.costs:
        print(f"written to {save('spectrum_costs', costs())}")
        return

    rows = accuracies(arguments)
    pooled(rows)
    print(f"{time.perf_counter() - start:.0f} s, written to {save('spectrum', rows)}")


if __name__ == "__main__":
    main()
