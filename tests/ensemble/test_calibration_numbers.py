"""Scores of predicted numbers, against closed forms, integrals, other libraries and laws that are true."""

import json
import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn
from torchmetrics.functional.regression import continuous_ranked_probability_score
from zoo import FLAT

from dropscope import ensemble, moments
from dropscope.ensemble.calibration import central_intervals, regression_scores
from dropscope.ensemble.calibration.predictives import Empirical, Mixture, Normal, law_of


def normals(*shape, generator=None):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def integrated_crps(law, y):
    """`∫ (F(x) - 1{x >= y})² dx`."""
    below, above = (
        integrate.quad(lambda x, one=one: (law.cdf(torch.tensor([x]).double()).item() - one) ** 2, *ends, limit=200)[0]
        for one, ends in ((0, (-30, y)), (1, (y, 30)))
    )
    return below + above


class TestLaws:
    def test_the_normal_one_is_scipys(self):
        law, y = Normal(torch.tensor([1.0]).double(), torch.tensor([2.0]).double()), torch.tensor([2.5]).double()
        known = stats.norm(1, 2)
        assert law.cdf(y).item() == pytest.approx(known.cdf(2.5))
        assert law.quantile(0.3).item() == pytest.approx(known.ppf(0.3))
        assert law.log_density(y).item() == pytest.approx(known.logpdf(2.5))
        assert law.crps(y).item() == pytest.approx(integrated_crps(law, 2.5), rel=1e-6)

    def test_the_mixture_is_the_mean_of_its_normal_laws(self):
        passes, y = torch.tensor([[-1.0], [0.0], [4.0]]).double(), torch.tensor([0.7]).double()
        law, parts = Mixture(passes, torch.tensor([0.5]).double()), [stats.norm(at, 0.5) for at in (-1, 0, 4)]
        assert law.cdf(y).item() == pytest.approx(np.mean([one.cdf(0.7) for one in parts]))
        assert law.log_density(y).item() == pytest.approx(np.log(np.mean([one.pdf(0.7) for one in parts])))
        assert law.cdf(law.quantile(0.2)).item() == pytest.approx(0.2)
        assert law.quantile(0.99).item() == pytest.approx(4.0 + 0.5 * NormalDist().inv_cdf(0.97), abs=1e-3)

        # The integral is over all pairs of passes; without those of a pass with itself it has no bias in T.
        near = np.mean([one.expect(lambda x: abs(x - 0.7), lb=-10, ub=10) for one in parts])
        every = 2 * (near - integrated_crps(law, 0.7))
        pairs = (9 * every - 3 * 2 * 0.5 / math.sqrt(math.pi)) / 6
        assert law.crps(y).item() == pytest.approx(near - pairs / 2, rel=1e-5)

    def test_passes_alone_are_torchmetrics_without_its_bias(self, generator):
        passes, y = normals(7, 20, generator=generator), normals(20, generator=generator)
        pairs = (passes.unsqueeze(0) - passes.unsqueeze(1)).abs().sum((0, 1))
        near = (passes - y).abs().mean(0)
        found = Empirical(passes).crps(y)
        torch.testing.assert_close(found, near - pairs / (2 * 7 * 6))
        biased = continuous_ranked_probability_score(passes.T, y)
        torch.testing.assert_close(found.mean() + (pairs / (2 * 7 * 6) - pairs / (2 * 49)).mean(), biased)

    def test_little_noise_is_none(self, generator):
        passes, y = normals(9, 20, generator=generator), normals(20, generator=generator)
        law = Mixture(passes, torch.full((20,), 1e-6).double())
        torch.testing.assert_close(law.crps(y), Empirical(passes).crps(y), atol=1e-5, rtol=0)

    @pytest.mark.parametrize("noise", [0.0, 0.25])
    def test_the_score_of_few_passes_is_that_of_many_on_average(self, noise, generator):
        passes, y = normals(3, 40_000, generator=generator), normals(40_000, generator=generator)
        score = law_of(passes, noise, mixture=True).crps(y)
        truth = Normal(torch.zeros(()).double(), torch.tensor((1 + noise) ** 0.5).double()).crps(y)
        off = score - truth
        assert abs(off.mean()) < 5 * off.std() / 200

    def test_ranks_of_one_more_draw_are_even(self, generator):
        passes = normals(4, 20_000, generator=generator)
        counts = torch.bincount((Empirical(passes[:3]).cdf(passes[3]) * 4).long(), minlength=4)
        assert ((counts - 5000).abs() < 5 * math.sqrt(20_000 * 3 / 16)).all()

    def test_of_a_variance_head_the_total_counts(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
        found = ensemble.predict(
            model, FLAT, 20, output=lambda out: (out[:, 0], out[:, 1].exp()), keep_samples=True, masks="fixed"
        )
        torch.testing.assert_close(law_of(found, 0.5, mixture=False).std.float() ** 2, found.total + 0.5)
        mixture = law_of(found, 0.5, mixture=True)
        torch.testing.assert_close(mixture.noise.float() ** 2, found.aleatoric + 0.5)
        torch.testing.assert_close(mixture.std.float() ** 2, found.total + 0.5)


class TestScores:
    def test_are_the_numbers_they_name(self, generator):
        mean, std, y = normals(50, generator=generator), torch.rand(50, generator=generator) + 0.5, normals(50)
        found = regression_scores((mean, std**2), y, level=0.8, levels=[0.5, 0.8])
        law = stats.norm(mean, std.double())
        low, high = law.ppf(0.1), law.ppf(0.9)
        outside = np.maximum(low - y.numpy(), 0) + np.maximum(y.numpy() - high, 0)

        assert found.rmse == pytest.approx((y - mean).square().mean().sqrt().item())
        assert found.nll == pytest.approx(-law.logpdf(y).mean(), rel=1e-6)
        assert found.width == pytest.approx((high - low).mean(), rel=1e-6)
        assert found.interval_score == pytest.approx((high - low + 2 / 0.2 * outside).mean(), rel=1e-6)
        assert found.coverage[1].item() == pytest.approx((outside == 0).mean())
        assert found.sharpness == pytest.approx(std.square().mean().sqrt().item(), rel=1e-6)
        np.testing.assert_allclose(found.pit, law.cdf(y), rtol=1e-5)
        held = found.coverage[1].item()
        assert found.coverage_error[1].item() == pytest.approx(math.sqrt(held * (1 - held) / 49))
        assert found.pit_histogram(4).tolist() == np.histogram(law.cdf(y), 4, (0, 1))[0].tolist()

    @pytest.mark.parametrize("mixture", [False, True])
    def test_intervals_hold_what_their_coverage_says(self, mixture, generator):
        passes, y = normals(20, 300, generator=generator), 2 * normals(300, generator=generator)
        found = regression_scores(passes, y, noise=0.3, mixture=mixture, levels=0.6)
        intervals = central_intervals(passes, 0.6, noise=0.3, mixture=mixture)
        assert intervals.covers(y).double().mean().item() == pytest.approx(found.coverage.item())
        assert (intervals.width > 0).all()

    def test_the_area_is_the_integral_and_as_expected_of_true_laws(self, generator):
        areas = []
        for _ in range(500):
            found = regression_scores((torch.zeros(100), torch.ones(100)), normals(100, generator=generator))
            areas.append(found.area)
        grid = torch.linspace(0, 1, 100_001, dtype=torch.float64)
        held = torch.searchsorted((2 * found.pit - 1).abs().sort().values, grid, right=True) / 100
        assert found.area == pytest.approx((held - grid).abs().mean().item(), abs=1e-4)
        # The expected value is that of many rows; of 100 it is off by less than a hundredth.
        assert (
            abs(np.mean(areas) - found.expected_area) < 5 * np.std(areas) / math.sqrt(500) + 0.01 * found.expected_area
        )

    def test_standard_errors_are_the_scatter_over_data(self, generator):
        found = []
        for _ in range(300):
            mean, std = normals(100, generator=generator), 0.5 + torch.rand(100, generator=generator).double()
            found.append(regression_scores((mean, std**2), mean + std * normals(100, generator=generator)))
        claims = {name: [one.errors[name] for one in found] for name in found[0].errors}
        values = {name: [getattr(one, name) for one in found] for name in claims}
        values["coverage"], claims["coverage"] = ([part[9].item() for part in parts] for parts in zip(
            *((one.coverage, one.coverage_error) for one in found), strict=True))  # fmt: skip
        for name, claimed in claims.items():
            ratio = math.sqrt(np.mean(np.square(claimed))) / np.std(values[name], ddof=1)
            assert 0.78 < ratio < 1.28, name  # the scatter is known to 1 / √(2 · 299) = 4 %

    def test_outputs_of_one_row_are_no_further_rows(self, generator):
        y = normals(40, 1, generator=generator)
        one = regression_scores((torch.zeros(40, 1), torch.ones(40, 1)), y)
        two = regression_scores((torch.zeros(40, 2), torch.ones(40, 2)), y.expand(40, 2))
        assert one.errors == pytest.approx(two.errors)
        torch.testing.assert_close(one.coverage_error, two.coverage_error)

    def test_passes_alone_have_no_likelihood(self, generator):
        found = regression_scores(normals(30, 50, generator=generator), normals(50), mixture=True)
        assert (found.law, math.isnan(found.nll)) == ("passes", True)
        assert "likelihood" not in str(found)
        assert json.loads(json.dumps(found.to_dict()))["n_rows"] == 50

    def test_of_moments_and_predictions_and_pairs_are_the_same(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
        found, propagated = ensemble.predict(model, FLAT), moments.propagate(model, FLAT)
        scores = [
            regression_scores(one, torch.arange(5), noise=1.0).nll
            for one in (found, propagated, (found.mean, found.variance))
        ]
        assert scores == pytest.approx([scores[0]] * 3, rel=1e-5)


class TestBadInput:
    def test_measured_values_are_never_broadcast(self):
        assert regression_scores((torch.zeros(5, 1), torch.ones(5, 1)), torch.arange(5.0)).pit.shape == (5, 1)
        with pytest.raises(ValueError, match="one value for each predicted one, got shape"):
            regression_scores((torch.zeros(5), torch.ones(5)), [1.0])
        with pytest.raises(ValueError, match="`y` must be finite, got 1 value"):
            regression_scores((torch.zeros(1), torch.ones(1)), [math.nan])

    def test_no_variance_asks_for_noise(self):
        with pytest.raises(ValueError, match=r"noise_variance\(held_out, y\)"):
            regression_scores((torch.zeros(2), torch.zeros(2)), [0.0, 1.0])

    def test_wrong_options_are_named(self):
        given, y = (torch.zeros(2), torch.ones(2)), [0.0, 1.0]
        faults = [({"noise": -1.0}, "`noise`"), ({"noise": [1.0] * 3}, "`noise`"), ({"level": 1.0}, "`level`"),
                  ({"level": "a"}, "`level`"), ({"levels": [0.0]}, "`levels`"), ({"levels": "a"}, "`levels`"),
                  ({"mixture": True}, "keep_samples")]  # fmt: skip
        for options, said in faults:
            with pytest.raises(ValueError, match=said):
                regression_scores(given, y, **options)
        with pytest.raises(ValueError, match="at least 2"):
            regression_scores(torch.zeros(1, 2), y)
        with pytest.raises(ValueError, match=r"give a pair \(means, variances\)"):
            regression_scores(torch.zeros(2), y)
        with pytest.raises(ValueError, match="`variance` must be one number or as many as there are means"):
            regression_scores((torch.zeros(2), torch.ones(3)), y)
