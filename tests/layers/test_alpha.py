"""Alpha dropout: the contract, and that the mean and the variance of the input come back."""

import functools
import math

import pytest
import torch
from contracts import Case, LayerContract

from dropscope import layers
from dropscope.functional.alpha import SELU_LIMIT

MOMENTS = [(0.0, 1.0), (0.5, 1.0), (-3.0, 0.2), (100.0, 9.0)]
MAKERS = [layers.AlphaDropout, layers.FeatureAlphaDropout]
CASES = [
    Case("AlphaDropout", layers.AlphaDropout),
    Case("AlphaDropout-moments", functools.partial(layers.AlphaDropout, mean=0.5, variance=2.0)),
    Case("FeatureAlphaDropout", layers.FeatureAlphaDropout, example=lambda: (torch.randn(16, 8, 5),)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(LayerContract):
    pass


class TestMoments:
    @pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
    @pytest.mark.parametrize(("mean", "variance"), MOMENTS)
    def test_mean_and_variance_come_back_exactly_over_all_masks(self, p, mean, variance):
        """The input takes two values of that mean and variance; each is kept with q, else dropped to one value."""
        layer = layers.AlphaDropout(p, mean=mean, variance=variance).double()
        low, high = mean - math.sqrt(variance), mean + math.sqrt(variance)
        outputs = [layer(torch.full((500,), x, dtype=torch.float64)).unique() for x in (low, high)]

        (dropped,) = set(outputs[0].tolist()) & set(outputs[1].tolist())
        kept = [next(y for y in values.tolist() if y != dropped) for values in outputs]
        values = torch.tensor([*kept, dropped], dtype=torch.float64)
        weights = torch.tensor([(1 - p) / 2, (1 - p) / 2, p], dtype=torch.float64)
        assert (weights * values).sum().item() == pytest.approx(mean, rel=1e-12, abs=1e-12)
        assert (weights * (values - mean) ** 2).sum().item() == pytest.approx(variance, rel=1e-10)

    @pytest.mark.parametrize("make", MAKERS)
    @pytest.mark.parametrize(("mean", "variance"), MOMENTS)
    def test_mean_and_variance_come_back_on_random_inputs(self, make, mean, variance, generator):
        x = torch.randn(100_000, 1, dtype=torch.float64, generator=generator) * math.sqrt(variance) + mean
        y = make(0.3, mean=mean, variance=variance, generator=generator)(x)
        for values, expected in ((y, mean), ((y - mean) ** 2, variance)):
            assert abs(values.mean() - expected) <= 6 * values.std() / math.sqrt(len(x))

    @pytest.mark.parametrize("mean", [0.0, 0.5])
    def test_p_one_gives_the_mean_which_is_the_limit(self, mean):
        x = torch.tensor([1.0, torch.inf, torch.nan], requires_grad=True)
        y = layers.AlphaDropout(1.0, mean=mean)(x)
        y.sum().backward()
        assert y.tolist() == [mean] * 3
        assert x.grad.tolist() == [0.0] * 3
        near = layers.AlphaDropout(1 - 1e-12, mean=mean)(torch.zeros(100, dtype=torch.float64))
        torch.testing.assert_close(near, torch.full_like(near, mean), rtol=0, atol=1e-5)

    @pytest.mark.parametrize("moments", [{"mean": math.inf}, {"mean": math.nan}, {"variance": 0.0}, {"variance": -1.0}])
    def test_impossible_moments_are_refused_in_the_constructor(self, moments):
        (name,) = moments
        with pytest.raises(ValueError, match=f"AlphaDropout: `{name}` must be a .* number, got"):
            layers.AlphaDropout(0.5, **moments)

    @pytest.mark.parametrize("moments", [{"mean": "a"}, {"variance": None}, {"variance": True}])
    def test_moments_that_are_no_numbers_are_refused_by_name(self, moments):
        (name,) = moments
        with pytest.raises(TypeError, match=f"AlphaDropout: `{name}` must be a number, got"):
            layers.AlphaDropout(0.5, **moments)


class TestWhatIsDropped:
    @pytest.mark.parametrize("fill", [math.inf, -math.inf, math.nan])
    def test_a_dropped_inf_or_nan_leaves_no_trace(self, fill, seed):
        x = torch.full((1000,), fill, requires_grad=True)
        y = layers.AlphaDropout(0.5, generator=torch.Generator().manual_seed(seed))(x)
        y.backward(torch.full_like(y, fill))
        plain = layers.AlphaDropout(0.5, generator=torch.Generator().manual_seed(seed))(torch.full((1000,), 5.0))
        dropped = plain < 0
        assert dropped.any()
        assert torch.equal(y[dropped], plain[dropped])
        assert not y[~dropped].isfinite().any()
        assert torch.equal(x.grad[dropped], torch.zeros_like(x.grad[dropped]))

    def test_the_dropped_value_is_the_image_of_the_limit(self, seed):
        """What is kept and what is dropped are moved by one affine map, under which the limit is the dropped value."""
        layer = layers.AlphaDropout(0.4)
        y = layer(torch.tensor([SELU_LIMIT] * 100, dtype=torch.float64))
        torch.testing.assert_close(y, y[:1].expand(100), rtol=1e-12, atol=0)

    def test_features_are_dropped_whole(self):
        y = layers.FeatureAlphaDropout(0.5)(torch.ones(16, 8, 5))
        assert torch.equal(y, y[..., :1].expand(16, 8, 5))
        assert len(y.unique()) == 2

    def test_features_need_a_channel_axis(self):
        with pytest.raises(ValueError, match=r"must have the axes \(N, C, ...\), got shape \(5,\)"):
            layers.FeatureAlphaDropout(0.5)(torch.ones(5))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_types_are_rounded_once(self, dtype, seed):
        x = torch.randn(1000).to(dtype)
        halves, floats = (
            layers.AlphaDropout(0.3, generator=torch.Generator().manual_seed(seed))(v) for v in (x, x.float())
        )
        assert torch.equal(halves, floats.to(dtype))

    def test_backward_keeps_no_more_than_the_mask(self):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
            layers.AlphaDropout(0.5)(torch.randn(100_000, requires_grad=True))
        assert sum(t.numel() * t.element_size() for t in kept) == 100_000


def test_repr_shows_the_moments_that_are_not_standard():
    assert repr(layers.AlphaDropout(0.1, variance=2.0)) == "AlphaDropout(p=0.1, variance=2.0)"
