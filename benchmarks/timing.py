"""Timing shared by the benchmarks: interleaved medians, and a JSON file that names its machine."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def interleave(functions: dict[str, Callable[[], Any]], repeats: int, warmup: int = 2) -> dict[str, float]:
    """Time every function in turn, `repeats` times over, so that a busy moment of the machine hits all alike.

    Returns:
        The median time of one call of each function, in seconds.
    """
    for function in functions.values():
        for _ in range(warmup):
            function()

    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def repeat(function: Callable[[], Any], times: int) -> Callable[[], None]:
    """Return a function that calls `function` so many times: short steps are timed in bundles."""

    def bundle() -> None:
        for _ in range(times):
            function()

    return bundle


def processor() -> str:
    """Name the processor: from /proc/cpuinfo where there is one, else what `platform` knows."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """Describe the processor, the number of threads and the versions behind the numbers."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def save(name: str, rows: Sequence[dict[str, Any]]) -> Path:
    """Write the rows and the machine to `benchmarks/results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "rows": list(rows)}, indent=2) + "\n")
    return path
