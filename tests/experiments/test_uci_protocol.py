"""How a UCI table is measured, each part by hand: scaling, decay, what is trained, likelihood and errors."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from dropscope.data import Split
from dropscope.experiments import uci_protocol
from dropscope.experiments.uci_protocol import (
    PROTOCOL,
    Protocol,
    Scaled,
    log_likelihood,
    measured,
    scaled,
    seeds_of,
    trained,
    weight_decay,
)


def split(generator, rows=70):
    x, y = generator.normal(3, 2, size=(rows + 10, 3)), generator.normal(-5, 4, size=rows + 10)
    return Split(x[:rows], y[:rows], x[rows:], y[rows:])


class TestLogLikelihood:
    def test_is_that_of_a_mixture_of_normal_laws(self, seed):
        generator = np.random.default_rng(seed)
        passes, y, precision = generator.normal(size=(7, 4)), generator.normal(size=4), 2.5
        density = norm.pdf(y, passes, 1 / math.sqrt(precision)).mean(0)
        assert np.allclose(log_likelihood(passes, y, precision), np.log(density), rtol=1e-12)

    def test_by_hand(self):
        passes = np.array([[0.0], [2.0]])  # both one away from the target
        expected = -0.5 * 4 * 1 - 0.5 * math.log(2 * math.pi) + 0.5 * math.log(4)
        assert math.isclose(log_likelihood(passes, np.array([1.0]), 4.0)[0], expected, rel_tol=1e-12)

    def test_a_target_far_away_is_no_minus_infinity(self):
        assert math.isclose(
            log_likelihood(np.zeros((5, 1)), np.array([1e6]), 2 * math.pi)[0], -math.pi * 1e12, rel_tol=1e-12
        )


class TestWeightDecay:
    def test_is_the_slope_of_the_papers_penalty(self):
        protocol, rows = Protocol(p=0.05, precision=0.16, length_scale=0.1), 455
        w = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
        (0.1**2 * 0.95 / (2 * rows * 0.16) * w**2).backward()
        assert math.isclose(weight_decay(protocol, rows) * w.item(), w.grad.item(), rel_tol=1e-12)

    def test_of_yacht(self):
        assert math.isclose(weight_decay(PROTOCOL["yacht"], 277), 0.01 * 0.99 / (277 * 0.54187), rel_tol=1e-12)


class TestScaling:
    def test_training_rows_have_mean_zero_and_deviation_one(self, seed):
        cut = scaled(split(np.random.default_rng(seed)))
        for part in (cut.x_train, cut.y_train):
            assert part.mean(0).abs().max() < 1e-6
            assert (part.std(0, correction=0) - 1).abs().max() < 1e-6

    def test_test_rows_are_scaled_by_the_training_rows_alone(self, seed):
        one = split(np.random.default_rng(seed))
        other = Split(one.x_train, one.y_train, one.x_test * 100, one.y_test * 100)
        first, second = scaled(one), scaled(other)
        assert torch.equal(first.x_train, second.x_train)
        assert (first.mean, first.std) == (second.mean, second.std) == (one.y_train.mean(), one.y_train.std())
        expected = (one.x_test - one.x_train.mean(0)) / one.x_train.std(0)
        assert np.allclose(first.x_test, expected, atol=1e-6)
        assert np.array_equal(first.y_test, one.y_test)

    def test_a_constant_column_stays_finite(self, seed):
        one = split(np.random.default_rng(seed))
        one.x_train[:, 1] = 7
        cut = scaled(one)
        assert not cut.x_train[:, 1].any()
        assert cut.x_test.isfinite().all()


class TestSeeds:
    def test_every_network_has_its_own(self):
        seeds = [n for name in PROTOCOL for cut in range(20) for seed in range(5) for n in seeds_of(name, cut, seed)]
        assert len(set(seeds)) > 0.999 * len(seeds)

    def test_they_never_change(self):
        assert seeds_of("yacht", 3, 0) == [1061818919, 644793351, 2147992742]


class TestTraining:
    @pytest.fixture(autouse=True)
    def short(self, monkeypatch):
        monkeypatch.setitem(PROTOCOL, "yacht", Protocol(0.1, 2.0, length_scale=0.5, width=8, epochs=3))

    def test_hands_the_protocol_to_the_stack(self, monkeypatch, seed):
        handed = {}
        cuts = [scaled(split(np.random.default_rng([seed, cut]))) for cut in range(3)]

        def train(x, y, members, shape, **options):
            handed.update(options, x=x, y=y, members=members, shape=shape)
            return []

        monkeypatch.setattr(uci_protocol, "train", train)
        trained(cuts, "yacht", [4, 5], lambda *_: None)
        assert {name: handed[name] for name in ("epochs", "optimizer", "batch_size", "steps_per_epoch", "keep")} == {
            "epochs": 3, "optimizer": "adam", "batch_size": 32, "steps_per_epoch": 3, "keep": "last",
        }  # fmt: skip
        assert handed["patience"] >= 3
        assert (handed["shape"].initialisation, handed["shape"].depth, handed["shape"].width) == ("glorot", 1, 8)
        assert len(handed["members"]) == 6
        for number, member in enumerate(handed["members"]):
            cut = cuts[number % 3]
            assert (member.p_input, member.p_hidden, member.lr) == (0.1, 0.1, 1e-3)
            assert math.isclose(member.weight_decay, 0.25 * 0.9 / (70 * 2), rel_tol=1e-12)
            assert [member.seed, member.mask_seed] == seeds_of("yacht", number % 3, 4 + number // 3)[:2]
            assert torch.equal(handed["x"][member.fit], cut.x_train)
            assert torch.equal(handed["y"][member.fit], cut.y_train)

    def test_a_network_does_not_depend_on_the_others(self, seed):
        cuts = [scaled(split(np.random.default_rng([seed, cut]))) for cut in range(3)]
        few = trained(cuts[:2], "yacht", [7], lambda *_: None)
        many = trained(cuts, "yacht", [7, 8], lambda *_: None)
        for first, second in zip(few, many, strict=False):
            assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
        assert not torch.equal(many[0][1].weight, many[3][1].weight)

    def test_networks_drop_inputs_and_hidden_units(self, seed):
        networks = trained([scaled(split(np.random.default_rng(seed)))] * 2, "yacht", [0], lambda *_: None)
        assert [type(layer) for layer in networks[0]] == [nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
        assert networks[0][0].p == networks[0][3].p == 0.1


class TestMeasuring:
    def test_a_network_that_says_the_same_in_every_pass_by_hand(self, monkeypatch, generator):
        network = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 1))
        nn.init.zeros_(network[1].weight)
        nn.init.constant_(network[1].bias, 0.5)
        y = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
        cut = Scaled(torch.empty(0), torch.empty(0), torch.ones(5, 2), y, mean=3.0, std=2.0)  # it says 4
        rmse = math.sqrt((9 + 4 + 0 + 16 + 144) / 5)
        likelihood = -0.5 * 0.1 * rmse**2 - 0.5 * math.log(2 * math.pi) + 0.5 * math.log(0.1)
        for chunk in (2**23, 20):  # all rows at once, and two by two
            monkeypatch.setattr(uci_protocol, "CHUNK", chunk)
            answers = measured(network.eval(), cut, 0.1, 10, generator)
            assert np.allclose(answers, (rmse, rmse, likelihood), rtol=1e-12)

    def test_the_mean_and_density_are_over_passes_with_dropout_on(self, seed, generator):
        network = nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 1, bias=False)).eval()
        nn.init.ones_(network[1].weight)
        cut = Scaled(torch.empty(0), torch.empty(0), torch.ones(1, 1), np.zeros(1), mean=0.0, std=1.0)  # says 0 or 2
        n_samples = 40_000
        off, rmse, likelihood = measured(network, cut, 1.0, n_samples, generator)
        assert off == 1
        assert abs(rmse - 1) < 5 / math.sqrt(n_samples)
        twos = rmse / 2  # the share of passes that said 2
        density = ((1 - twos) + twos * math.exp(-2)) / math.sqrt(2 * math.pi)
        assert math.isclose(likelihood, math.log(density), rel_tol=1e-6)
