"""Recurrent networks whose masks are tied over time: the loops over layers, directions and time steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from dropscope import masks
from dropscope.functional.arguments import check_input, check_rate
from dropscope.functional.cells import CELLS, Cell, State
from dropscope.functional.locked import features, locked_dropout, with_features

__all__ = ["variational_rnn"]

Weights = Sequence[Tensor]  # of one layer and direction: input-hidden, hidden-hidden, and the biases of both if any
Block = tuple[Tensor, Tensor | None]  # weight and bias of gates that share a mask
KERNELS: dict[str, Callable[..., Any]] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}


def variational_rnn(
    x: Tensor | PackedSequence,
    state: State,
    weights: Sequence[Weights],
    *,
    mode: str,
    p_input: float | Tensor,
    p_hidden: float | Tensor,
    p_output: float | Tensor,
    training: bool,
    gates: str = "tied",
    bidirectional: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Tensor | PackedSequence, State]:
    """Run an LSTM, GRU or plain recurrent network with one mask for all time steps of a sequence.

    `gates[t] = W_ih (x[t] · mask_x / q) + W_hh (h[t-1] · mask_h / q)` plus biases. The masks stand before the
    matrices, so that what a cell carries on past them (an LSTM's cell state, the old value in a GRU) is not dropped.
    Where nothing is to be dropped, torch's own fused kernel runs.

    Args:
        x: sequences, (time, batch, features) or packed.
        state: hidden state, and for an LSTM also cell state, each (layers · directions, batch, hidden size).
        weights: for each layer and direction, in `nn.LSTM`'s order: input-hidden and hidden-hidden weights, and their
            biases if there are any.
        mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".
        p_input: probability of dropping a feature of each layer's input.
        p_hidden: probability of dropping a unit of the hidden state on its way to the gates.
        p_output: probability of dropping a feature of the last layer's output; the final state is not dropped.
        training: whether to drop.
        gates: "tied" for one mask for all gates, "untied" for one each.
        bidirectional: whether each layer also runs backwards in time, with masks of its own.
        generator: source of randomness; None: torch's own stream.

    Returns:
        Output, like `x` with the last layer's hidden states as features, and final state, like `state`.

    Raises:
        TypeError: `x` is not real floating-point, or a probability not a number.
        ValueError: a probability is not in [0, 1], `mode` or `gates` is none of those named, or `x` has no time step.

    Example:
        >>> lstm, x = torch.nn.LSTM(3, 4), torch.ones(5, 2, 3)
        >>> start = torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)
        >>> rates = {"p_input": 0.5, "p_hidden": 0.25, "p_output": 0.5}
        >>> y, (h, c) = variational_rnn(x, start, lstm.all_weights, mode="LSTM", **rates, training=True)
        >>> y.shape, c.shape
        (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))

    Reference:
        Gal & Ghahramani, 2016, arXiv:1512.05287.
    """
    check_input(features(x))
    for name, value, valid in (("mode", mode, list(CELLS)), ("gates", gates, ["tied", "untied"])):
        if value not in valid:
            raise ValueError(f"`{name}` must be one of {', '.join(valid)}, got {value!r}.")
    if not isinstance(x, PackedSequence) and len(x) == 0:
        raise ValueError("`x` must have at least one time step, got none.")

    cell, count = CELLS[mode]
    p_input, p_hidden, p_output = (check_rate(p) for p in (p_input, p_hidden, p_output))
    noise = Noise(p_input, p_hidden, p_output, count if gates == "untied" else 1, generator)
    order = (x.sorted_indices, x.unsorted_indices) if isinstance(x, PackedSequence) else (None, None)

    state = _reorder(state, order[0])
    if training and noise.drops:
        output, state = _run(x, state, weights, cell, noise, directions=1 + bidirectional)
    else:
        output, state = _run_fused(x, state, weights, mode, training, bidirectional)
    return output, _reorder(state, order[1])


@dataclass(frozen=True)
class Noise:
    """What to drop, and in how many blocks with masks of their own the gates lie."""

    p_input: float | Tensor
    p_hidden: float | Tensor
    p_output: float | Tensor
    blocks: int
    generator: torch.Generator | None

    @property
    def drops(self) -> bool:
        """Whether anything may be dropped."""
        return any(isinstance(p, Tensor) or p > 0 for p in (self.p_input, self.p_hidden, self.p_output))

    def locked(self, x: Tensor | PackedSequence, p: float | Tensor) -> Tensor | PackedSequence:
        """Drop features, the same at all time steps."""
        return locked_dropout(x, p, training=True, generator=self.generator)


def _run_fused(
    x: Tensor | PackedSequence,
    state: State,
    weights: Sequence[Weights],
    mode: str,
    training: bool,
    bidirectional: bool,
) -> tuple[Tensor | PackedSequence, State]:
    """Run torch's kernel, dropping nothing."""
    hidden = state if mode == "LSTM" else state[0]
    flat = [weight for group in weights for weight in group]
    options = (flat, len(weights[0]) > 2, len(weights) // (1 + bidirectional), 0.0, training, bidirectional)
    if isinstance(x, PackedSequence):
        data, *final = KERNELS[mode](x.data, x.batch_sizes, hidden, *options)
        return with_features(x, data), tuple(final)
    output, *final = KERNELS[mode](x, hidden, *options, False)
    return output, tuple(final)


def _run(
    x: Tensor | PackedSequence, state: State, weights: Sequence[Weights], cell: Cell, noise: Noise, directions: int
) -> tuple[Tensor | PackedSequence, State]:
    """Run layer after layer, each in all directions."""
    final = []
    for first in range(0, len(weights), directions):
        outputs = []
        for k in range(first, first + directions):
            start = tuple(part[k] for part in state)
            output, end = _run_direction(x, start, weights[k], cell, noise, reverse=k > first)
            outputs.append(output)
            final.append(end)
        x = with_features(x, torch.cat(outputs, -1))
    return noise.locked(x, noise.p_output), tuple(torch.stack(parts) for parts in zip(*final, strict=True))


def _run_direction(
    x: Tensor | PackedSequence, state: State, weights: Weights, cell: Cell, noise: Noise, reverse: bool
) -> tuple[Tensor, State]:
    """Run one layer in one direction."""
    w_ih, w_hh = weights[:2]
    b_ih, b_hh = weights[2:] or (None, None)
    inputs = _input_gates(x, w_ih, b_ih, noise)
    dropped = _draw_dropped(x, state[0], noise)
    blocks = _blocks(w_hh * masks.scale(noise.p_hidden), b_hh, noise.blocks)

    outputs = []
    for from_input in reversed(inputs) if reverse else inputs:
        n = len(from_input)
        before = tuple(_first(part, n) for part in state)
        seen = [before[0].masked_fill(_first(each, n), 0) for each in dropped]
        after = cell(from_input, _feed(seen, blocks), before)
        outputs.append(after[0])
        state = tuple(_put_first(new, part) for new, part in zip(after, state, strict=True))

    join = torch.cat if isinstance(x, PackedSequence) else torch.stack
    return join(outputs[::-1] if reverse else outputs), state


def _input_gates(x: Tensor | PackedSequence, weight: Tensor, bias: Tensor | None, noise: Noise) -> tuple[Tensor, ...]:
    """Feed the inputs of all time steps into the gates at once, and split the result by time step."""
    blocks = _blocks(weight, bias, noise.blocks)
    gates = _feed([features(noise.locked(x, noise.p_input)) for _ in blocks], blocks)
    return gates.split(x.batch_sizes.tolist()) if isinstance(x, PackedSequence) else gates.unbind()


def _draw_dropped(x: Tensor | PackedSequence, hidden: Tensor, noise: Noise) -> list[Tensor]:
    """Draw for each block the hidden units of each sequence that it never sees."""
    shape = (len(hidden), noise.blocks, hidden.shape[-1])
    dropped = ~masks.keep(shape, noise.p_hidden, device=hidden.device, generator=noise.generator)
    if isinstance(x, PackedSequence) and x.sorted_indices is not None:
        dropped = dropped[x.sorted_indices]
    return list(dropped.unbind(1))


def _blocks(weight: Tensor, bias: Tensor | None, count: int) -> list[Block]:
    """Cut the map to all gates into maps to blocks of gates."""
    weights = weight.chunk(count)
    biases = [None] * count if bias is None else bias.chunk(count)
    return list(zip(weights, biases, strict=True))


def _feed(seen: list[Tensor], blocks: list[Block]) -> Tensor:
    """Compute all gates, each block of them from what it sees."""
    gates = [F.linear(x, weight, bias) for x, (weight, bias) in zip(seen, blocks, strict=True)]
    return gates[0] if len(gates) == 1 else torch.cat(gates, -1)


# In a packed batch the sequences get shorter, and a time step concerns only the first so many of them. The others have
# ended, or running backwards not begun: their state stays as it is.


def _first(part: Tensor, n: int) -> Tensor:
    return part if n == len(part) else part[:n]


def _put_first(new: Tensor, part: Tensor) -> Tensor:
    return new if len(new) == len(part) else torch.cat([new, part[len(new) :]])


def _reorder(state: State, order: Tensor | None) -> State:
    return state if order is None else tuple(part.index_select(1, order) for part in state)
