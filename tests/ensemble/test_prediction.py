"""The numbers of a prediction: their formulas, their standard errors, and what they may not be asked for."""

import json
import math

import pytest
import torch
from sigmas import sigmas
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from zoo import FLAT, mlp

from dropscope import ensemble
from dropscope.ensemble.calibration import VarianceScale
from dropscope.ensemble.information import MEASURES
from dropscope.ensemble.streaming import MixedMoment, Moments


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3), nn.Hardtanh(-3, 3))


def predicted(n=50, model=None, x=FLAT, **options):
    return ensemble.predict(model or classifier(), x, n, keep_samples=True, **options)


@pytest.mark.parametrize("cut", [[200], [1] * 200, [3, 100, 1, 96]])
def test_moments_do_not_depend_on_the_chunks(cut):
    values = torch.randn(200, 6, dtype=torch.float64).exp() + 100
    moments = Moments()
    for chunk in values.split(cut):
        moments.add(chunk)
    deviations = values - values.mean(0)
    torch.testing.assert_close(moments.mean, values.mean(0))
    torch.testing.assert_close(moments.variance(), values.var(0))
    for power, found in zip((2, 3, 4), moments.powers, strict=True):
        torch.testing.assert_close(found, (deviations**power).sum(0), rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("cut", [[200], [1] * 200, [3, 100, 1, 96]])
def test_mixed_moments_do_not_depend_on_the_chunks(cut):
    values, noise = torch.randn(2, 200, 6, dtype=torch.float64).exp()
    noise += values**2
    mixed = MixedMoment()
    for chunks in zip(values.split(cut), noise.split(cut), strict=True):
        mixed.add(*chunks)
    expected = ((noise - noise.mean(0)) * (values - values.mean(0)) ** 2).mean(0) / 200
    torch.testing.assert_close(mixed.covariance(), expected)


def test_weighted_moments_are_those_of_repeated_values():
    values, weights = torch.randn(5, 2), torch.tensor([1.0, 3.0, 2.0, 1.0, 4.0])
    weighted, repeated = Moments(), Moments()
    weighted.add(values[:2], weights[:2])
    weighted.add(values[2:], weights[2:])
    repeated.add(values.repeat_interleave(weights.long(), 0))
    torch.testing.assert_close(weighted.variance(), repeated.variance())
    torch.testing.assert_close(weighted.powers[2], repeated.powers[2])


class TestNumbers:
    def test_are_those_of_the_samples(self):
        found = predicted(60, transform="softmax")
        p = found.samples.double()
        mean, t = p.mean(0), 60
        entropy = -(mean * mean.log()).sum(-1)
        expected = -(p * p.log()).sum(-1).mean(0)

        torch.testing.assert_close(found.mean, mean.float())
        torch.testing.assert_close(found.variance, p.var(0).float())
        torch.testing.assert_close(found.std, p.std(0).float())
        torch.testing.assert_close(found.entropy(), entropy.float())
        torch.testing.assert_close(found.expected_entropy(), expected.float())
        torch.testing.assert_close(found.mutual_information(), ((entropy - expected) * t / (t - 1)).float())
        votes = torch.nn.functional.one_hot(p.argmax(-1), 3).sum(0)
        torch.testing.assert_close(found.variation_ratio(), 1 - votes.amax(-1) / t)
        torch.testing.assert_close(found.soft_variation_ratio(), (1 - mean.amax(-1)).float())
        torch.testing.assert_close(found.quantile(0.3), found.samples.quantile(0.3, 0))

    def test_of_several_batches_are_those_of_one(self):
        loader = DataLoader(TensorDataset(FLAT, torch.zeros(5)), batch_size=2)
        generators = (torch.Generator().manual_seed(1) for _ in range(2))
        one, cut = (
            predicted(x=x, transform="softmax", generator=generator)
            for x, generator in zip((FLAT, loader), generators, strict=True)
        )
        for name in ("mean", "variance", "entropy", "mutual_information", "variation_ratio"):
            torch.testing.assert_close(one.standard_error(name), cut.standard_error(name), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(one.samples, cut.samples)
        torch.testing.assert_close(one.mutual_information(), cut.mutual_information(), rtol=1e-4, atol=1e-6)

    def test_of_one_probability_are_those_of_two_classes(self):
        found = predicted(transform="sigmoid")
        p = found.samples
        both = torch.stack([p, 1 - p], -1)
        expected = torch.special.entr(both).sum(-1).mean(0)
        torch.testing.assert_close(found.expected_entropy(), expected)
        assert found.entropy().shape == found.mean.shape

    def test_need_probabilities(self):
        found = predicted()
        for name in ("entropy", "expected_entropy", "mutual_information", "variation_ratio", "soft_variation_ratio"):
            with pytest.raises(ValueError, match="transform='softmax'"):
                getattr(found, name)()
        with pytest.raises(ValueError, match="transform='softmax'"):
            predicted(model=nn.Sequential(classifier(), nn.Sigmoid())).entropy()
        assert predicted(model=nn.Sequential(classifier(), nn.Softmax(-1))).entropy().shape == (5,)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_of_probabilities_in_half_types_are_there(self, dtype):
        model = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 50), nn.Softmax(-1)).to(dtype)
        assert predicted(model=model, x=FLAT.to(dtype)).entropy().shape == (5,)

    def test_may_have_their_classes_on_another_axis(self):
        model = nn.Sequential(nn.Unflatten(1, (4, 1)), nn.Conv1d(4, 3, 1), nn.Dropout(0.5), nn.Softmax(1))
        found = predicted(model=model, class_axis=1)
        assert found.entropy().shape == (5, 1)
        for asked in ({"model": model}, {"model": classifier(), "transform": "softmax"}):
            with pytest.raises(ValueError, match="`class_axis` must be an axis of outputs of shape"):
                predicted(**asked, class_axis=7).entropy()
        torch.testing.assert_close(found.entropy(), torch.special.entr(found.mean).sum(1))

    def test_apply_the_transform_to_each_pass(self):
        found, raw = (predicted(transform=how, generator=torch.Generator().manual_seed(2)) for how in (torch.exp, None))
        torch.testing.assert_close(found.samples, raw.samples.exp())


class TestStandardErrors:
    @pytest.mark.parametrize("name", ["mean", "variance", "std", "quantile", *MEASURES])
    def test_are_the_scatter_over_predictions(self, name):
        model = classifier()
        found = [predicted(60, model, transform="softmax") for _ in range(120)]
        values = torch.stack(
            [
                one.quantile(0.5) if name == "quantile" else value() if callable(value := getattr(one, name)) else value
                for one in found
            ]
        )
        claimed = torch.stack([one.standard_error(name) for one in found])
        ratio = (claimed.square().mean(0).sum() / values.var(0).sum()).sqrt().item()
        assert 0.75 < ratio < 1.35  # the scatter itself is known to 1 / √(2 · 119) of each of few outputs: 6 %

    def test_of_what_the_passes_cannot_tell_are_nan(self):
        two, many = predicted(2, transform="softmax"), predicted()
        assert two.standard_error("mutual_information").isnan().all()
        assert two.standard_error("expected_entropy").isfinite().all()
        for q in (0, 1):
            assert many.standard_error("quantile", q).isnan().all()

    def test_of_unknown_numbers_suggest_the_nearest(self):
        with pytest.raises(ValueError, match="did you mean `variance`"):
            predicted().standard_error("varianse")


def test_mutual_information_of_few_passes_is_corrected(seed):
    model, generator = classifier(), torch.Generator().manual_seed(seed)
    many = ensemble.predict(model, FLAT, 20_000, transform="softmax", generator=generator).mutual_information().mean()
    few = torch.stack(
        [
            ensemble.predict(model, FLAT, 4, transform="softmax", generator=generator).mutual_information().mean()
            for _ in range(300)
        ]
    )
    error = few.std() / math.sqrt(300)
    assert abs(few.mean() - many) < 5 * error + 0.05 * many  # terms of order 1/T² stay
    assert abs(few.mean() * 3 / 4 - many) > 5 * error


def test_diversity_is_what_the_average_gains(seed):
    torch.manual_seed(seed)
    model, truth = mlp(nn.Dropout(0.5), nn.Tanh()), torch.randn(5, 2)
    found = predicted(30, model)
    single = (found.samples - truth).square().sum(-1).mean(0)
    together = (found.mean - truth).square().sum(-1)
    torch.testing.assert_close(single - together, 29 / 60 * found.diversity(), rtol=1e-4, atol=1e-5)

    distances = (found.samples.unsqueeze(0) - found.samples.unsqueeze(1)).square().sum(-1)
    torch.testing.assert_close(found.diversity(), distances.sum((0, 1)) / (30 * 29), rtol=1e-4, atol=1e-5)


class TestVarianceHead:
    def heads(self, output):
        mean, log_variance = output.chunk(2, -1)
        return mean, log_variance.exp()

    def test_total_is_the_variance_of_the_mixture(self):
        model = mlp(nn.Dropout(0.5), nn.Tanh())
        found = predicted(200, model, output=self.heads)
        assert found.mean.shape == (5, 1)
        raw = predicted(200, model, generator=torch.Generator().manual_seed(1))
        split = predicted(200, model, generator=torch.Generator().manual_seed(1), output=self.heads)
        mean, variance = self.heads(raw.samples)
        torch.testing.assert_close(split.aleatoric, variance.mean(0))
        torch.testing.assert_close(split.epistemic, mean.var(0))
        torch.testing.assert_close(split.total, variance.mean(0) + mean.var(0))
        torch.testing.assert_close(split.standard_error("noise"), variance.std(0) / 200**0.5)
        parts = sum(split.standard_error(name).square() for name in ("noise", "variance"))
        together = ((variance - variance.mean(0)) * (mean - mean.mean(0)).square()).mean(0) / 200
        torch.testing.assert_close(split.standard_error("total"), (parts + 2 * together).sqrt())

    @pytest.mark.parametrize("share", [-0.5, 1])
    def test_the_error_of_the_total_is_its_scatter_where_both_parts_move_together(self, share, generator):
        class Both(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout(0.5)

            def forward(self, x):
                y = self.drop(x).sum(1)
                return y, 200 + share * y**2

        x = torch.tensor([1.0, -1.0] * 8).expand(2000, 16)  # rows that are alike, each with masks of its own
        found = ensemble.predict(Both(), x, 400, output=lambda both: both, generator=generator)
        squares = (found.total - found.total.mean()) ** 2
        claimed = found.standard_error("total") ** 2
        assert sigmas(squares / squares.mean() - claimed / squares.mean(), 0) < 5

    def test_is_needed_for_the_aleatoric_part(self):
        for name in ("aleatoric", "total"):
            with pytest.raises(ValueError, match="need a model with a variance head"):
                getattr(predicted(), name)


class TestExplainedBias:
    def test_is_that_of_products_of_units(self):
        class Product(nn.Module):
            def __init__(self, order):
                super().__init__()
                self.drop, self.order = nn.Dropout(0.25), order

            def forward(self, x):
                return self.drop(x)[:, : self.order].prod(1, keepdim=True)

        variances = [ensemble.exact(Product(k), torch.ones(1, 4).double()).variance.item() for k in (1, 2, 3, 4)]
        found = predicted(model=nn.Sequential(nn.Dropout(0.25), nn.Tanh())).explain_bias([0.4, 0.3, 0.2, 0.1])
        assert found.p == 0.25
        assert found.growth == pytest.approx([variance / variances[0] for variance in variances])
        weighed = [share * variance for share, variance in zip([0.4, 0.3, 0.2, 0.1], variances, strict=True)]
        assert found.variance_share == pytest.approx([value / sum(weighed) for value in weighed])
        assert "order 4: 10.0% of the function's variance" in str(found)
        assert json.loads(json.dumps(found.to_dict()))["p"] == 0.25

    def test_needs_one_rate_and_shares(self):
        found = predicted(model=nn.Sequential(nn.Dropout(0.25), nn.Tanh(), nn.Dropout(0.5)))
        with pytest.raises(ValueError, match="`p` must be given"):
            found.explain_bias([1.0])
        assert found.explain_bias([1.0], p=0.5).variance_share == pytest.approx([1.0])
        for bad in ([], [[1.0]], [-1.0, 2.0], [float("nan")]):
            with pytest.raises(ValueError, match="`shares` must be"):
                found.explain_bias(bad, p=0.5)


def test_describes_itself_and_goes_to_json():
    found = predicted(transform="softmax")
    assert "prediction for 5 rows, 50 passes" in str(found)
    assert "nats on average" in str(found)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["n_samples"] == 50
    assert len(plain["mutual_information"]) == 5


def test_what_is_not_finite_is_none_in_json():
    found = ensemble.Prediction(torch.tensor([1.0, math.nan]), torch.ones(2), 2, "sampled", rates=(math.inf, 0.5))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (plain["mean"], plain["variance"], plain["rates"]) == ([1.0, None], [1.0, 1.0], [None, 0.5])
    scale = VarianceScale(scale=math.nan, noise=0.5, nll=-math.inf, nll_before=1.5, n_rows=10)
    assert scale.to_dict() == {"scale": None, "noise": 0.5, "nll": None, "nll_before": 1.5, "n_rows": 10}
