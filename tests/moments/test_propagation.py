"""What users meet: methods compared, inputs of every structure, modes left alone, the softmax head."""

import copy
import itertools
from collections import UserDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropscope import moments


def fitted(depth, p, generator):
    """A ReLU net after a short fit."""
    sizes = [4, *[24] * depth]
    hidden = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU(), nn.Dropout(p))]
    net, x = nn.Sequential(*hidden, nn.Linear(24, 1)), torch.randn(256, 4, generator=generator)
    y = (x[:, :1] * x[:, 1:2]).tanh() + x[:, 2:3].sin()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        F.mse_loss(net(x), y).backward()
        optimizer.step()
    return net, x[:64]


def test_after_a_fit_delta_and_full_hold_where_diagonal_is_too_small(generator, seed):
    torch.manual_seed(seed)
    net, x = fitted(3, 0.1, generator)
    with torch.no_grad():
        samples = torch.stack([net(x) for _ in range(1500)])
    ratio = {
        method: (moments.propagate(net, x, method).std / samples.std(0)).mean().item()
        for method in ("delta", "diagonal", "full")
    }
    assert 0.75 < ratio["delta"] < 1.3
    assert 0.85 < ratio["full"] < 1.3
    assert ratio["diagonal"] < 0.85


def test_the_mean_of_activations_is_nearer_than_weight_averaging(generator, seed):
    torch.manual_seed(seed)
    net, x = fitted(2, 0.3, generator)
    with torch.no_grad():
        samples = torch.stack([net(x) for _ in range(4000)])
        average = net.eval()(x)
    found = moments.propagate(net, x)
    truth = samples.mean(0)
    assert found.mean_method == "diagonal"
    assert (found.mean - truth).abs().mean() < 0.5 * (average - truth).abs().mean()


def test_without_a_rule_the_mean_is_that_of_one_pass_and_says_so(generator):
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.RReLU(), nn.Linear(8, 2)).double()
    x = torch.randn(3, 4, dtype=torch.float64, generator=generator)
    found = moments.propagate(net, x)
    assert found.mean_method == "weight-average"
    assert "RReLU at '2'" in found.note
    assert "RReLU" in str(found)
    torch.testing.assert_close(found.mean, net.eval()(x).detach())


def test_modes_random_numbers_gradients_and_buffers_are_left_alone(generator):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.drop, self.head = nn.BatchNorm1d(4), nn.Dropout(0.2), nn.Linear(4, 2)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            if self.training:
                self.calls += 1
            return self.head(F.dropout(self.drop(self.norm(x)), 0.1, self.training))

    net, x = Net(), torch.randn(5, 4, generator=generator)
    net.norm.eval()
    modes = [part.training for part in net.modules()]
    buffers, state = copy.deepcopy(dict(net.named_buffers())), torch.get_rng_state()
    moments.propagate(net, x)
    moments.propagate(net, x, "full")
    assert [part.training for part in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in net.named_buffers())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


def test_modes_are_left_alone_after_an_error():
    net = nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 2))
    with pytest.raises(RuntimeError):
        moments.propagate(net, torch.ones(3, 5))
    assert all(part.training for part in net.modules())


def test_inputs_and_outputs_of_other_structures(generator):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, a, b, scale=1.0):
            y = F.dropout(torch.cat([a, b], 1), 0.3, self.training)
            return {"logits": self.head(y) * scale, "loss": None}

    net, a, b = Two(), torch.randn(3, 2, generator=generator), torch.randn(3, 2, generator=generator)
    exact = moments.last_layer(torch.cat([a, b], 1), net.head, 0.3)
    for x in ((a, b), [a, b], UserDict(a=a, b=b), {"a": a, "b": b, "scale": 1.0}):
        for method in ("delta", "full"):
            found = moments.propagate(net, x, method, output=lambda given: given["logits"])
            torch.testing.assert_close(found.mean, exact.mean)
            torch.testing.assert_close(found.variance, exact.variance)
    with pytest.raises(TypeError, match="pass output="):
        moments.propagate(net, (a, b))


def test_inference_mode_and_no_grad_do_not_stop_it(generator):
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.2), nn.Linear(4, 1))
    x = torch.randn(3, 4, generator=generator)
    expected = moments.propagate(net, x).variance
    with torch.inference_mode():
        assert torch.equal(moments.propagate(net, x + 0).variance, expected)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    assert torch.equal(moments.propagate(net, x).variance, expected)


def test_full_treats_rows_in_parts(generator):
    net = nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 2)).double()
    x = torch.randn(37, 4, dtype=torch.float64, generator=generator)
    whole, tail = moments.propagate(net, x, "full", covariance=True), moments.propagate(net, x[33:], "full")
    assert whole.covariance.shape == (37, 2, 2)
    torch.testing.assert_close(whole.variance[33:], tail.variance)
    torch.testing.assert_close(whole.covariance.diagonal(dim1=1, dim2=2), whole.variance)


def test_class_probabilities_come_from_sampled_logits(generator, seed):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.GELU(), nn.Dropout(0.3), nn.Linear(64, 3))
    x = torch.randn(5, 4, generator=generator)
    with torch.no_grad():
        samples = torch.stack([net(x).softmax(-1) for _ in range(4000)])
    found = moments.propagate(net, x, covariance=True).softmax(4000, generator=generator)
    assert found.method == "delta+sampled-softmax"
    torch.testing.assert_close(found.mean.sum(-1), torch.ones(5))
    error = ((samples.var(0) + found.variance) / 4000).sqrt()
    assert ((found.mean - samples.mean(0)).abs() < 6 * error + 0.01 * samples.std(0)).all()
    with pytest.raises(ValueError, match="covariance=True"):
        moments.propagate(net, x).softmax()


def test_class_probabilities_of_sequences_and_of_half_types(generator, monkeypatch):
    """Classes are on the last axis, and many rows are drawn for in parts."""
    net = nn.Sequential(nn.Dropout(0.3), nn.Linear(4, 6), nn.Unflatten(1, (2, 3)))
    x = torch.randn(5, 4, generator=generator)
    logits = moments.propagate(net, x, covariance=True)
    whole = logits.softmax(4000, generator=generator)
    monkeypatch.setattr("dropscope.moments.result.DRAWN", 4000 * 6)
    parts = logits.softmax(4000, generator=generator)
    assert whole.mean.shape == parts.mean.shape == (5, 2, 3)
    torch.testing.assert_close(parts.mean.sum(-1), torch.ones(5, 2))
    assert ((whole.mean - parts.mean).abs() < 6 * (2 / 4000 * whole.variance).sqrt()).all()

    head = moments.last_layer(x.view(5, 1, 4), net[1], 0.3, covariance=True).softmax(4000, generator=generator)
    assert head.mean.shape == (5, 1, 6)
    assert moments.propagate(net.half(), x.half(), "full", covariance=True).softmax(10).mean.dtype == torch.float32


def test_covariances_of_many_outputs_are_found_by_parts_of_the_rows(generator, monkeypatch):
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3)).double()
    x = torch.randn(7, 4, dtype=torch.float64, generator=generator)
    whole = moments.propagate(net, x, covariance=True)
    monkeypatch.setattr("dropscope.moments.delta.KEPT", 2 * 8 * 3)
    parts = moments.propagate(net, x, covariance=True)
    torch.testing.assert_close(parts.covariance, whole.covariance)
    torch.testing.assert_close(parts.variance, whole.variance)


def test_variances_of_half_types_do_not_overflow(generator):
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 2)).half()
    x = (1000 * torch.randn(5, 6, generator=generator)).half()
    assert moments.propagate(net, x).variance.isfinite().all()


def test_results_are_described_and_plain(generator):
    net = nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 2))
    found = moments.propagate(net, torch.randn(3, 4, generator=generator), covariance=True)
    assert "variance by delta, mean by diagonal" in found.describe()
    assert found.to_dict()["mean"] == found.mean.tolist()
    torch.testing.assert_close(found.std**2, found.variance)


def test_unknown_methods_and_needless_covariances_are_refused():
    net, x = nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 2)), torch.ones(3, 4)
    with pytest.raises(ValueError, match="must be one of delta, diagonal, full"):
        moments.propagate(net, x, "exact")
    with pytest.raises(ValueError, match="keeps none"):
        moments.propagate(net, x, "diagonal", covariance=True)
    with pytest.raises(ValueError, match="at least one row"):
        moments.propagate(net, x[:0])
    with pytest.raises(ValueError, match="at least one element"):
        moments.propagate(net, x, output=lambda y: y[:, :0])
    for given, said in ((x.numpy(), "numpy array"), ("rows", "got str"), (torch.tensor(1.0), r"shape \(\)")):
        with pytest.raises(TypeError, match=f"`x` must be a tensor with rows.*{said}"):
            moments.propagate(net, given)
    with pytest.raises(TypeError, match=r"`model` must be a torch\.nn\.Module, got function"):
        moments.propagate(fitted, x)


@pytest.mark.parametrize("method", ["delta", "diagonal", "full"])
def test_outputs_that_are_not_finite_name_their_row(method):
    net, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 2)), torch.ones(30, 4)
    x[23, 1] = torch.nan
    with pytest.raises(ValueError, match="finite outputs, got others for row 23 of `x`"):
        moments.propagate(net, x, method)
