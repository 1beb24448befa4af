"""Error, coverage and cost of the interaction spectrum on functions with known answers and on a random network.

TV is half the L1 error over orders 1, 2, 3 and the rest; coverage pools the 95 % intervals of those four shares.

    python benchmarks/spectrum.py --budgets 10000 100000 --replicates 12
"""

import argparse
import time

import numpy as np
import torch
from timing import save
from torch import nn

from dropscope.spectrum import interaction_spectrum, known

TRUTH_BUDGET = 10_000_000
ROWS = 100_000


def random_network(generator: torch.Generator) -> nn.Sequential:
    """A ReLU network at He initialisation with spread-out biases: 25-64-64-1."""
    network = nn.Sequential(nn.Linear(25, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    for layer in network[::2]:
        nn.init.kaiming_normal_(layer.weight, generator=generator)
        nn.init.normal_(layer.bias, std=0.5, generator=generator)
    return network


def four(share: np.ndarray) -> np.ndarray:
    return np.append(share[:3], share[3:].sum())


def cases(generator: torch.Generator) -> dict[str, tuple]:
    """Name -> (function, sampler, exact shares of orders 1, 2, 3 and the rest)."""
    functions = {
        "g-function": known.g_function(),
        "mixture of orders 1-4": known.mixture(),
        "sin x0 cos x1 x2": known.sine_cosine(25),
        "x0 x1 x2": known.product(3, 25),
        "ishigami": known.ishigami(),
    }
    table = {name: (f, f.sample, four(f.share)) for name, f in functions.items()}

    network, sample = random_network(generator), known.product(1, 25).sample
    truth = interaction_spectrum(
        network, sample(ROWS, generator=generator), budget=TRUTH_BUDGET, point="nnls", generator=generator
    )
    return table | {"random network": (network, sample, four(truth.orders))}


def measure(f, sample, truth: np.ndarray, budget: int, replicates: int, generator: torch.Generator) -> dict[str, float]:
    errors: dict[str, list] = {"smooth": [], "nnls": []}
    covered, widths, seconds = [], [], []

    for _ in range(replicates):
        inputs = sample(ROWS, generator=generator)
        state = generator.get_state()
        for point, misses in errors.items():
            generator.set_state(state)
            start = time.perf_counter()
            spectrum = interaction_spectrum(f, inputs, budget=budget, point=point, generator=generator)
            seconds.append(time.perf_counter() - start)
            misses.append(np.abs(np.append(spectrum.share, spectrum.rest) - truth).sum() / 2)

        # The truth of the network is itself known to about .002 only.
        covered.append((spectrum.low - 2e-3 <= truth) & (truth <= spectrum.high + 2e-3))
        widths.append(spectrum.high - spectrum.low)

    return {
        "tv_smooth": float(np.mean(errors["smooth"])),
        "tv_nnls": float(np.mean(errors["nnls"])),
        "tv_nnls_error": float(np.std(errors["nnls"], ddof=1) / replicates**0.5),
        "coverage": float(np.mean(covered)),
        "width": float(np.mean(widths)),
        "seconds": float(np.median(seconds)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budgets", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--replicates", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    generator = torch.Generator().manual_seed(arguments.seed)
    rows = []
    print(f"{'function':<22} {'budget':>9}  TV smooth   TV nnls (error)   coverage   width   seconds")

    for name, (f, sample, truth) in cases(generator).items():
        for budget in arguments.budgets:
            row = measure(f, sample, truth, budget, arguments.replicates, generator)
            row |= {"function": name, "budget": budget, "replicates": arguments.replicates, "truth": truth.tolist()}
            rows.append(row)
            print(
                f"{name:<22} {budget:>9,}  {row['tv_smooth']:9.3f}   {row['tv_nnls']:7.3f} ({row['tv_nnls_error']:.3f})"
                f"   {row['coverage']:8.2f}   {row['width']:5.3f}   {row['seconds']:7.2f}",
                flush=True,
            )

    print(f"written to {save('spectrum', rows)}")


if __name__ == "__main__":
    main()
