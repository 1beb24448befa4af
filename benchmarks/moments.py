"""How far the closed moments of `dropscope.moments` lie from Monte Carlo, by depth, width and rate, and what they cost.

The standard deviation of each method divided by that of the samples, mean [min .. max] over rows, and the error of the
mean in units of the samples' standard deviation; ReLU nets with dropout after each hidden layer, before and after a
short fit. Sampling alone scatters the ratio by 1 / √(2 n): 0.7 % at 10,000.
"""

import argparse
import itertools
import time
from functools import partial
from typing import Any

import torch
from timing import interleave, machine, save
from torch import Tensor, nn

from dropscope import moments

METHODS = ("diagonal", "delta", "full")
INPUTS = 10


def network(depth: int, width: int, p: float, inputs: int = INPUTS) -> nn.Sequential:
    sizes = [inputs, *[width] * depth]
    hidden = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU(), nn.Dropout(p))]
    return nn.Sequential(*hidden, nn.Linear(width, 1))


def target(x: Tensor) -> Tensor:
    return x[:, :1] * x[:, 1:2] + (2 * x[:, 2:3]).sin() + 0.5 * x[:, 3:4].square()


def fit(net: nn.Module, steps: int, rows: int = 512, inputs: int = INPUTS) -> None:
    x = torch.randn(rows, inputs)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    net.train()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), target(x)).backward()
        optimizer.step()


def sampled(net: nn.Module, x: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over `n` passes, a hundred of them folded into the batch at a time."""
    net.train()
    with torch.no_grad():
        chunks = [net(x.repeat(100, 1)).view(100, *x.shape[:1]) for _ in range(n // 100)]
    spread, mean = torch.std_mean(torch.cat(chunks).double(), 0)
    return mean, spread


def compare(depth: int, width: int, p: float, steps: int, rows: int, n: int) -> dict[str, Any]:
    torch.manual_seed(depth * width)
    net, x = network(depth, width, p), torch.randn(rows, INPUTS)
    fit(net, steps)
    mean, spread = sampled(net, x, n)
    row: dict[str, Any] = {"depth": depth, "width": width, "p": p, "fit steps": steps, "samples": n}
    for method in METHODS:
        start = time.perf_counter()
        found = moments.propagate(net, x, method)
        seconds = time.perf_counter() - start
        ratio = found.std.squeeze(1).double() / spread
        error = ((found.mean.squeeze(1) - mean).abs() / spread).mean()
        row[method] = {
            "ratio": ratio.mean().item(),
            "low": ratio.min().item(),
            "high": ratio.max().item(),
            "error of the mean": error.item(),
            "seconds": seconds,
        }
    average = net.eval()(x).detach().squeeze(1)
    row["error of weight averaging"] = ((average - mean).abs() / spread).mean().item()
    return row


def show(row: dict[str, Any]) -> None:
    name = f"{row['depth']}x{row['width']} p {row['p']} {'fitted' if row['fit steps'] else 'new'}"
    cells = [
        f"{row[m]['ratio']:5.2f} [{row[m]['low']:.2f} .. {row[m]['high']:.2f}]  {row[m]['error of the mean']:.2f}"
        for m in METHODS
    ]
    print(
        f"{name:20}" + "".join(f"{cell:>29}" for cell in cells) + f"{row['error of weight averaging']:>10.2f}",
        flush=True,
    )


def times(rows: int, repeats: int) -> dict[str, Any]:
    """Seconds on 100-512-512-512-1; the full method on 16 rows only."""
    net, x = network(3, 512, 0.2, 100), torch.randn(rows, 100)

    def passes(count: int) -> None:
        net.train()
        with torch.no_grad():
            for _ in range(count):
                net(x)

    functions = {
        "one pass": partial(passes, 1),
        "100 passes": partial(passes, 100),
        "delta": partial(moments.propagate, net, x),
        "diagonal": partial(moments.propagate, net, x, "diagonal"),
    }
    seconds = interleave(functions, repeats, warmup=1)
    seconds |= interleave({"full, 16 rows": partial(moments.propagate, net, x[:16], "full")}, 1, warmup=0)
    return {"rows": rows, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("on", machine())

    heads = [f"{method}, error of mean" for method in METHODS]
    print(f"{'net':20}" + "".join(f"{head:>29}" for head in heads) + f"{'weights':>10}")
    results = []
    for (depth, width), p, steps in itertools.product(((1, 50), (3, 50), (3, 512)), (0.1, 0.5), (0, 300)):
        results.append(compare(depth, width, p, steps, options.rows, options.samples))
        show(results[-1])

    timed = times(200, options.repeats)
    print("\nms, 100-512-512-512-1, 200 rows")
    for name, seconds in timed["seconds"].items():
        print(f"{name:16}{1e3 * seconds:10.1f}")
    print("written:", save("moments", [*results, timed]))


if __name__ == "__main__":
    main()
