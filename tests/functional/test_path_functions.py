"""Dropped paths: the same law and draws whether computed or skipped, and what skipped parameters get."""

import math

import pytest
import torch
from torch import nn

from dropscope import functional


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Counted(nn.Module):
    """A linear layer with a nonlinearity that remembers how many samples it was given."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.seen: list[int] = []

    def forward(self, x, *args, **kwargs):
        self.seen.append(len(x))
        self.passed = args, kwargs
        return self.linear(x).tanh()


class TestDropPath:
    def test_draws_once_per_sample(self, seed):
        y = functional.drop_path(torch.ones(200, 3, 4), 0.5, training=True, generator=seeded(seed))
        assert torch.equal(y, y[:, :1, :1].expand_as(y))
        assert set(y.unique().tolist()) == {0.0, 2.0}

    def test_draws_once_per_batch_with_no_axis(self, seed):
        generator = seeded(seed)
        factors = [
            functional.drop_path(torch.ones(20, 3), 0.25, training=True, per=(), generator=generator).unique()
            for _ in range(100)
        ]
        assert all(len(values) == 1 for values in factors)
        assert set(torch.cat(factors).tolist()) == {0.0, torch.tensor(4 / 3).item()}


class TestStochasticDepth:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("p", [0.0, 0.3, 0.9, 1.0])
    def test_equals_drop_path_of_the_whole_branch_in_value_and_gradient(self, p, dtype, seed):
        branch, x = Counted().to(dtype), torch.randn(64, 6, dtype=dtype, requires_grad=True)
        skipped = functional.stochastic_depth(branch, x, p, training=True, generator=seeded(seed))
        whole = x + functional.drop_path(branch(x), p, training=True, generator=seeded(seed))
        wanted = [x, *branch.parameters()]
        pairs = zip(
            [skipped, *torch.autograd.grad(skipped.square().sum(), wanted)],
            [whole, *torch.autograd.grad(whole.square().sum(), wanted)],
            strict=True,
        )
        for found, expected in pairs:
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max()))

    def test_equals_drop_path_bitwise_where_the_branch_is_elementwise(self, seed):
        x = torch.randn(64, 5, 4)
        skipped = functional.stochastic_depth(torch.sin, x, 0.5, training=True, generator=seeded(seed))
        whole = x + functional.drop_path(torch.sin(x), 0.5, training=True, generator=seeded(seed))
        assert torch.equal(skipped, whole)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_types_are_scaled_in_single_precision(self, dtype, seed):
        """x = 0, so that y is the scaled branch: `1 / q` itself must not be rounded to a half type."""
        ones = torch.linspace(1, 2, 64, dtype=dtype)
        y = functional.stochastic_depth(
            lambda x: ones.expand_as(x), torch.zeros(20, 64, dtype=dtype), 0.3, training=True, generator=seeded(seed)
        )
        kept = y.any(1)
        assert kept.any()
        assert torch.equal(y[kept], (ones.double() / 0.7).to(dtype).expand_as(y[kept]))

    def test_computes_the_branch_for_the_kept_samples_alone(self, seed):
        branch, x = Counted(), torch.randn(500, 6)
        y = functional.stochastic_depth(branch, x, 0.3, training=True, generator=seeded(seed))
        changed = (y != x).any(1).sum().item()
        assert branch.seen == [changed]
        assert abs(changed - 350) <= 6 * math.sqrt(500 * 0.3 * 0.7)

    def test_gives_zero_gradients_where_nothing_is_kept(self):
        branch, x = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)), torch.randn(8, 6)
        y = functional.stochastic_depth(branch, x, 1.0, training=True)
        assert torch.equal(y, x)
        y.sum().backward()
        assert all(torch.equal(v.grad, torch.zeros_like(v)) for v in branch.parameters())
        assert branch[1].num_batches_tracked == 0

    def test_takes_an_empty_batch(self):
        branch = Counted()
        y = functional.stochastic_depth(branch, torch.randn(0, 6), 0.5, training=True)
        assert y.shape == (0, 6)
        y.sum().backward()
        assert not branch.linear.weight.grad.any()

    def test_a_skipped_inf_or_nan_leaves_no_trace(self, seed):
        def broken(x):
            return x * math.inf

        y = functional.stochastic_depth(broken, torch.ones(100, 2), 0.5, training=True, generator=seeded(seed))
        assert set(y.unique().tolist()) == {1.0, math.inf}

    def test_keeps_the_type_of_the_input_under_autocast(self):
        branch, x = Counted(), torch.randn(32, 6)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = functional.stochastic_depth(branch, x, 0.5, training=True)
        assert y.dtype == torch.float32

    def test_needs_a_batch(self):
        with pytest.raises(ValueError, match="must name axes of a tensor with 0 axes"):
            functional.stochastic_depth(torch.sin, torch.tensor(1.0), 0.5, training=True)


class TestLayerDrop:
    def test_skips_layers_for_the_whole_batch_without_rescaling(self, generator):
        """Layer i adds 2^i, so that the sum tells which were kept: each with probability q, all independent."""
        layers = [lambda x, i=i: x + 2**i for i in range(8)]
        sums = [
            functional.layer_drop(layers, torch.zeros(3), 0.3, training=True, generator=generator) for _ in range(2000)
        ]
        assert all(torch.equal(s, s[:1].expand(3)) for s in sums)
        kept = torch.stack(sums)[:, :1].long().bitwise_and(2 ** torch.arange(8)).bool().double()
        assert ((kept.mean(0) - 0.7).abs() <= 5 * math.sqrt(0.3 * 0.7 / 2000)).all()
        products = (kept[:, 1:] - 0.7) * (kept[:, :-1] - 0.7)
        assert (products.mean(0).abs() <= 5 * 0.3 * 0.7 / math.sqrt(2000)).all()

    def test_does_not_run_what_it_skips(self, seed):
        layers = nn.ModuleList(Counted() for _ in range(20))
        functional.layer_drop(layers, torch.randn(4, 6), 0.5, training=True, generator=seeded(seed))
        calls = [len(layer.seen) for layer in layers]
        assert 0 < sum(calls) < 20

    def test_gives_zero_gradients_to_what_it_skips(self):
        layers = nn.ModuleList(Counted() for _ in range(3))
        y = functional.layer_drop(layers, torch.randn(4, 6), 1.0, training=True)
        y.sum().backward()
        assert all(torch.equal(v.grad, torch.zeros_like(v)) for v in layers.parameters())

    @pytest.mark.parametrize("p", [0.0, 0.5])
    def test_passes_further_arguments_to_each_layer(self, p):
        layer = Counted()
        functional.layer_drop([layer], torch.randn(4, 6), p, "mask", training=p > 0, scale=2)
        functional.layer_drop([layer], torch.randn(4, 6), 0.0, "mask", training=True, scale=2)
        assert layer.passed == (("mask",), {"scale": 2})

    @pytest.mark.parametrize("training", [True, False])
    def test_goes_on_with_the_first_item_of_a_tuple(self, training):
        y = functional.layer_drop([lambda x: (x + 1, "weights")] * 3, torch.zeros(2), 0.0, training=training)
        assert torch.equal(y, torch.full((2,), 3.0))
