"""Interaction spectra of the two benchmark networks by brute force, written to `benchmarks/truths`.

Pairs of random rows are split into many more groups than `dropscope` uses, so that inverting groups to orders hardly
adds noise; nothing here is shared with the library under test.

    python benchmarks/spectrum_truths.py --evaluations 1000000000
"""

import argparse
import json
import time
from collections.abc import Callable
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from spectrum_cases import INPUTS, TRUTHS, noise_network, random_network, relu_network
from torch import Tensor, nn
from torch.nn.functional import mse_loss

BATCHES = 50
RECIPES = {
    "random_network": "25-64-64-1, ReLU, He initialisation, biases N(0, .5^2), seed 0: spectrum_cases.random_network",
    "noise_network": "25-32-32-32-1, ReLU, PyTorch's initialisation; 1500 rows of U(-1, 1), labels N(0, 1); Adam at "
    ".001, batches of 32, 200 epochs; torch.manual_seed(0); weights rounded to half floats: noise_network.npz",
}


def fit_noise(seed: int = 0, rows: int = 1500, epochs: int = 200) -> nn.Sequential:
    """Overfit a network to labels without any signal."""
    torch.manual_seed(seed)
    inputs, labels = torch.rand(rows, INPUTS) * 2 - 1, torch.randn(rows, 1)
    network = relu_network((32, 32, 32)).requires_grad_(True)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    for _ in range(epochs):
        for batch in torch.randperm(rows).split(32):
            optimizer.zero_grad()
            mse_loss(network(inputs[batch]), labels[batch]).backward()
            optimizer.step()

    print(f"training error {mse_loss(network(inputs), labels):.3f} of {labels.var():.3f}")
    return network


def spread(n: int, groups: int) -> NDArray[np.float64]:
    """Chance that k of n inputs, dealt to balanced groups, fall into exactly j of them; row j - 1, column k - 1."""
    table = np.zeros((groups + 1, n + 1))
    table[0, 0] = 1

    for group in range(groups):
        size = n // groups + (group < n % groups)
        grown = table.copy()
        for k in range(1, size + 1):
            grown[1:, k:] += comb(size, k) * table[:-1, : n + 1 - k]
        table = grown

    return table[1:, 1:] / [comb(n, k) for k in range(1, n + 1)]


def group_orders(f: Callable[[Tensor], Tensor], groups: int, cubes: int, generator: torch.Generator) -> Tensor:
    """Variance at each order of the groups, of shape (cubes, groups): every row is one unbiased estimate.

    With `h_T` the mean over all corners of f times the signs of T, and `B_t` the sum of `h_T^2` over |T| = t, order j
    has `2^j sum_t (-1)^(t - j) C(t, j) B_t`.
    """
    corners = (torch.arange(2**groups)[:, None] >> torch.arange(groups)) & 1
    level = corners.sum(1)

    one, other = torch.rand(2, cubes, INPUTS, generator=generator) * 2 - 1
    group = torch.rand(cubes, INPUTS, generator=generator).argsort(1) % groups
    rows = torch.where(corners.bool()[:, group], one, other)
    values = f(rows.flatten(0, 1)).double().view([2] * groups + [cubes])

    for axis in range(groups):
        zero, set_ = values.unbind(axis)
        values = torch.stack([zero + set_, zero - set_], axis) / 2

    energy = torch.zeros(groups + 1, cubes, dtype=torch.float64)
    energy.index_add_(0, level, values.view(2**groups, cubes).square())
    weights = [[2**j * (-1) ** (t - j) * comb(t, j) for t in range(groups + 1)] for j in range(1, groups + 1)]
    return energy.T @ torch.tensor(weights, dtype=torch.float64).T


def four_shares(variances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of orders 1, 2, 3 and the rest that fit group orders of shape (cubes, groups) best."""
    scale = variances.std(axis=0, ddof=1)
    orders = nnls(spread(INPUTS, variances.shape[1]) / scale[:, None], variances.mean(axis=0) / scale)[0]
    return np.append(orders[:3], orders[3:].sum()) / orders.sum()


def brute_force(network: nn.Sequential, groups: int, evaluations: int, seed: int) -> dict:
    """The shares, and their standard errors by leaving out one batch of cubes after the other."""
    generator = torch.Generator().manual_seed(seed)
    cubes = max(1, 8192 // 2**groups)
    calls = evaluations // (cubes * 2**groups)

    # Filled in place: a list of so many small tensors would leave the heap in splinters.
    kept = torch.empty(calls, cubes, groups, dtype=torch.float64)
    with torch.no_grad():
        for call in kept:
            call.copy_(group_orders(network, groups, cubes, generator))

    variances = kept.flatten(0, 1).numpy()
    batch = np.arange(len(variances)) % BATCHES
    left_out = np.array([four_shares(variances[batch != i]) for i in range(BATCHES)])

    return {
        "share": four_shares(variances).tolist(),
        "standard_error": (left_out.std(axis=0) * (BATCHES - 1) ** 0.5).tolist(),
        "variance": float(variances.sum(axis=1).mean()),
        "groups": groups,
        "evaluations": variances.shape[0] * 2**groups,
        "seed": seed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=1_000_000_000)
    parser.add_argument("--groups", type=int, nargs="+", default=[12, 10], help="all but the first check it")
    parser.add_argument("--networks", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--fit", action="store_true", help="fit the noise network anew instead of reading its weights")
    options = parser.parse_args()
    torch.set_num_threads(1)
    TRUTHS.mkdir(exist_ok=True)

    if options.fit:
        weights = {name: tensor.half().numpy() for name, tensor in fit_noise().state_dict().items()}
        np.savez_compressed(TRUTHS / "noise_network.npz", **weights)

    makers = {"random_network": random_network, "noise_network": noise_network}
    for name in options.networks:
        network, found = makers[name](), []
        for seed, groups in enumerate(options.groups, 1):
            start = time.perf_counter()
            evaluations = options.evaluations if not found else options.evaluations // 5
            found.append(brute_force(network, groups, evaluations, seed))
            print(name, found[-1], f"{time.perf_counter() - start:.0f} s", flush=True)

        answer = {"recipe": RECIPES[name], **found[0], "checked_by": found[1:]}
        (TRUTHS / f"{name}.json").write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()
