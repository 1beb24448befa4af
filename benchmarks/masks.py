"""dropscope's dropout against torch's on the CPU: forward, and forward with backward, by rate, type and size."""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timing import interleave, machine, save
from torch import Tensor, nn

from dropscope import layers

RATES = (0.5, 0.25, 0.1)
TYPES = (torch.float32, torch.bfloat16)
SIZES = {"1k": 1 << 10, "4k": 1 << 12, "12k": 12_000, "64k": 1 << 16, "256k": 1 << 18}
SIZES |= {"1M": 1 << 20, "4M": 1 << 22, "16M": 1 << 24}
ELEMENTS = 1 << 24  # so many pass through each function per row, in at most 200 and at least 5 calls


def step(layer: nn.Module, x: Tensor, upstream: Tensor) -> None:
    x.grad = None
    layer(x).backward(upstream)


def measure(p: float, dtype: torch.dtype, name: str) -> dict[str, Any]:
    n = SIZES[name]
    x, upstream = (torch.randn(n).to(dtype) for _ in range(2))
    leaf = x.clone().requires_grad_()
    functions: dict[str, Callable[[], Any]] = {}
    for label, layer in (("torch", nn.Dropout(p)), ("dropscope", layers.Dropout(p))):
        functions[f"{label} forward"] = partial(layer, x)
        functions[f"{label} both"] = partial(step, layer, leaf, upstream)

    seconds = interleave(functions, repeats=min(200, max(5, ELEMENTS // n)))
    ratios = {pass_: seconds[f"torch {pass_}"] / seconds[f"dropscope {pass_}"] for pass_ in ("forward", "both")}
    return {"p": p, "type": str(dtype).removeprefix("torch."), "size": name, **ratios, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)

    print("how many times faster than torch.nn.Dropout, forward / forward + backward, on", machine())
    print(f"{'':14}" + "".join(f"{name:>14}" for name in SIZES))
    rows = []
    for p, dtype in itertools.product(RATES, TYPES):
        row = [measure(p, dtype, name) for name in SIZES]
        cells = "".join(f"{r['forward']:.2f} / {r['both']:.2f}".rjust(14) for r in row)
        print(f"{p:<5}{row[0]['type']:9}{cells}", flush=True)
        rows += row
    print("written:", save("masks", rows))


if __name__ == "__main__":
    main()
