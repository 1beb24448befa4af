"""What models change in place and what they store: followed in the model, gone after it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from calling import Calling
from torch import nn
from torch.nn import functional as F

from dropscope import moments
from dropscope.errors import UnsupportedModule


@pytest.fixture
def x(generator):
    return torch.randn(5, 6, dtype=torch.float64, generator=generator)


def relu_then_both(net, x):
    h = net.drop(x)
    return net.linear(F.relu(h, inplace=True)) + h


def added_to_both(net, x):
    h = net.drop(x)
    before = h
    h += net.linear(x)
    return h * 2 + before


def dropped_in_passing(net, x):
    h = net.linear(x)
    F.dropout(h, 0.2, net.training, True)
    return h


@pytest.mark.parametrize(
    ("function", "twin"),
    [
        (relu_then_both, lambda net, x: net.linear(net.drop(x).relu()) + net.drop(x).relu()),
        (added_to_both, lambda net, x: 3 * (net.drop(x) + net.linear(x))),
        (dropped_in_passing, lambda net, x: F.dropout(net.linear(x), 0.2, net.training)),
    ],
)
def test_what_changes_in_place_has_changed_for_all_that_follows(function, twin, x):
    net = Calling(function)
    with pytest.raises(UnsupportedModule, match="in place"):
        moments.propagate(net, x, "diagonal")
    with torch.no_grad():
        average = net.eval()(x.clone())
    torch.testing.assert_close(moments.propagate(net, x).mean, average)
    if function is not relu_then_both:  # whose twin draws two masks
        same = Calling(twin)
        same.load_state_dict(net.state_dict())
        torch.testing.assert_close(moments.propagate(net, x).variance, moments.propagate(same, x).variance)


def kept_by_identity(net, x):
    x = net.drop(x)
    short = net.same(x)
    return net.relu(x) + short


def kept_before_dropping(net, x):
    x = net.linear(x)
    short = net.same(x)
    return F.dropout(x, 0.2, net.training, True) + short


def changed_by_a_view(net, x):
    x = net.drop(x)
    return net.linear(F.relu(x.view(-1, 2, 3), inplace=True).flatten(1)) + x


def kept_by_a_view_of_a_view(net, x):
    x = net.drop(x)
    part = x.view(-1, 2, 3).transpose(1, 2)[:, :2]
    return net.linear(net.relu(x)) + part.flatten(1).sum(1, keepdim=True)


class WithParts(Calling):
    def __init__(self, function):
        super().__init__(function)
        self.same, self.relu = nn.Identity(), nn.ReLU(inplace=True)


@pytest.mark.parametrize(
    "function", [kept_by_identity, kept_before_dropping, changed_by_a_view, kept_by_a_view_of_a_view]
)
def test_what_changes_in_place_has_changed_by_every_name(function, x):
    net = WithParts(function)
    for method in ("diagonal", "full"):
        with pytest.raises(UnsupportedModule, match="in place"):
            moments.propagate(net, x, method)
    with torch.no_grad():
        average = net.eval()(x.clone())
    found = moments.propagate(net, x)
    assert "in place" in found.note
    torch.testing.assert_close(found.mean, average)


def last_use(net, x):
    x = net.drop(x)
    y = F.relu(x.view(-1, 2, 3), inplace=True)
    return net.linear(net.same(y.view(x.size(0), -1))) * x.dim()


def tensors_of_their_own(net, x):
    x = net.drop(x)
    branch = net.linear(x)
    branch += x
    return net.linear(net.relu(branch)) + x


@pytest.mark.parametrize("function", [last_use, tensors_of_their_own])
def test_what_is_not_used_again_may_change_in_place(function, x):
    assert moments.propagate(WithParts(function), x).mean_method == "diagonal"


def test_inputs_and_what_models_store_are_left_alone(x):
    class Storing(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.last = nn.Linear(6, 2), None
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            x += 1
            self.last = self.first = F.dropout(x, 0.2, self.training)
            if self.training:
                self.calls += 1
            return self.linear(self.last)

    net, before = Storing().double(), x.clone()
    expected = moments.last_layer(x + 1, net.linear, 0.2)
    for method in ("delta", "diagonal"):
        torch.testing.assert_close(moments.propagate(net, x, method).variance, expected.variance)
    assert torch.equal(x, before)
    assert net.last is None
    assert not hasattr(net, "first")
    assert net.calls == 0
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_other_threads_run_their_models_meanwhile(x):
    nets = [nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)).double() for _ in range(3)]
    expected = [moments.propagate(net, x).variance for net in nets]

    def found(net):
        return [(moments.propagate(net, x).variance, net[0](x)) for _ in range(10)]

    with ThreadPoolExecutor(3) as pool:
        for variance, net, pairs in zip(expected, nets, pool.map(found, nets), strict=True):
            assert all(torch.equal(each, variance) and torch.equal(y, net[0](x)) for each, y in pairs)
