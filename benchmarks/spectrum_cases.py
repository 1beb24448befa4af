"""The functions that the spectrum benchmarks measure, with the law of their inputs and their spectra.

Two of them are networks, whose truths `spectrum_truths.py` found by brute force and stored.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dropscope.spectrum import known

TRUTHS = Path(__file__).parent / "truths"
INPUTS = 25


@dataclass(frozen=True, eq=False)
class Case:
    """A function of `n` independent inputs, uniform on [low, high], with its shares of orders 1, 2, 3 and the rest.

    `error` holds the standard errors of the shares, zero where they are exact.
    """

    name: str
    f: Callable[[Tensor], Tensor]
    n: int
    low: float
    high: float
    truth: NDArray[np.float64]
    error: NDArray[np.float64]

    def sample(self, rows: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw inputs."""
        return self.low + (self.high - self.low) * torch.rand(rows, self.n, generator=generator)


def relu_network(widths: tuple[int, ...]) -> nn.Sequential:
    """A multilayer perceptron of `INPUTS` inputs and one output."""
    layers = [part for sizes in pairwise([INPUTS, *widths, 1]) for part in (nn.Linear(*sizes), nn.ReLU())]
    return nn.Sequential(*layers[:-1]).requires_grad_(False)


def random_network(seed: int = 0) -> nn.Sequential:
    """A ReLU network at He initialisation with spread-out biases: 25-64-64-1."""
    generator = torch.Generator().manual_seed(seed)
    network = relu_network((64, 64))

    for layer in network[::2]:
        nn.init.kaiming_normal_(layer.weight, generator=generator)
        nn.init.normal_(layer.bias, std=0.5, generator=generator)
    return network


def noise_network() -> nn.Sequential:
    """A rough ReLU network, 25-32-32-32-1, that was fitted to pure noise; its stored weights are half floats."""
    network = relu_network((32, 32, 32))
    with np.load(TRUTHS / "noise_network.npz") as weights:
        network.load_state_dict({name: torch.from_numpy(weights[name]).float() for name in weights.files})
    return network


def cases() -> list[Case]:
    """All functions, from the friendliest on."""
    functions = {
        "g-function": known.g_function(),
        "mixture of orders 1-4": known.mixture(),
        "sin x0 cos x1 x2": known.sine_cosine(INPUTS),
        "x0 x1 x2": known.product(3, INPUTS),
        "ishigami": known.ishigami(),
    }
    exact = [
        Case(name, f, f.n, f.low, f.high, np.append(f.share[:3], f.share[3:].sum()), np.zeros(4))
        for name, f in functions.items()
    ]
    return [*exact, _measured("random network", random_network()), _measured("noise network", noise_network())]


def _measured(name: str, network: nn.Sequential) -> Case:
    stored = json.loads((TRUTHS / f"{name.replace(' ', '_')}.json").read_text())
    truth, error = np.array(stored["share"]), np.array(stored["standard_error"])
    return Case(name, network, INPUTS, -1.0, 1.0, truth, error)
