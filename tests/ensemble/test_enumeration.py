"""The average over all masks: against a loop over them, and against what theory says of it (CLAIMS B2, B3, D5, D8)."""

import itertools
import math

import pytest
import torch
from sigmas import most_sigmas
from torch import nn
from zoo import IMAGE, SEQUENCE, TimeFirst

from dropscope import ensemble, layers
from dropscope.errors import NoDropoutFound


def double(*modules):
    torch.manual_seed(2)
    return nn.Sequential(*modules).double()


def by_hand(first, last, x, p):
    """All subnetworks of `last(relu(first(x)) * mask / q)`, with their probabilities."""
    h = first(x).relu()
    masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=h.shape[1])), dtype=x.dtype)
    weights = (1 - p) ** masks.sum(1) * p ** (h.shape[1] - masks.sum(1))
    return torch.stack([last(h * mask / (1 - p)) for mask in masks]), weights.view(-1, 1, 1)


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_mean_and_variance_are_those_of_a_loop_over_all_masks(p):
    first, last = nn.Linear(3, 6).double(), nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    outputs, weights = by_hand(first, last, x, p)
    found = ensemble.exact(nn.Sequential(first, nn.ReLU(), nn.Dropout(p), last), x)

    mean = (outputs * weights).sum(0)
    torch.testing.assert_close(found.mean, mean, rtol=0, atol=1e-13)
    torch.testing.assert_close(found.variance, ((outputs - mean) ** 2 * weights).sum(0), rtol=0, atol=1e-13)
    assert (found.n_samples, found.method) == (64, "enumerated")
    assert found.standard_error("mean").max() == 0


def test_probabilities_rates_and_channels_of_several_sites():
    model = double(nn.Conv2d(2, 3, 3), nn.Dropout2d(0.3), nn.Flatten(), nn.Tanh(), nn.Linear(27, 4), nn.Dropout(0.1))
    found = ensemble.exact(model, IMAGE.double())
    assert found.n_samples == 2 ** (3 + 4)
    sampled = ensemble.predict(model, IMAGE.double(), 4000)
    assert most_sigmas(sampled.mean, found.mean, sampled.errors["mean"]) < 6
    assert most_sigmas(sampled.variance, found.variance, sampled.errors["variance"]) < 7


def test_rows_on_another_axis_are_found():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x.transpose(0, 1)).sum(0)

    found = ensemble.exact(Model().double(), SEQUENCE.double())
    assert found.n_samples == 2**12
    torch.testing.assert_close(found.mean, SEQUENCE.double().sum(1))
    torch.testing.assert_close(found.variance, SEQUENCE.double().square().sum(1))


class TestTheory:
    """CLAIMS B2, B3, D5, D8."""

    def test_weight_scaling_is_the_geometric_mean_for_one_layer_and_softmax(self):
        model, x = double(nn.Dropout(0.3), nn.Linear(8, 5)), torch.randn(4, 8, dtype=torch.float64)
        geometric, scaled = ensemble.geometric_mean(model, x), ensemble.weight_scaling(model, x).softmax(-1)
        assert (geometric - scaled).abs().max() < 1e-12
        arithmetic = ensemble.exact(model, x, transform="softmax").mean
        assert (arithmetic - scaled).abs().max() > 1e-3

    def test_weight_scaling_is_the_mean_of_linear_models_and_not_of_others(self):
        x = torch.randn(6, 3, dtype=torch.float64)
        linear = double(nn.Linear(3, 8), nn.Dropout(0.4), nn.Linear(8, 2))
        bent = double(nn.Linear(3, 8), nn.Dropout(0.4), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        assert (ensemble.exact(linear, x).mean - ensemble.weight_scaling(linear, x)).abs().max() < 1e-12
        assert (ensemble.exact(bent, x).mean - ensemble.weight_scaling(bent, x)).abs().max() > 1e-3

    def test_sampling_comes_nearer_to_the_average_than_one_pass(self):
        x = torch.randn(20, 3, dtype=torch.float64)
        model = double(nn.Linear(3, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 1))
        truth = ensemble.exact(model, x).mean
        sampled = ensemble.predict(model, x, 5000)
        assert (sampled.mean - truth).abs().mean() < (ensemble.weight_scaling(model, x) - truth).abs().mean()

    def test_the_square_of_a_dropped_unit_is_above_its_square_by_p_over_q(self):
        class Square(nn.Module):
            def forward(self, x):
                return x**2

        x = torch.tensor([[3.0], [1.5]], dtype=torch.float64)
        mean = ensemble.exact(nn.Sequential(nn.Dropout(0.2), Square()), x).mean
        torch.testing.assert_close(mean - x**2, x**2 * 0.25, rtol=1e-13, atol=0)

    def test_the_last_layer_in_closed_form_is_the_enumeration(self):
        model, x = double(nn.Linear(3, 10), nn.GELU(), nn.Dropout(0.3), nn.Linear(10, 2)), torch.randn(7, 3).double()
        exact, closed = ensemble.exact(model, x), ensemble.predict(model, x)
        assert closed.method == "exact-linear"
        torch.testing.assert_close(closed.mean, exact.mean, rtol=0, atol=1e-13)
        torch.testing.assert_close(closed.variance, exact.variance, rtol=0, atol=1e-13)


def test_measures_of_classes_are_those_of_the_law_without_correction():
    model, x = double(nn.Dropout(0.3), nn.Linear(6, 3)), torch.randn(4, 6, dtype=torch.float64)
    found = ensemble.exact(model, x, transform="softmax")
    masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)), dtype=torch.float64)
    weights = 0.7 ** masks.sum(1) * 0.3 ** (6 - masks.sum(1))
    p = model[1](x * masks.unsqueeze(1) / 0.7).softmax(-1)
    mean = (weights.view(-1, 1, 1) * p).sum(0)
    entropies = (weights.unsqueeze(1) * torch.special.entr(p).sum(-1)).sum(0)
    torch.testing.assert_close(found.entropy(), torch.special.entr(mean).sum(-1))
    torch.testing.assert_close(found.mutual_information(), torch.special.entr(mean).sum(-1) - entropies)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (nn.Sequential(nn.Dropout(0.5), nn.Linear(21, 1)), "at most 20 units"),
        (nn.Sequential(layers.GaussianDropout(0.5), nn.Linear(21, 1)), "Bernoulli"),
        (nn.Sequential(layers.DropConnect(nn.Linear(21, 1), 0.5)), "Bernoulli"),
    ],
)
def test_what_cannot_be_enumerated_is_refused(model, why):
    with pytest.raises(ValueError, match=why):
        ensemble.exact(model, torch.ones(2, 21))


def test_modes_are_put_back():
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3)).train()
    for average in (ensemble.exact, ensemble.geometric_mean, ensemble.weight_scaling):
        average(model, torch.randn(4, 3))
        assert model[0].training
        assert model[1].training
        assert model[1].num_batches_tracked == 0
    with pytest.raises(NoDropoutFound):
        ensemble.exact(nn.Linear(3, 1), torch.ones(1, 3))


def test_all_masks_have_probability_one_together():
    model = nn.Sequential(nn.Dropout(0.37), nn.Linear(9, 1)).double()
    model[1].weight.data.zero_()
    model[1].bias.data.fill_(math.pi)
    assert ensemble.exact(model, torch.ones(1, 9).double()).mean.item() == pytest.approx(math.pi, abs=1e-13)


def test_attention_is_enumerated_too():
    model = TimeFirst().double()
    with pytest.raises(ValueError, match="got "):
        ensemble.exact(model, SEQUENCE.double())
    found = ensemble.exact(model, SEQUENCE.double(), only="layer.dropout2")
    assert found.n_samples == 2**12
