"""Training many small networks: one stack against plain loops, two processes and torch.func's vmap.

All train networks with 3 hidden ReLU layers, 25 inputs and dropout .25 at the input and after every hidden layer, on
batches of 100, each network on its own batches. Prints time per network and step, ratios to the stack, and the share
of the measured matmul peak; writes benchmarks/results/stack.json.

    python benchmarks/stack.py [--models-per-stack]
"""

import multiprocessing
import sys
import time
from multiprocessing.connection import Connection

import torch
from timing import interleave, repeat, save
from torch import nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from dropscope.stack import Member, Shape
from dropscope.stack.training import Stack

ROWS, INPUTS, BATCH, DEPTH, P = 1500, 25, 100, 3, 0.25
CASES = ((32, 60), (128, 60), (512, 16))
BUNDLE = 16  # steps per timing: the stack draws its masks so many steps ahead


def table(inputs):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(ROWS, inputs, generator=generator) * 2 - 1, torch.randn(ROWS, 1, generator=generator)


def sequential(width, inputs=INPUTS):
    layers = [nn.Dropout(P)]
    for features in (inputs, *[width] * (DEPTH - 1)):
        layers += [nn.Linear(features, width), nn.ReLU(), nn.Dropout(P)]
    return nn.Sequential(*layers, nn.Linear(width, 1))


def plain_step(width, fused=None):
    """One step of one network, as everybody writes it."""
    x, y = table(INPUTS)
    network = sequential(width)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=fused)

    def step():
        rows = torch.randint(0, ROWS, (BATCH,))
        loss = nn.functional.mse_loss(network(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def vmap_step(width, models):
    """One step of all networks by torch.func: stacked modules, vmapped gradients, one fused optimizer."""
    x, y = table(INPUTS)
    networks = [sequential(width) for _ in range(models)]
    parameters, _ = stack_module_state(networks)
    optimizer = torch.optim.Adam(parameters.values(), 1e-3, fused=True)
    skeleton = networks[0]

    def loss(parameters, x, y):
        return nn.functional.mse_loss(functional_call(skeleton, parameters, (x,)), y)

    gradients_of = vmap(grad_and_value(loss), randomness="different")

    def step():
        rows = torch.randint(0, ROWS, (models, BATCH))
        detached = {name: tensor.detach() for name, tensor in parameters.items()}
        gradients, _ = gradients_of(detached, x[rows], y[rows])
        for name, tensor in parameters.items():
            tensor.grad = gradients[name]
        optimizer.step()

    return step


def stack_step(width, models, inputs=INPUTS):
    """One step of all networks in a stack."""
    x, y = table(inputs)
    rows = torch.arange(ROWS)
    members = [Member(P, P, 1e-3, 0.0, seed, -1 - seed, fit=rows, stop=rows[:1]) for seed in range(models)]
    stack = Stack(x, y, members, Shape(tuple(range(inputs)), 1, width, DEPTH, "regression"), "adam", BATCH)

    def step():
        with torch.no_grad():
            stack.network.step(stack.x, stack.y, stack.noise.step("cpu"))
            stack.optimizer.step()

    return step


def serve(pipe: Connection, width: int) -> None:
    """Train a plain loop in another process, on one thread, for as many steps as asked."""
    torch.set_num_threads(1)
    step = plain_step(width)
    while steps := pipe.recv():
        start = time.perf_counter()
        for _ in range(steps):
            step()
        pipe.send(time.perf_counter() - start)


class TwoProcesses:
    """The plain loop shared by two processes."""

    def __init__(self, width):
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for _ in range(2):
            here, there = context.Pipe()
            self.processes.append(context.Process(target=serve, args=(there, width), daemon=True))
            self.processes[-1].start()
            self.pipes.append(here)

    def run(self, steps):
        """Share so many steps and wait for both."""
        for pipe in self.pipes:
            pipe.send(steps // 2)
        for pipe in self.pipes:
            pipe.recv()

    def close(self):
        """End both processes."""
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            pipe.send(0)
            process.join()


def operations(width, inputs=INPUTS):
    """Floating-point operations of one step of one network: three products per layer, two in the first."""
    return BATCH * (4 * inputs * width + 6 * (DEPTH - 1) * width**2 + 6 * width)


def matmul_peak(size=2048):
    a = torch.randn(size, size)
    seconds = interleave({"matmul": lambda: a @ a}, 5)["matmul"]
    return 2 * size**3 / seconds / 1e9


def compare(width, models):
    """Time every way of training at one width; returns rows of seconds per network and step."""
    loop = max(4, 2 * round(2000 / width / 2))
    processes = TwoProcesses(width)
    ways = {
        "stack": (stack_step(width, models), BUNDLE, BUNDLE * models),
        "plain loop": (plain_step(width), loop, loop),
        "plain loop, fused Adam": (plain_step(width, fused=True), loop, loop),
        "plain loop, two processes": (lambda: processes.run(loop), 1, loop),
        "torch.func vmap, fused Adam": (vmap_step(width, models), 2, 2 * models),
    }
    times = interleave({name: repeat(step, count) for name, (step, count, _) in ways.items()}, 9)
    processes.close()
    return {name: seconds / ways[name][2] for name, seconds in times.items()}


def models_per_stack(width=128, inputs=60):
    """Time per network and step of stacks of different sizes."""
    counts = (8, 16, 32, 64)
    steps = {count: repeat(stack_step(width, count, inputs), BUNDLE) for count in counts}
    times = interleave({str(count): step for count, step in steps.items()}, 9)
    return {count: times[str(count)] / BUNDLE / count for count in counts}


def main():
    rows = []
    for width, models in CASES:
        peak = matmul_peak()
        times = compare(width, models)
        print(f"\nwidth {width}, {models} networks; matmul peak {peak:.0f} GFLOP/s")
        for name, seconds in times.items():
            ratio, speed = seconds / times["stack"], operations(width) / seconds / 1e9
            print(f"  {name:28} {seconds * 1e6:9.1f} µs  {ratio:6.1f} x  {speed:6.1f} GFLOP/s  {speed / peak:4.0%}")
            rows.append({"width": width, "models": models, "way": name, "seconds": seconds, "ratio": ratio})
            rows[-1] |= {"gflops": speed, "peak_gflops": peak}

    if "--models-per-stack" in sys.argv:
        print("\nnetworks per stack (width 128, 60 inputs): µs per network and step")
        for count, seconds in models_per_stack().items():
            print(f"  {count:4} {seconds * 1e6:9.1f}")
            rows.append({"width": 128, "models": count, "way": "stack, 60 inputs", "seconds": seconds})
    print(f"\nwritten to {save('stack', rows)}")


if __name__ == "__main__":
    main()
