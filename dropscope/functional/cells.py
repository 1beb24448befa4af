"""The recurrent cells: one time step each, from what the input and the hidden state feed into the gates.

The gates lie one after another along the last axis in torch's order, and a state is the hidden state, followed in an
LSTM by the cell state.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["CELLS", "Cell", "State"]

State = tuple[Tensor, ...]
Cell = Callable[[Tensor, Tensor, State], State]


def _lstm(from_input: Tensor, from_hidden: Tensor, state: State) -> State:
    enter, forget, new, leave = (from_input + from_hidden).chunk(4, -1)
    memory = forget.sigmoid() * state[1] + enter.sigmoid() * new.tanh()
    memory = memory.to(new.dtype)  # under autocast the first state is wider than the gates
    return leave.sigmoid() * memory.tanh(), memory


def _gru(from_input: Tensor, from_hidden: Tensor, state: State) -> State:
    size = state[0].shape[-1]
    reset, update = (from_input[..., : 2 * size] + from_hidden[..., : 2 * size]).sigmoid().chunk(2, -1)
    new = torch.tanh(from_input[..., 2 * size :] + reset * from_hidden[..., 2 * size :])
    return ((state[0] - new) * update + new,)


def _tanh(from_input: Tensor, from_hidden: Tensor, state: State) -> State:
    return (torch.tanh(from_input + from_hidden),)


def _relu(from_input: Tensor, from_hidden: Tensor, state: State) -> State:
    return (torch.relu(from_input + from_hidden),)


# By the names that torch's modules give them in `mode`: the cell, and its number of gates.
CELLS: dict[str, tuple[Cell, int]] = {
    "LSTM": (_lstm, 4),
    "GRU": (_gru, 3),
    "RNN_TANH": (_tanh, 1),
    "RNN_RELU": (_relu, 1),
}
