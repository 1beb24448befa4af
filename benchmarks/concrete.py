"""Rates that concrete dropout learns from N rows of simulated data, beside those of its authors.

The task of Gal, Hron & Kendall's notebook: y = 2x + 8 + N(0, 1), x ~ N(0, 1), batches of 20, five learned rates.
Theirs: width 1024, mean of 3 runs, 2000 to 2 epochs, which is 2000 steps of the optimizer for the smallest N and 1000
for the largest. Here: width 256 and one run by default, once with their number of steps and once with the same number
for every N.
"""

import argparse
import math
from typing import Any

import torch
from timing import machine, save
from torch import Tensor, nn
from torch.nn import functional as F

from dropscope import layers

LENGTH_SCALE = 1e-4
BATCH = 20
COLUMNS = ("p input", "p hidden 1", "p hidden 2", "p mean", "p variance", "RMSE", "epistemic sd")
PUBLISHED = {  # rows: (p by place, RMSE, epistemic standard deviation) and epochs, from outputs stored in the notebook
    10: ((0.076, 0.404, 0.403, 0.403, 0.404, 1.901, 1.278), 2000),
    25: ((0.080, 0.403, 0.403, 0.403, 0.404, 1.349, 1.081), 1000),
    50: ((0.068, 0.325, 0.325, 0.325, 0.326, 1.238, 0.904), 500),
    100: ((0.073, 0.236, 0.236, 0.236, 0.236, 1.258, 0.716), 200),
    1000: ((0.056, 0.232, 0.232, 0.232, 0.236, 1.036, 0.644), 20),
    10000: ((0.051, 0.157, 0.158, 0.136, 0.219, 1.004, 0.531), 2),
}


class Network(nn.Module):
    """Three hidden layers and two heads, every layer with a learned rate on its inputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = [(1, width), (width, width), (width, width), (width, 1), (width, 1)]
        self.blocks = nn.ModuleList(
            layers.ConcreteDropout(nn.Linear(*size), 0.1, length_scale=LENGTH_SCALE) for size in sizes
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give the mean and the variance of y."""
        for block in self.blocks[:3]:
            x = block(x).relu()
        return self.blocks[3](x), self.blocks[4](x).exp()

    @property
    def rates(self) -> list[float]:
        """The five learned rates."""
        return [block.p for block in self.blocks]


def simulate(rows: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(rows, 1)
    return x, 2 * x + 8 + torch.randn(rows, 1)


def train(rows: int, width: int, steps: int) -> Network:
    x, y = simulate(rows)
    model = Network(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        batch = torch.randint(rows, (min(BATCH, rows),))
        mean, variance = model(x[batch])
        loss = F.gaussian_nll_loss(mean, y[batch], variance) + layers.kl(model) / rows
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def evaluate(model: Network) -> tuple[float, float]:
    """Error of the mean over 20 passes, and the standard deviation between passes, on 1000 fresh rows."""
    x, y = simulate(1000)
    means = torch.stack([model(x)[0] for _ in range(20)])
    return (means.mean(0) - y).square().mean().sqrt().item(), means.var(0).mean().sqrt().item()


def measure(rows: int, width: int, steps: int, runs: int) -> list[float]:
    results = []
    for seed in range(runs):
        torch.manual_seed(seed)
        model = train(rows, width, steps)
        results.append([*model.rates, *evaluate(model)])
    return [sum(column) / runs for column in zip(*results, strict=True)]


def table(title: str, steps: dict[int, int], width: int, runs: int) -> list[dict[str, Any]]:
    print(f"\n{title}; published in brackets")
    print("N".rjust(6), "steps".rjust(6), *(name.rjust(14) for name in COLUMNS))
    rows = []
    for n, (published, _) in PUBLISHED.items():
        found = measure(n, width, steps[n], runs)
        cells = (f"{here:.3f} ({there:.3f})" for here, there in zip(found, published, strict=True))
        print(str(n).rjust(6), str(steps[n]).rjust(6), *(cell.rjust(14) for cell in cells), flush=True)
        rows.append({"table": title, "rows": n, "steps": steps[n], **dict(zip(COLUMNS, found, strict=True))})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=256, help="hidden units (published: 1024)")
    parser.add_argument(
        "--steps", type=int, default=4000, help="steps for every N, in the second table; 0: leave it out"
    )
    parser.add_argument("--runs", type=int, default=1, help="runs to average (published: 3)")
    options = parser.parse_args()
    torch.set_num_threads(1)

    print(machine(), f"width {options.width}, {options.runs} run(s)")
    theirs = {n: epochs * math.ceil(n / BATCH) for n, (_, epochs) in PUBLISHED.items()}
    rows = table("Steps as published", theirs, options.width, options.runs)
    if options.steps:
        rows += table(
            "The same steps for every N", dict.fromkeys(PUBLISHED, options.steps), options.width, options.runs
        )
    print("written:", save("concrete", rows))


if __name__ == "__main__":
    main()
