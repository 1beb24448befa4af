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


@pytest.mark.parametrize("kind", [layers.VariationalLSTM, layers.VariationalGRU])
def test_gates_have_one_mask_or_one_each(kind, sequences):
    """Which of the two changes the variance; it is that of samples."""
    tied, untied = (kind(3, 4, p=0.1, p_output=0.0, gates=gates, batch_first=True) for gates in ("tied", "untied"))
    untied.load_state_dict(tied.state_dict())
    one, two = (moments.propagate(Last(network), sequences).variance for network in (tied, untied))
    assert (one / two - 1).abs().max() > 0.01

    net = Last(untied)
    with torch.no_grad():
        net.train()
        samples = torch.cat([net(sequences.repeat(200, 1, 1)).view(200, 3, 4) for _ in range(10)])
    assert 0.85 < (two.sqrt() / samples.std(0)).mean() < 1.2


@pytest.mark.parametrize("wrap", [
    lambda: layers.DropConnect(nn.LSTM(3, 4, batch_first=True), 0.05),
    lambda: layers.WeightDrop(nn.GRU(3, 4, batch_first=True), ["weight_hh_l0", "bias_ih_l0"], 0.05, per=(0,)),
])  # fmt: skip
def test_dropped_weights_of_recurrent_networks(wrap, sequences):
    net = Last(wrap())
    found = moments.propagate(net, sequences, covariance=True)
    with torch.no_grad():
        net.train()
        samples = torch.stack([net(sequences) for _ in range(1500)])
    assert 0.8 < (found.std / samples.std(0)).mean() < 1.2
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
    net = nn.Sequential(layers.DropBlock1d(0.05, 2), nn.Flatten(), nn.Linear(14, 2)).double()
    x = torch.randn(4, 1, 14, dtype=torch.float64, generator=generator)
    exact = exact_block_variance(x, net[2].weight.detach(), 0.05, 2)
    assert ((moments.propagate(net, x).variance / exact).sqrt().mean() - 1).abs() < 0.15


def test_blocks_of_one_pixel_are_dropout_whose_kept_share_is_restored(generator):
    """To first order `y_i = x_i (1 + ε_i - mean ε)`."""
    net = nn.Sequential(layers.DropBlock2d(0.1, 1), nn.Flatten(), nn.Linear(8, 3)).double()
    x = torch.randn(4, 2, 2, 2, dtype=torch.float64, generator=generator)
    moved = x.flatten(1).unsqueeze(1) * net[2].weight
    expected = 1 / 9 * (moved - moved.mean(-1, keepdim=True)).square().sum(-1)
    torch.testing.assert_close(moments.propagate(net, x).variance, expected.detach(), rtol=1e-9, atol=0)
