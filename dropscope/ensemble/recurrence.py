"""A recurrent network of torch run layer by layer, so that what is dropped between the layers is ours to draw."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

__all__ = ["run_layers", "single_layers"]


def single_layers(network: nn.RNNBase) -> list[nn.RNNBase]:
    """Make a network of one layer for each of `network`'s, still without parameters."""
    kind: Any = {"LSTM": nn.LSTM, "GRU": nn.GRU}.get(network.mode, nn.RNN)
    directions = 1 + network.bidirectional
    names = ["bias", "batch_first", "bidirectional"] + ["proj_size"] * bool(network.proj_size)
    given = {name: getattr(network, name) for name in names}
    given |= {"nonlinearity": network.mode.removeprefix("RNN_").lower()} if kind is nn.RNN else {}

    layers = []
    for number in range(network.num_layers):
        features = directions * (network.proj_size or network.hidden_size) if number else network.input_size
        layer = kind(features, network.hidden_size, **given, device="meta").eval()
        layer._parameters.clear()  # for plain tensors, which parametrizations give too
        layers.append(layer)
    return layers


def run_layers(
    network: nn.RNNBase, layers: Sequence[nn.RNNBase], drop: Callable[[Tensor], Tensor], x: Any, hx: Any = None
) -> tuple[Any, Any]:
    """Run a recurrent network as its `forward` does in training mode, with `drop` between the layers.

    Args:
        network: whose weights are used, as they are now.
        layers: what `single_layers` made of it.
        drop: what drops from a tensor with the rows on axis 0.
        x: padded, packed or single sequences.
        hx: initial state; None: zeros.

    Returns:
        Output and final state, as torch's module gives them.
    """
    ends = []
    for number, layer in enumerate(layers):
        for name in layer._flat_weights_names:
            setattr(layer, name, getattr(network, name.replace("_l0", f"_l{number}")).detach())
        if number > 0:
            x = _between(x, drop, layer.batch_first)
        own = slice(number * (1 + layer.bidirectional), (number + 1) * (1 + layer.bidirectional))
        start = tuple(part[own] for part in hx) if isinstance(hx, tuple) else hx if hx is None else hx[own]
        x, end = layer(x, start)
        ends.append(end if isinstance(end, tuple) else (end,))
    state = tuple(torch.cat(parts) for parts in zip(*ends, strict=True))
    return x, state if network.mode == "LSTM" else state[0]


def _between(x: Any, drop: Callable[[Tensor], Tensor], batch_first: bool) -> Any:
    if isinstance(x, PackedSequence):
        return _drop_packed(x, drop)
    if x.dim() == 2:  # one sequence, which is one row
        return drop(x.unsqueeze(0)).squeeze(0)
    return drop(x) if batch_first else drop(x.transpose(0, 1)).transpose(0, 1)


def _drop_packed(x: PackedSequence, drop: Callable[[Tensor], Tensor]) -> PackedSequence:
    """Drop as from padded sequences: an element's mask depends on its sequence, time step and feature."""
    padded = x.data.new_zeros(int(x.batch_sizes[0]), len(x.batch_sizes), x.data.shape[-1])
    row = torch.cat([torch.arange(size) for size in x.batch_sizes.tolist()]).to(x.data.device)
    time = torch.arange(len(x.batch_sizes)).repeat_interleave(x.batch_sizes).to(x.data.device)
    if x.sorted_indices is not None:
        row = x.sorted_indices[row]
    padded[row, time] = x.data
    return PackedSequence(drop(padded)[row, time], *x[1:])
