"""Structured dropout: DropBlock's speed and realised rate against known formulas, and what skipping a branch saves."""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timing import interleave, machine, save
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, mse_loss, pad

from dropscope import layers

SHAPES = [((32, 64, 56, 56), 7), ((32, 256, 28, 28), 7), ((32, 256, 28, 28), 3), ((32, 512, 14, 14), 7)]
SHAPES += [((32, 512, 7, 7), 7), ((32, 512, 7, 7), 3)]
RATES = [(14, 7), (7, 7), (4, 7), (28, 3)]


def torchvision_formula(x: Tensor, p: float, block: int) -> Tensor:
    """Seeds where a block fits, one scale for the batch, as in torchvision.ops.drop_block2d; odd blocks only."""
    height, width = x.shape[2:]
    block = min(block, height, width)
    places = (height - block + 1, width - block + 1)
    gamma = p * height * width / (block**2 * places[0] * places[1])
    seeds = torch.empty(*x.shape[:2], *places, dtype=x.dtype).bernoulli_(gamma)
    mask = 1 - max_pool2d(pad(seeds, [block // 2] * 4), block, 1, padding=block // 2)
    return x * mask * (mask.numel() / (1e-6 + mask.sum()))


def timm_formula(x: Tensor, p: float, block: int, shared: bool = False) -> Tensor:
    """Seeds everywhere, one scale for the batch, as in timm's drop_block_2d, which by default shares masks."""
    height, width = x.shape[2:]
    block = min(block, height, width)
    gamma = p * height * width / block**2 / ((width - block + 1) * (height - block + 1))
    seeds = torch.empty_like(x[:, :1] if shared else x).bernoulli_(min(gamma, 1))
    mask = 1 - max_pool2d(seeds, block, 1, padding=block // 2)[..., :height, :width]
    return x * mask * (mask.numel() / (mask.sum(dtype=torch.float32) + 1e-7)).to(x.dtype)


def forward(function: Callable[[Tensor], Tensor], x: Tensor) -> None:
    with torch.no_grad():
        function(x)


def both(function: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor) -> None:
    x.grad = None
    function(x).backward(upstream)


def block_speed(shape: tuple[int, ...], block: int, repeats: int, p: float = 0.1) -> dict[str, Any]:
    x, upstream = torch.randn(shape, requires_grad=True), torch.randn(shape)
    methods = {
        "dropscope": layers.DropBlock2d(p, block),
        "torchvision": partial(torchvision_formula, p=p, block=block),
        "timm": partial(timm_formula, p=p, block=block),
        "timm shared": partial(timm_formula, p=p, block=block, shared=True),
    }
    functions: dict[str, Callable[[], None]] = {}
    for name, method in methods.items():
        functions[f"{name} forward"] = partial(forward, method, x)
        functions[f"{name} both"] = partial(both, method, x, upstream)
    seconds = interleave(functions, repeats, warmup=1)
    ratios = {
        f"{name} {pass_}": seconds[f"{name} {pass_}"] / seconds[f"dropscope {pass_}"]
        for name, pass_ in itertools.product([*methods][1:], ["forward", "both"])
    }
    return {"shape": list(shape), "block": block, "p": p, **ratios, "seconds": seconds}


def realised_rates(size: int, block: int, p: float, maps: int = 200_000) -> dict[str, Any]:
    ones = torch.ones(maps // 8, 8, size, size)
    methods = {"dropscope": layers.DropBlock2d(p, block), "timm": partial(timm_formula, p=p, block=block)}
    if min(block, size) % 2:
        methods["torchvision"] = partial(torchvision_formula, p=p, block=block)
    rates = {name: (method(ones) == 0).double().mean().item() for name, method in methods.items()}
    return {"map": size, "block": block, "p": p, "rates": rates}


class Residual(nn.Module):
    """A residual block whose path is dropped after it was computed."""

    def __init__(self, branch: nn.Module, p: float) -> None:
        super().__init__()
        self.branch = branch
        self.path = layers.DropPath(p)

    def forward(self, x: Tensor) -> Tensor:
        """Give `x + DropPath(branch(x))`."""
        return x + self.path(self.branch(x))


def network(block: Callable[..., nn.Module], p: float, width: int = 512, depth: int = 6) -> nn.Module:
    branches = [
        nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        for _ in range(depth)
    ]
    return nn.Sequential(*(block(branch, p) for branch in branches))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
    optimizer.zero_grad()
    mse_loss(model(x), x).backward()
    optimizer.step()


def path_speed(p: float, batch: int, repeats: int) -> dict[str, Any]:
    steps, x = {}, torch.randn(batch, 512)
    for name, block in (("DropPath", Residual), ("StochasticDepth", layers.StochasticDepth)):
        model = network(block, p)
        steps[name] = partial(train, model, torch.optim.SGD(model.parameters(), lr=1e-3), x)
    seconds = interleave(steps, repeats)
    return {"p": p, "batch": batch, "ratio": seconds["DropPath"] / seconds["StochasticDepth"], "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=11)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("on", machine())

    print("\nhow many times faster DropBlock2d is, forward / forward + backward, p = 0.1")
    blocks = [block_speed(shape, block, options.repeats) for shape, block in SHAPES]
    for row in blocks:
        cells = [
            f"{name} {row[f'{name} forward']:6.1f} / {row[f'{name} both']:.1f}"
            for name in ("torchvision", "timm", "timm shared")
        ]
        print(f"{row['shape']!s:20} block {row['block']}   " + "   ".join(cells))

    print("\nrealised rates of DropBlock (a formula that cannot do it has none)")
    rates = [realised_rates(size, block, p) for (size, block), p in itertools.product(RATES, [0.1, 0.3, 0.5])]
    for row in rates:
        cells = [f"{name} {rate:.4f}" for name, rate in row["rates"].items()]
        print(f"{row['map']}x{row['map']} block {row['block']} p {row['p']}   " + "   ".join(cells))

    print("\nsteps per second of a residual MLP, StochasticDepth over DropPath")
    paths = [path_speed(p, batch, options.repeats) for batch, p in itertools.product([64, 256], [0.1, 0.3, 0.5])]
    for row in paths:
        print(f"batch {row['batch']} p {row['p']}   {row['ratio']:.2f}")
    print("written:", save("structured", [*blocks, *rates, *paths]))


if __name__ == "__main__":
    main()
