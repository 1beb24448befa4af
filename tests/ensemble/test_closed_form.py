"""The closed form where dropout stands only before the last linear layer: exact, and used nowhere else."""

import pytest
import torch
from sigmas import most_sigmas
from torch import nn
from zoo import FLAT, Residual, mlp

from dropscope import ensemble, layers


class Net(nn.Module):
    """Runs a function of itself and the inputs, with dropout between two linear layers."""

    def __init__(self, run):
        super().__init__()
        torch.manual_seed(8)
        self.run, self.body, self.drop, self.head = run, nn.Linear(4, 4), nn.Dropout(0.3), nn.Linear(4, 2)

    def forward(self, x):
        return self.run(self, x)


def written_between(net, x):
    y = net.drop(net.body(x))
    y += x
    return net.head(y)


def written_behind(net, x):
    y = net.head(net.drop(net.body(x)))
    y *= 3
    return y


def written_later(net, x):
    h = net.body(x)
    y = net.head(net.drop(h))
    h.zero_()
    return y


class TestTheLastLayer:
    @pytest.mark.parametrize(
        "model",
        [
            nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)),
            nn.Sequential(nn.Linear(4, 8), nn.GELU(), layers.GaussianDropout(0.3), nn.Linear(8, 2)),
            nn.Sequential(nn.Linear(4, 8), nn.Tanh(), layers.DropConnect(nn.Linear(8, 2), 0.3)),
            nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Dropout1d(0.3), nn.Flatten(), nn.Linear(4, 2), nn.Flatten(1)),
            nn.Sequential(nn.Linear(4, 8), nn.AlphaDropout(0.2), nn.Linear(8, 1), nn.Flatten(0)),
        ],
    )
    def test_is_exact_and_agrees_with_sampling(self, model):
        closed, drawn = ensemble.predict(model, FLAT), ensemble.predict(model, FLAT, 3000, exact=False)
        assert (closed.method, closed.n_samples, drawn.method) == ("exact-linear", 0, "sampled")
        assert closed.mean.shape == drawn.mean.shape
        assert most_sigmas(drawn.mean, closed.mean, drawn.errors["mean"]) < 6
        assert most_sigmas(drawn.variance, closed.variance, drawn.errors["variance"]) < 7
        assert closed.standard_error("std").max() == 0

    @pytest.mark.parametrize(
        "model",
        [
            mlp(nn.Dropout(0.3), nn.ReLU()),
            nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 2)),
            nn.Sequential(nn.Dropout(0.3), nn.Linear(4, 2), nn.Softmax(-1)),
            nn.Sequential(Residual(nn.Dropout(0.3)), nn.Linear(4, 2)),
        ],
    )
    def test_is_not_where_something_else_stands_between(self, model):
        assert ensemble.predict(model, FLAT, 5).method == "sampled"

    @pytest.mark.parametrize("run", [written_between, written_behind])
    def test_is_not_where_something_is_written_into(self, run):
        model = Net(run)
        found = ensemble.predict(model, FLAT, 500)
        assert found.method == "sampled"
        assert most_sigmas(found.mean, ensemble.weight_scaling(model, FLAT), found.errors["mean"]) < 6

    def test_is_not_where_an_activation_writes_into_its_output(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 2), nn.ReLU(inplace=True))
        assert ensemble.predict(model, FLAT, 5).method == "sampled"
        model[1].inplace = True  # a write by the dropout itself is none
        assert ensemble.predict(model[:3], FLAT, 5).method == "exact-linear"

    def test_is_that_of_features_which_are_written_into_later(self):
        model = Net(written_later)
        found = ensemble.predict(model, FLAT)
        assert found.method == "exact-linear"
        torch.testing.assert_close(found.mean, ensemble.weight_scaling(model, FLAT))

    @pytest.mark.parametrize("number", [1, 2])
    @pytest.mark.parametrize("before", [False, True])
    def test_is_not_where_hooks_of_others_see_it(self, number, before):
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 2))
        if before:
            model[number].register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
        else:
            model[number].register_forward_hook(lambda module, inputs, output: output.mul_(2))
        found = ensemble.predict(model, FLAT, 500)
        assert found.method == "sampled"
        assert most_sigmas(found.mean, ensemble.weight_scaling(model, FLAT), found.errors["mean"]) < 6

    def test_is_not_where_dropout_does_more_than_drop(self):
        class Twice(nn.Dropout):
            def forward(self, x):
                return super().forward(x) * 2 if self.training else x

        patched = nn.Sequential(nn.Dropout(0.3), nn.Linear(4, 2))
        own = patched[0].forward
        patched[0].forward = lambda x: own(x) * 2
        for model in (nn.Sequential(Twice(0.3), patched[1]), patched):
            found = ensemble.predict(model, FLAT, 500)
            assert found.method == "sampled"
            assert most_sigmas(found.mean, patched[1](2 * FLAT), found.errors["mean"]) < 6

    def test_leaves_what_it_was_given_as_it_was(self):
        class Writing(nn.Sequential):
            def forward(self, x, shift):
                x -= shift
                shift += 1
                return super().forward(x)

        model, x, shift = Writing(nn.Dropout(0.3), nn.Linear(4, 2)), FLAT.clone(), torch.ones(1)
        found = ensemble.predict(model, (x, shift))
        assert found.method == "exact-linear"
        torch.testing.assert_close(found.mean, model[1](FLAT - 1).detach())
        ensemble.predict(model, (x, shift), 5, exact=False)
        ensemble.exact(model, (x, shift))
        torch.testing.assert_close(ensemble.weight_scaling(model, (x, shift)), found.mean)
        assert torch.equal(x, FLAT)
        assert shift == 1

    def test_is_not_used_where_passes_are_wanted(self):
        model = nn.Sequential(nn.Dropout(0.3), nn.Linear(4, 2))
        assert ensemble.predict(model, FLAT, 5, keep_samples=True).method == "sampled"
        assert ensemble.predict(model, FLAT, 5, transform="softmax").method == "sampled"
        assert ensemble.predict(model, FLAT, 5, exact=False).method == "sampled"
