"""Draws that many elements share: over time, over the pixels of a block, over all rows."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropscope import layers, moments
from dropscope.functional import blocks


class Last(nn.Module):
    """The last time step of a recurrent network, rows first."""

    def __init__(self, network):
        super().__init__()
        self.network = network.double()

    def forward(self, x):
        return self.network(x)[0][:, -1]


class Unrolled(nn.Module):
    """A plain network with one mask on its inputs and one on its states, step by step."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        net, h = self.network, x.new_zeros(len(x), 4)
        on_input = F.dropout(x.new_ones(len(x), 3), net.p_input, self.training)
        on_state = F.dropout(torch.ones_like(h), net.p_hidden, self.training)
        for step in x.unbind(1):
            gates = F.linear(step * on_input, net.weight_ih_l0, net.bias_ih_l0)
            h = torch.tanh(gates + F.linear(h * on_state, net.weight_hh_l0, net.bias_hh_l0))
        return F.dropout(h, net.p_output, self.training)


@pytest.fixture
def sequences(generator):
    return torch.randn(3, 5, 3, dtype=torch.float64, generator=generator)


def test_masks_tied_over_time_are_those_of_a_loop(sequences):
    network = layers.VariationalRNN(3, 4, p_input=0.1, p_hidden=0.2, p_output=0.3, batch_first=True)
    one, two = (moments.propagate(kind(network.double()), sequences) for kind in (Last, Unrolled))
    torch.testing.assert_close(one.variance, two.variance, rtol=1e-9, atol=0)
    assert one.mean_method == "weight-average"


def last_state(net, x, on_inputs, on_states):
    """The last state of one row, gate by gate, of factors (gates, features) on inputs and states."""
    weights = [w.chunk(len(on_inputs)) for w in net._flat_weights]
    h = c = x.new_zeros(4)
    for step in x:
        on_step, on_state = (
            [w @ (value * factor) + b for w, b, factor in zip(matrices, biases, factors, strict=True)]
            for value, matrices, biases, factors in ((step, *weights[::2], on_inputs), (h, *weights[1::2], on_states))
        )
        if len(on_step) == 3:  # of a GRU
            reset, update = (torch.sigmoid(on_step[i] + on_state[i]) for i in range(2))
            h = (1 - update) * torch.tanh(on_step[2] + reset * on_state[2]) + update * h
        else:
            i, f, g, o = (a + b for a, b in zip(on_step, on_state, strict=True))
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
    return h


@pytest.mark.parametrize(("kind", "count"), [(layers.VariationalLSTM, 4), (layers.VariationalGRU, 3)])
def test_gates_have_one_mask_or_one_each(kind, count, sequences):
    """The variance is p / (1 - p) times the squared slopes in all factors, tied over gates or not."""
    tied, untied = (
        Last(kind(3, 4, p=0.1, p_output=0.0, gates=gates, batch_first=True)) for gates in ("tied", "untied")
    )
    untied.load_state_dict(tied.state_dict())
    ones = torch.ones(count, 3, dtype=torch.float64), torch.ones(count, 4, dtype=torch.float64)
    slopes = [torch.func.jacrev(last_state, (2, 3))(tied.network, x, *ones) for x in sequences]
    on_all = [torch.cat([s.sum(1) for s in one], 1).square().sum(1) for one in slopes]
    on_each = [torch.cat([s.flatten(1) for s in one], 1).square().sum(1) for one in slopes]
    for net, squares in ((tied, on_all), (untied, on_each)):
        expected = torch.stack(squares).detach() * 0.1 / 0.9
        torch.testing.assert_close(moments.propagate(net, sequences).variance, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("wrap", [
    lambda: layers.DropConnect(nn.LSTM(3, 4, batch_first=True), 0.05),
    lambda: layers.WeightDrop(nn.GRU(3, 4, batch_first=True), ["weight_hh_l0", "bias_ih_l0"], 0.05, per=(0,)),
])  # fmt: skip
def test_dropped_weights_of_recurrent_networks(wrap, sequences):
    """To first order the covariance is p / (1 - p) times the products of slopes in the factors of what is dropped."""
    net = Last(wrap())
    dropped = net.network
    weights = {name: dropped.module.get_parameter(name).detach() for name in dropped.names}
    ones = [w.new_ones(w.shape if dropped.per is None else (len(w), *[1] * (w.dim() - 1))) for w in weights.values()]

    def last(*factors):
        moved = {name: w * factor for (name, w), factor in zip(weights.items(), factors, strict=True)}
        return torch.func.functional_call(dropped.module, moved, sequences)[0][:, -1]

    slopes = torch.cat([s.flatten(2) for s in torch.autograd.functional.jacobian(last, tuple(ones))], 2)
    expected = dropped.p / (1 - dropped.p) * slopes @ slopes.transpose(1, 2)
    found = moments.propagate(net, sequences, covariance=True)
    torch.testing.assert_close(found.covariance, expected, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(found.covariance.diagonal(dim1=1, dim2=2), found.variance)


def exact_block_variance(x, weight, p, block):
    """Over all ways in which blocks can begin in one row of pixels."""
    size, places = x.shape[-1], x.shape[-1] - block + 1
    gamma = blocks._seed_rate(p, (size,), (block,))
    outputs, chances = [], []
    for begins in itertools.product([0, 1], repeat=places):
        kept = torch.ones(size, dtype=torch.float64)
        for place in range(places):
            if begins[place]:
                kept[place : place + block] = 0
        outputs.append((x * kept * size / kept.sum().clamp(min=1)).flatten(1) @ weight.T)
        chances.append(gamma ** sum(begins) * (1 - gamma) ** (places - sum(begins)))
    y, w = torch.stack(outputs), torch.tensor(chances, dtype=torch.float64)
    mean = torch.tensordot(w, y, 1)
    return torch.tensordot(w, (y - mean) ** 2, 1)


def test_what_blocks_in_a_wide_map_spread_is_close_to_what_they_do(generator):
    """A block of 2 of 14 pixels rescales the others by 14/12; to first order all that it moves moves 12/14 as far."""
    net = nn.Sequential(layers.DropBlock1d(0.05, 2), nn.Flatten(), nn.Linear(14, 2)).double()
    x = torch.randn(4, 1, 14, dtype=torch.float64, generator=generator)
    exact = exact_block_variance(x, net[2].weight.detach(), 0.05, 2)
    ratio = (moments.propagate(net, x).variance / exact).sqrt().mean() * 14 / 12
    assert abs(ratio - 1) < 0.02  # .995 and .0013 over 300 draws of weights and inputs


def test_blocks_of_one_pixel_are_dropout_whose_kept_share_is_restored(generator):
    """To first order `y_i = x_i (1 + ε_i - mean ε)`."""
    net = nn.Sequential(layers.DropBlock2d(0.1, 1), nn.Flatten(), nn.Linear(8, 3)).double()
    x = torch.randn(4, 2, 2, 2, dtype=torch.float64, generator=generator)
    moved = x.flatten(1).unsqueeze(1) * net[2].weight
    expected = 1 / 9 * (moved - moved.mean(-1, keepdim=True)).square().sum(-1)
    torch.testing.assert_close(moments.propagate(net, x).variance, expected.detach(), rtol=1e-9, atol=0)
