"""dropscope's dropout against torch's on the CPU: speed by rate, type and size, and bytes kept for backward."""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timing import interleave, machine, repeat, save
from torch import Tensor, nn

from dropscope import layers

RATES = (0.5, 0.25, 0.1)
TYPES = (torch.float32, torch.bfloat16)
SIZES = {"64": 64, "256": 256, "1k": 1 << 10, "4k": 1 << 12, "12k": 12_000, "64k": 1 << 16, "256k": 1 << 18}
SIZES |= {"1M": 1 << 20, "4M": 1 << 22, "16M": 1 << 24}
ELEMENTS = 1 << 24  # so many pass through each function per row, in at most 200 and at least 5 rounds
BUNDLE = 1 << 14  # up to so many elements pass in one round: short calls are timed together


def step(layer: nn.Module, x: Tensor, upstream: Tensor) -> None:
    x.grad = None
    layer(x).backward(upstream)


def measure(p: float, dtype: torch.dtype, name: str, kept: str) -> dict[str, Any]:
    n = SIZES[name]
    x, upstream = (torch.randn(n).to(dtype) for _ in range(2))
    leaf = x.clone().requires_grad_()
    calls = min(20, max(1, BUNDLE // n))
    functions: dict[str, Callable[[], Any]] = {}
    for label, layer in (("torch", nn.Dropout(p)), ("dropscope", layers.Dropout(p, save=kept))):
        functions[f"{label} forward"] = repeat(partial(layer, x), calls)
        functions[f"{label} both"] = repeat(partial(step, layer, leaf, upstream), calls)

    bundles = interleave(functions, repeats=min(200, max(5, ELEMENTS // n)))
    seconds = {label: value / calls for label, value in bundles.items()}
    ratios = {pass_: seconds[f"torch {pass_}"] / seconds[f"dropscope {pass_}"] for pass_ in ("forward", "both")}
    shown = {"p": p, "type": str(dtype).removeprefix("torch."), "save": kept, "size": name}
    return {**shown, **ratios, "seconds": seconds}


def bytes_kept(layer: nn.Module, n: int) -> float:
    """Bytes per element that autograd keeps between forward and backward."""
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        layer(torch.ones(n, requires_grad=True))
    return sum(t.numel() * t.element_size() for t in saved) / n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)

    compared = {"torch": nn.Dropout(0.1), **{f"save={s!r}": layers.Dropout(0.1, save=s) for s in ("mask", "seed")}}
    for name in ("4k", "12k", "1M"):
        cells = ", ".join(f"{label} {bytes_kept(layer, SIZES[name]):.2f}" for label, layer in compared.items())
        print(f"bytes kept for backward per element, float32, p=0.1, {name}: {cells}")

    print("how many times faster than torch.nn.Dropout, forward / forward + backward, on", machine())
    print(f"{'p':5}{'type':10}{'save':5}" + "".join(f"{name:>14}" for name in SIZES))
    rows = []
    plans = [(p, dtype, "mask") for p, dtype in itertools.product(RATES, TYPES)]
    for p, dtype, kept in [*plans, (0.5, torch.float32, "seed"), (0.1, torch.float32, "seed")]:
        row = [measure(p, dtype, name, kept) for name in SIZES]
        cells = "".join(f"{r['forward']:.2f} / {r['both']:.2f}".rjust(14) for r in row)
        print(f"{p:<5}{row[0]['type']:10}{kept:5}{cells}", flush=True)
        rows += row
    print("written:", save("masks", rows))


if __name__ == "__main__":
    main()
