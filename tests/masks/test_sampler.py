"""The fast sampler against exact counts: rates, independence, layouts, what is kept for backward."""

import math

import pytest
import torch
from sigmas import neighbour_sigmas, rate_sigmas, sigmas

from dropscope import masks
from dropscope.masks import noise as noises
from dropscope.masks import sampler

N = 1 << 18


class TestSampler:
    @pytest.mark.parametrize("p", [1e-4, 1 / 512, 0.1, 0.25, 0.5, 0.7, 0.999])
    @pytest.mark.parametrize(
        "n", [200, noises.FEW, noises.FEW_HALF, noises.MANY - 1, noises.MANY, N, sampler.BLOCK + 13]
    )
    def test_drops_with_probability_p_at_every_size(self, n, p, generator):
        repeats = max(1, N // n)
        dropped = [masks.drop(torch.ones(n), p, generator=generator) for _ in range(repeats)]
        assert rate_sigmas(torch.cat(dropped) != 0, p) < 6

    def test_the_remainder_off_the_grid_falls_evenly(self, generator):
        kept = torch.stack([masks.drop(torch.ones(1 << 14), 0.003, generator=generator) != 0 for _ in range(200)])
        for part in kept.chunk(8, dim=1):
            assert rate_sigmas(part, 0.003) < 6

    @pytest.mark.parametrize("p", [1.5 / 65536, 1 - 0.5 / 65536])
    def test_what_pairs_of_bytes_cannot_express_is_added(self, p, generator):
        """Without the remainder 1 / 65536 would be dropped, or kept: 6.5 standard errors or more away."""
        kept = torch.stack([masks.drop(torch.ones(7001), p, generator=generator) != 0 for _ in range(2400)])
        assert rate_sigmas(kept, p) < 5
        for part in kept.chunk(8, dim=1):
            assert rate_sigmas(part, p) < 6

    @pytest.mark.parametrize("n", [200, 7001, N])
    def test_neighbours_are_independent(self, n, generator):
        drops = [masks.drop(torch.ones(n), 0.3, generator=generator) != 0 for _ in range(N // n)]
        assert neighbour_sigmas(torch.cat(drops), 0.3) < 6

    @pytest.mark.parametrize("n", [200, 7001, N])
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_every_type_is_dropped_at_the_same_rate(self, n, dtype, generator):
        drops = [masks.drop(torch.ones(n, dtype=dtype), 0.1, generator=generator) != 0 for _ in range(N // n)]
        assert rate_sigmas(torch.cat(drops), 0.1) < 6

    def test_few_successes_are_drawn_in_several_stretches(self, monkeypatch, generator):
        monkeypatch.setattr(noises.math, "sqrt", lambda _: -3.0)  # far too few gaps in each batch
        counts = torch.tensor([(noises._successes(4000, 0.02, generator) < 4000).sum() for _ in range(400)])
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

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("n", [100, 9000])
    def test_few_kept_elements_are_rounded_once(self, n, dtype, generator):
        x = torch.randn(n, generator=generator).to(dtype)
        scale = torch.tensor(1 / 0.7, dtype=torch.float64 if dtype == torch.float64 else torch.float32).double()
        y = masks.drop(x, 0.3, generator=generator)
        assert torch.equal(y, (x.double() * scale).to(dtype) * (y != 0))

    def test_the_factor_made_in_inference_mode_serves_training(self):
        with torch.inference_mode():
            masks.drop(torch.ones(5), 0.123)
        x = torch.ones(5, requires_grad=True)
        masks.drop(x, 0.123).sum().backward()
        assert x.grad.isfinite().all()

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

    def test_a_shared_mask_in_blocks_is_that_of_the_whole_tensor(self, monkeypatch, seed):
        x = torch.randn(6000, 8, 5).transpose(0, 1)  # its strides are those of a mask of shape (8, 1, 5), too
        results = []
        for block in (1 << 6, 1 << 20):
            monkeypatch.setattr(sampler, "BLOCK", block)
            results.append(masks.drop(x, 0.5, per=(0, 2), generator=torch.Generator().manual_seed(seed)))
        assert torch.equal(*results)

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
        monkeypatch.setattr(noises, "FEW", 8)
        monkeypatch.setattr(sampler, "BLOCK", 8)
        x = torch.randn(40, dtype=torch.float64, requires_grad=True)
        state = generator.get_state()

        def f(x):
            return masks.drop(x, 0.3, generator=generator.set_state(state))

        assert torch.autograd.gradcheck(f, x, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(f, x, check_fwd_over_rev=True)

    @pytest.mark.parametrize("n", [200, noises.FEW_PAIRS + 1, noises.FEW_HALF + 1, noises.MANY])
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
    def test_what_is_kept_is_what_is_not_dropped(self, n, dtype, seed):
        first, second = (torch.Generator().manual_seed(seed) for _ in range(2))
        kept = masks.keep((n,), 0.1, dtype=dtype, generator=first)
        assert torch.equal(masks.drop(torch.ones(n, dtype=dtype), 0.1, generator=second) != 0, kept)

    @pytest.mark.parametrize(("save", "n"), [("mask", 1000), ("mask", 3000), ("seed", 1000), ("seed", 3000)])
    def test_gradients_may_come_in_a_batch(self, save, n, monkeypatch, seed):
        monkeypatch.setattr(sampler, "BLOCK", 1 << 11)
        monkeypatch.setattr(sampler, "SMALL", 1 << 9)
        x = torch.ones(n, requires_grad=True)
        y = masks.drop(x, 0.5, save=save, generator=torch.Generator().manual_seed(seed))
        upstream = torch.randn(3, n)
        (batched,) = torch.autograd.grad(y, x, upstream, is_grads_batched=True, retain_graph=True)
        mapped = torch.vmap(lambda v: torch.autograd.grad(y, x, v, retain_graph=True)[0])(upstream)
        assert torch.equal(batched, upstream * y.detach())
        assert torch.equal(mapped, batched)


class TestSeedKept:
    """`save="seed"`: the mask is drawn again for the gradient."""

    @pytest.mark.parametrize("p", [0.5, 0.1])
    @pytest.mark.parametrize("n", [100, 9000, 1 << 15, sampler.BLOCK + 5])
    def test_no_byte_is_kept_for_backward(self, n, p):
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
            x = torch.ones(n, requires_grad=True)
            y = masks.drop(x, p, save="seed")
        assert saved == []
        assert not [v for v in vars(y.grad_fn).values() if isinstance(v, torch.Tensor)]

    @pytest.mark.parametrize("p", [0.5, 0.1])
    @pytest.mark.parametrize("shape", [(10, 10), (100, 99), (3001, 201)])
    def test_the_gradient_has_the_mask_of_the_output(self, shape, p, generator):
        for x in (torch.ones(shape), torch.ones(shape[::-1]).t()):
            leaf = x.clone().requires_grad_()
            y = masks.drop(leaf, p, save="seed", generator=generator)
            y.backward(torch.ones(shape[::-1]).t(), retain_graph=True)  # not laid out like all of them
            assert torch.equal(leaf.grad, y.detach())
            assert rate_sigmas(y != 0, p) < 6

    def test_the_generator_advances_by_one_word_and_decides_the_mask(self, seed):
        first, second = (torch.Generator().manual_seed(seed) for _ in range(2))
        a, b = (masks.drop(torch.ones(5000), 0.3, save="seed", generator=g) for g in (first, second))
        assert torch.equal(a, b)
        assert torch.equal(first.get_state(), second.get_state())
        assert not torch.equal(masks.drop(torch.ones(5000), 0.3, save="seed", generator=first), a)

    # torch's own rules for forward-mode differentiation are still scripted
    @pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
    def test_it_can_be_differentiated_twice(self, generator):
        x = torch.randn(40, dtype=torch.float64, requires_grad=True)
        state = generator.get_state()

        def f(x):
            return masks.drop(x, 0.3, save="seed", generator=generator.set_state(state))

        assert torch.autograd.gradcheck(f, x, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(f, x, check_fwd_over_rev=True)

    def test_inside_per_sample_the_seeds_of_the_samples_are_kept(self, seed):
        seeds = torch.arange(8) + seed
        x = torch.ones(8, 50, requires_grad=True)
        with masks.per_sample(seeds):
            y = masks.drop(x, 0.3, save="seed")
            y.sum().backward()
        with masks.per_sample(seeds):
            assert torch.equal(masks.drop(torch.ones(8, 50), 0.3), y)
        assert torch.equal(x.grad, y.detach())
