"""The variational LSTM and GRU in training against torch's own on the CPU, which draw no masks."""

import argparse
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timing import interleave, machine, save
from torch import Tensor, nn

from dropscope import layers

PAIRS = {"LSTM": (nn.LSTM, layers.VariationalLSTM), "GRU": (nn.GRU, layers.VariationalGRU)}
GATES = ("tied", "untied")
HIDDEN = (64, 256, 650)
BATCHES = {"35 x 20": (35, 20), "100 x 64": (100, 64), "10 x 4": (10, 4)}  # time steps x sequences
WORK = 1 << 30  # steps · sequences · hidden² of all calls in a row of timings, in at most 100 and at least 5 calls


def step(network: nn.Module, x: Tensor) -> None:
    network.zero_grad(set_to_none=True)
    network(x)[0].sum().backward()


def measure(kind: str, gates: str, hidden: int, batch: str) -> dict[str, Any]:
    """Time a network with as many inputs as hidden units; forward keeps what backward needs."""
    twin, variational = PAIRS[kind]
    plain = twin(hidden, hidden)
    steps, sequences = BATCHES[batch]
    x = torch.randn(steps, sequences, hidden)
    functions: dict[str, Callable[[], Any]] = {}
    for label, network in (("torch", plain), ("dropscope", variational.from_torch(plain, p=0.5, gates=gates))):
        functions[f"{label} forward"] = partial(network, x)
        functions[f"{label} both"] = partial(step, network, x)

    seconds = interleave(functions, repeats=min(100, max(5, WORK // (steps * sequences * hidden**2))))
    ratios = {pass_: seconds[f"dropscope {pass_}"] / seconds[f"torch {pass_}"] for pass_ in ("forward", "both")}
    return {"network": kind, "gates": gates, "hidden": hidden, "batch": batch, **ratios, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)

    print("time relative to torch's module, forward / forward + backward, p=0.5, on", machine())
    print(f"{'':20}" + "".join(f"{name:>14}" for name in BATCHES))
    rows = []
    for kind, gates, hidden in itertools.product(PAIRS, GATES, HIDDEN):
        row = [measure(kind, gates, hidden, batch) for batch in BATCHES]
        cells = "".join(f"{r['forward']:.2f} / {r['both']:.2f}".rjust(14) for r in row)
        print(f"{kind:<5}{gates:<8}{hidden:<7}{cells}", flush=True)
        rows += row
    print("written:", save("recurrent", rows))


if __name__ == "__main__":
    main()
