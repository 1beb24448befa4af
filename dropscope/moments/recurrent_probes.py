"""Probes of recurrent networks: dropout between their layers, and masks that are tied over time."""

from typing import Any

import torch
from torch import Tensor, nn

from dropscope import functional
from dropscope.functional.cells import CELLS
from dropscope.layers.recurrent import VariationalBase
from dropscope.moments.noise import bernoulli_noise, unsupported
from dropscope.moments.taps import Arguments, Taps

__all__ = ["between_layers", "tied_over_time"]

State = tuple[Tensor, ...]


def between_layers(module: nn.RNNBase, given: Arguments, output: Any, taps: Taps) -> tuple[Tensor, Any]:
    """Run layer after layer, with noise between them."""
    steps, state = _steps(module, given)
    directions = 1 + module.bidirectional
    ends = []
    for first in range(0, len(module.all_weights), directions):
        if first > 0:
            steps = taps.noisy(steps, bernoulli_noise(module.dropout))
        layer = slice(first, first + directions)
        steps, end = _run(module, steps, tuple(part[layer] for part in state), module.all_weights[layer])
        ends.append(end)
    return _result(module, steps, tuple(torch.cat(parts) for parts in zip(*ends, strict=True)))


def tied_over_time(module: VariationalBase, given: Arguments, output: Any, taps: Taps) -> tuple[Tensor, Any]:
    """Run with noise on columns of the weights, which is what masks before them are, one draw for all time steps."""
    steps, state = _steps(module, given)
    blocks = CELLS[module.mode][1] if module.gates == "untied" else 1

    def by_columns(weight: Tensor, p: float) -> Tensor:
        return taps.noisy(weight.unflatten(0, (blocks, -1)), bernoulli_noise(p, (0, 2))).flatten(0, 1)

    weights = [
        [by_columns(of_input, module.p_input), by_columns(of_state, module.p_hidden), *biases]
        for of_input, of_state, *biases in module.all_weights
    ]
    steps, end = _run(module, steps, state, weights)
    return _result(module, taps.noisy(steps, bernoulli_noise(module.p_output, (1, 2))), end)


def _steps(module: nn.RNNBase, given: Arguments) -> tuple[Tensor, State]:
    """Give the sequences, time on axis 0, and the state to start from."""
    steps, hx = given["x"], given.get("hx")
    if steps.dim() != 3 or module.proj_size:
        raise unsupported(module, given["path"], "cannot be tapped without a batch axis, or with proj_size")
    steps = steps.transpose(0, 1) if module.batch_first else steps
    if hx is None:
        hx = steps.new_zeros(module.num_layers * (1 + module.bidirectional), steps.shape[1], module.hidden_size)
    return steps, hx if isinstance(hx, tuple) else (hx,) * (2 if module.mode == "LSTM" else 1)


def _result(module: nn.RNNBase, steps: Tensor, state: State) -> tuple[Tensor, Any]:
    return steps.transpose(0, 1) if module.batch_first else steps, state if module.mode == "LSTM" else state[0]


def _run(module: nn.RNNBase, x: Tensor, state: State, weights: Any) -> tuple[Any, Any]:
    return functional.variational_rnn(
        x,
        state,
        weights,
        mode=module.mode,
        p_input=0.0,
        p_hidden=0.0,
        p_output=0.0,
        training=True,  # nothing is dropped; kernels for GPUs have derivatives only so
        bidirectional=module.bidirectional,
    )
