"""The laws against their declared moments, and `per`."""

import math

import pytest
import torch
from sigmas import sigmas

from dropscope import masks

LAWS = [
    masks.Bernoulli(0.0),
    masks.Bernoulli(0.25),
    masks.Bernoulli(0.1),
    masks.Bernoulli(1.0),
    masks.Gaussian(0.3),
    masks.Uniform(0.4),
    masks.Concrete(0.1, 0.1),
    masks.Concrete(0.2, 0.7),
    masks.Concrete(0.8, 2.0),
]
N = 1 << 18


class TestLaws:
    @pytest.mark.parametrize("law", LAWS, ids=str)
    def test_mean_and_variance_are_the_declared_ones(self, law, generator):
        draws = law.sample((N,), dtype=torch.float64, generator=generator)
        if law.variance == 0:
            assert (draws == law.mean).all()
            return
        assert sigmas(draws, law.mean) < 6
        assert sigmas((draws - law.mean) ** 2, law.variance) < 6

    @pytest.mark.parametrize("law", LAWS, ids=str)
    def test_a_sample_is_the_bare_mask_times_the_scale(self, law, seed):
        bare, scaled = (
            law.sample((50, 60), scaled=s, generator=torch.Generator().manual_seed(seed)) for s in (False, True)
        )
        assert torch.equal(scaled, bare * law.scale)

    def test_the_bare_bernoulli_mask_is_zeros_and_ones(self, generator):
        assert masks.Bernoulli(0.3).sample((N,), scaled=False, generator=generator).unique().tolist() == [0, 1]

    def test_the_uniform_law_fills_its_interval(self, generator):
        draws = masks.Uniform(0.25).sample((N,), generator=generator)
        assert draws.min() >= 0
        assert draws.max() <= 2
        assert draws.max() - draws.min() > 2 - 40 * 2 / N  # P(miss) < 2 · exp(-20)

    def test_concrete_tends_to_bernoulli_as_it_cools(self):
        law = masks.Concrete(0.3, 1e-6)
        assert law.mean == pytest.approx(1, abs=1e-9)
        assert law.variance == pytest.approx(masks.Bernoulli(0.3).variance, rel=1e-5)

    @pytest.mark.parametrize(("p", "side"), [(0.2, -1), (0.8, 1)])
    def test_the_mean_of_concrete_is_pulled_towards_a_half(self, p, side):
        assert (masks.Concrete(p, 0.5).mean - 1) * side > 0.01

    def test_concrete_at_half_and_temperature_one_is_a_uniform_mask(self):
        law = masks.Concrete(0.5, 1.0)
        assert law.mean == pytest.approx(1)
        assert law.variance == pytest.approx(4 / 12)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("law", LAWS, ids=str)
    def test_the_type_asked_for_is_the_type_given(self, law, dtype):
        assert law.sample((3, 4), dtype=dtype).dtype == dtype

    def test_laws_are_frozen_and_compare_by_value(self):
        assert masks.Gaussian(0.2) == masks.Gaussian(0.2) != masks.Uniform(0.2)
        with pytest.raises(AttributeError):
            masks.Gaussian(0.2).p = 0.3

    @pytest.mark.parametrize("p", [1.0, 1.5, -0.1, math.nan])
    @pytest.mark.parametrize("law", [masks.Gaussian, masks.Uniform, lambda p: masks.Concrete(p, 0.1)])
    def test_laws_of_infinite_variance_at_one_refuse_it(self, law, p):
        with pytest.raises(ValueError, match=r"`p` must be in \[0, 1\), got"):
            law(p)

    @pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
    def test_concrete_refuses_a_temperature_that_is_not_positive(self, temperature):
        with pytest.raises(ValueError, match="`temperature` must be a positive number"):
            masks.Concrete(0.5, temperature)


class TestPer:
    @pytest.mark.parametrize(
        ("per", "expected"),
        [(None, (2, 3, 4)), ((0,), (2, 1, 1)), ((0, 2), (2, 1, 4)), ((-1, 0), (2, 1, 4)), ((), (1, 1, 1))],
    )
    @pytest.mark.parametrize("law", LAWS, ids=str)
    def test_named_axes_get_their_own_draw(self, law, per, expected):
        assert law.sample((2, 3, 4), per=per).shape == expected

    @pytest.mark.parametrize("per", [(3,), (-4,), (0, 7)])
    def test_an_axis_out_of_range_is_refused(self, per):
        with pytest.raises(ValueError, match="must name axes of a tensor with 3 axes"):
            masks.draw_shape((2, 3, 4), per)

    @pytest.mark.parametrize("per", [(0, 0), (0, -3)])
    def test_an_axis_named_twice_is_refused(self, per):
        with pytest.raises(ValueError, match="each axis once"):
            masks.draw_shape((2, 3, 4), per)

    @pytest.mark.parametrize("per", [0, "01", (0.0,), (True,)])
    def test_anything_but_a_tuple_of_integers_is_refused(self, per):
        with pytest.raises(TypeError, match="must be None or a tuple of axes"):
            masks.draw_shape((2, 3, 4), per)
