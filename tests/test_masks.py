"""The laws against their declared moments, `per`, and the fast sampler against exact counts."""

import math

import pytest
import torch

from dropscope import masks
from dropscope.masks import sampler

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


def sigmas(values, expected):
    """How many standard errors the mean of the values lies from the expected one."""
    values = values.double().flatten()
    error = values.std().item() / math.sqrt(values.numel())
    return abs(values.mean().item() - expected) / error


def rate_sigmas(kept, p):
    """How many standard errors the share of dropped elements lies from p."""
    return abs((~kept).double().mean().item() - p) / math.sqrt(p * (1 - p) / kept.numel())


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


class TestSampler:
    @pytest.mark.parametrize("p", [1e-4, 1 / 512, 0.1, 0.25, 0.5, 0.7, 0.999])
    @pytest.mark.parametrize("n", [sampler.SMALL_ON_GRID - 1, sampler.SMALL - 1, N, sampler.BLOCK + 13])
    def test_drops_with_probability_p_at_every_size(self, n, p, generator):
        repeats = max(1, N // n)
        dropped = [masks.drop(torch.ones(n), p, generator=generator) for _ in range(repeats)]
        assert rate_sigmas(torch.cat(dropped) != 0, p) < 6

    def test_the_remainder_off_the_grid_falls_evenly(self, generator):
        kept = torch.stack([masks.drop(torch.ones(1 << 14), 0.003, generator=generator) != 0 for _ in range(200)])
        for part in kept.chunk(8, dim=1):
            assert rate_sigmas(part, 0.003) < 6

    def test_neighbours_are_independent(self, generator):
        kept = (masks.drop(torch.ones(N), 0.3, generator=generator) != 0).double() - 0.7
        for lag in (1, 2, 4, 8, 16, 64):
            assert sigmas(kept[:-lag] * kept[lag:], 0.0) < 6

    def test_few_successes_are_drawn_in_several_stretches(self, monkeypatch, generator):
        monkeypatch.setattr(sampler.math, "sqrt", lambda _: -3.0)  # far too few gaps in each batch
        counts = torch.tensor([(sampler._successes(4000, 0.02, generator) < 4000).sum() for _ in range(400)])
        assert sigmas(counts, 80.0) < 6

    @pytest.mark.parametrize("p", [1e-17, 1e-9, 1 - 1e-9, math.nextafter(1, 0)])
    def test_extreme_rates_lose_nothing_and_keep_nothing(self, p, generator):
        kept = (masks.drop(torch.ones(N), p, generator=generator) != 0).double().mean().item()
        assert abs(kept - (1 - p)) < 10 / N  # at most N · 1e-9 events are expected

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_kept_half_precision_elements_are_rounded_once(self, dtype, generator):
        every = torch.arange(-(1 << 15), 1 << 15).to(torch.int16).view(dtype)
        every = every[every.isfinite()]
        for p in torch.rand(20, generator=generator).tolist():
            scale = torch.tensor(1 / (1 - p), dtype=torch.float32).double()
            y = masks.drop(every, p, generator=generator)
            kept = y != 0
            assert torch.equal(y[kept], (every.double() * scale).to(dtype)[kept])

    def test_channels_last_memory_is_drawn_in_its_own_order(self, seed):
        x = torch.rand(8, 16, 16, 16) + 1
        plain = masks.drop(x.permute(0, 2, 3, 1).contiguous(), 0.5, generator=torch.Generator().manual_seed(seed))
        last = x.to(memory_format=torch.channels_last)
        y = masks.drop(last, 0.5, generator=torch.Generator().manual_seed(seed))
        assert y.stride() == last.stride()
        assert torch.equal(y, plain.permute(0, 3, 1, 2))

    @pytest.mark.parametrize("n", [1 << 15, sampler.BLOCK + 5])
    def test_one_byte_per_element_is_kept_for_backward(self, n):
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
            masks.drop(torch.ones(n, requires_grad=True), 0.3)
        assert sum(t.numel() * t.element_size() for t in saved) == n

    def test_blocks_and_the_whole_tensor_give_the_same(self, monkeypatch, seed):
        x = torch.randn(3 * 1000 + 17, 7)
        results = []
        for block in (1 << 10, 1 << 20):
            monkeypatch.setattr(sampler, "BLOCK", block)
            leaf = x.clone().requires_grad_()
            y = masks.drop(leaf, 0.3, generator=torch.Generator().manual_seed(seed))
            y.backward(torch.ones(7).expand_as(x))  # not laid out like x
            results += [(y, leaf.grad)]
        assert torch.equal(results[0][0], results[1][0])
        assert torch.equal(results[0][1], results[1][1])

    # torch's own rules for forward-mode differentiation are still scripted
    @pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
    def test_blocks_can_be_differentiated_twice(self, monkeypatch, generator):
        monkeypatch.setattr(sampler, "SMALL", 8)
        monkeypatch.setattr(sampler, "BLOCK", 8)
        x = torch.randn(40, dtype=torch.float64, requires_grad=True)
        state = generator.get_state()

        def f(x):
            return masks.drop(x, 0.3, generator=generator.set_state(state))

        assert torch.autograd.gradcheck(f, x, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(f, x, check_fwd_over_rev=True)
