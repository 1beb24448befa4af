"""Prediction over dropout masks: dropscope's `predict` against the naive loop and the ways of other libraries.

Each way gives mean and variance of T passes. torch-uncertainty, baal and lightning-uq-box are timed where they are
installed, a Transformer of Hugging Face where transformers is.

    python benchmarks/ensemble.py
    python benchmarks/ensemble.py --threads 1 --clock process
"""

import argparse
import copy
import importlib.util
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timing import interleave, machine, save
from torch import Tensor, nn

from dropscope import ensemble

PASSES = 100
REPLICATES = 200  # of the mean, for its variance against T
Ways = dict[str, Callable[[], Any]]


def mlp(dropouts: int = 3) -> nn.Module:
    """100-512-512-512-1 with dropout 0.2 after so many of the last hidden layers."""
    blocks: list[nn.Module] = []
    for number, features in enumerate((100, 512, 512)):
        blocks += [nn.Linear(features, 512), nn.ReLU()] + [nn.Dropout(0.2)] * (number >= 3 - dropouts)
    return nn.Sequential(*blocks, nn.Linear(512, 1))


def cnn() -> nn.Module:
    """Three convolutions with batch norm and pooling, and a head that drops."""
    blocks: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        blocks += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    head = nn.Sequential(nn.Flatten(), nn.Linear(2048, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 10))
    return nn.Sequential(nn.Sequential(*blocks), head)


def transformer() -> nn.Module:
    """A small BERT with random weights, whose sequence output is read."""
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    return BertModel(BertConfig(vocab_size=1000, **sizes))


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], dict[str, Any]]] = {
    "MLP, every layer, batch 1000": (mlp, lambda: torch.randn(1000, 100), {}),
    "MLP, every layer, batch 16": (mlp, lambda: torch.randn(16, 100), {}),
    "MLP, every layer, batch 1": (mlp, lambda: torch.randn(1, 100), {}),
    "MLP, last layer, batch 1000": (partial(mlp, 1), lambda: torch.randn(1000, 100), {}),
    "CNN, head, batch 64": (cnn, lambda: torch.randn(64, 3, 32, 32), {}),
    "BERT, batch 16 x 32": (
        transformer,
        lambda: {"input_ids": torch.randint(1000, (16, 32))},
        {"n_samples": PASSES // 2, "output": "last_hidden_state"},
    ),
}


def output_of(model: nn.Module, x: Any, options: dict[str, Any]) -> Tensor:
    return model(**x)[options["output"]] if isinstance(x, dict) else model(x)


def naive(model: nn.Module, x: Any, options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Dropout in training mode, a loop, and a stack."""
    with ensemble.dropout_on(model), torch.no_grad():
        samples = torch.stack([output_of(model, x, options) for _ in range(options.get("n_samples", PASSES))])
    return samples.mean(0), samples.var(0)


def repeated(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """All passes as one batch."""
    with ensemble.dropout_on(model), torch.no_grad():
        samples = model(x.repeat(PASSES, *[1] * (x.dim() - 1))).view(PASSES, len(x), -1)
    return samples.mean(0), samples.var(0)


def installed(model: nn.Module, x: Tensor) -> Ways:
    """The ways of libraries that happen to be installed, with their defaults, each on its own copy of the model."""
    ways: Ways = {}
    if importlib.util.find_spec("torch_uncertainty"):
        from torch_uncertainty.methods import mc_dropout

        for name, on_batch in (("torch-uncertainty", True), ("torch-uncertainty, loop", False)):
            wrapped = mc_dropout(copy.deepcopy(model), PASSES, on_batch=on_batch).eval()
            ways[name] = partial(spread, wrapped, x)
    if importlib.util.find_spec("baal"):
        from baal.bayesian.dropout import MCDropoutModule
        from baal.modelwrapper import ModelWrapper, TrainingArgs

        for name, in_memory in (("baal", True), ("baal, loop", False)):
            options = TrainingArgs(replicate_in_memory=in_memory)
            wrapper = ModelWrapper(MCDropoutModule(copy.deepcopy(model)), options)
            ways[name] = partial(spread_of_baal, wrapper, x)
    if importlib.util.find_spec("lightning_uq_box"):
        from lightning_uq_box.uq_methods import MCDropoutRegression

        method = MCDropoutRegression(copy.deepcopy(model), PASSES, nn.MSELoss())
        ways["lightning-uq-box"] = partial(method.predict_step, x)
    return ways


def spread(wrapped: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        samples = wrapped(x).view(PASSES, len(x), -1)
    return samples.mean(0), samples.var(0)


def spread_of_baal(wrapper: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    samples = wrapper.predict_on_batch(x, PASSES)
    return samples.mean(-1), samples.var(-1)


def speed(name: str, repeats: int) -> dict[str, Any]:
    """Time all ways to predict in one case, in turn."""
    make, sample, options = CASES[name]
    model, x = make().eval(), sample()
    passes = {"n_samples": PASSES, **options}
    ways: Ways = {"naive loop": partial(naive, model, x, options)}
    if isinstance(x, Tensor):
        ways |= {"all in one batch": partial(repeated, model, x)} | installed(model, x)
    ways["predict"] = partial(ensemble.predict, model, x, **passes)
    ways["predict, sampled"] = partial(ensemble.predict, model, x, **passes, exact=False)
    ways["predict, shared masks"] = partial(ensemble.predict, model, x, **passes, masks="shared", exact=False)

    seconds = interleave(ways, repeats, warmup=1)
    fastest = min(value for way, value in seconds.items() if not way.startswith("predict"))
    print(f"{name}: {ensemble.predict(model, x, **passes).method}")
    for way, value in seconds.items():
        print(f"  {way:24}{1000 * value:10.1f} ms{seconds['naive loop'] / value:8.2f} x", flush=True)
    return {"case": name, "seconds": seconds, "gain over the fastest other": fastest / seconds["predict"]}


def peak(name: str, passes: int) -> float:
    """Peak memory of a fresh process that predicts, in MiB over what it held before: the median of five."""
    code = f"import ensemble; print(ensemble.grown({name!r}, {passes}))"
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, cwd=sys.path[0], capture_output=True, text=True, check=True) for _ in range(5)]
    return statistics.median(float(run.stdout) for run in runs)


def grown(name: str, passes: int) -> float:
    """How much more memory than before this process holds at most while it predicts; Linux counts it."""
    make, sample, _ = CASES[name]
    model, x = make().eval(), sample()
    ensemble.predict(model, x[:2], 2, exact=False)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    ensemble.predict(model, x, passes)
    return (resident("VmHWM") - before) / 1024


def resident(kind: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(kind)))


def slope() -> tuple[float, float]:
    """Slope of log variance of the mean against log T, and its standard error: -1 unless masks are used again."""
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 8), nn.Tanh()),
        torch.ones(3, 4),
    )
    counts = torch.tensor([2, 4, 8, 16, 32, 64, 128, 256])
    logs = []
    for count in counts.tolist():
        means = torch.stack([ensemble.predict(model, x, count).mean for _ in range(REPLICATES)])
        logs.append(means.double().var(0).log().mean())
    deviations = counts.log() - counts.log().mean()
    spread = (deviations**2).sum().item()
    found = (deviations * torch.stack(logs)).sum().item() / spread
    return found, (2 / (REPLICATES - 1) / spread) ** 0.5  # as if all outputs were one: never too small


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--clock", choices=("wall", "process"), default="wall", help="process: CPU time, for a busy machine"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.clock == "process":
        time.perf_counter = time.process_time

    print(f"mean and variance of {PASSES} passes, {arguments.clock} time, on", machine())
    torch.manual_seed(0)
    names = [name for name in CASES if "BERT" not in name or importlib.util.find_spec("transformers")]
    rows: list[dict[str, Any]] = [{"clock": arguments.clock}]
    rows += [speed(name, arguments.repeats) for name in names]

    for name, counts in (("MLP, every layer, batch 1000", (10, 1000)), ("CNN, head, batch 64", (100,))):
        grows = {count: peak(name, count) for count in counts}
        print(f"peak memory over the model's, {name}:", {count: f"{mib:.0f} MiB" for count, mib in grows.items()})
        rows.append({"case": name, "MiB": grows})

    found, error = slope()
    print(f"slope of log variance of the mean against log T: {found:.4f} ± {error:.4f}")
    rows.append({"case": "variance of the mean", "slope": found, "error": error})
    print("written:", save("ensemble", rows))


if __name__ == "__main__":
    main()
