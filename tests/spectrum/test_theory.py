"""Closed forms against enumeration of all masks on quadrature grids."""

import itertools

import numpy as np
import pytest
import torch
from oracle import anova, legendre

from dropscope.spectrum.purification import purify
from dropscope.spectrum.theory import (
    expected_count,
    gradient_slope,
    masked_effect,
    masked_variance_ratios,
    product_variances,
    survival_factor,
)

NODES, WEIGHTS = legendre(-1, 1)


def cosine(x):
    return np.cos(1.5 * x)


MEAN = np.average(cosine(NODES), weights=WEIGHTS)
VARIANCE = np.average((cosine(NODES) - MEAN) ** 2, weights=WEIGHTS)


@pytest.fixture
def rng(seed):
    return np.random.default_rng(seed)


def test_survival_factor_counts_masks_that_keep_a_whole_interaction():
    kept = sum(all(mask[:3]) for mask in itertools.product([0, 1], repeat=5)) / 2**5
    assert survival_factor(3, 0.5) == kept


def test_expected_count_is_the_mean_over_all_masks():
    p, n, order = 0.3, 5, 2
    expected = 0.0
    for mask in itertools.product([0, 1], repeat=n):
        kept = sum(mask)
        expected += (1 - p) ** kept * p ** (n - kept) * len(list(itertools.combinations(range(kept), order)))
    assert expected_count(n, order, p) == pytest.approx(expected, rel=1e-12)


def test_product_variances_match_the_brute_force_spectrum():
    grid = np.meshgrid(NODES, NODES, NODES, indexing="ij")
    values = cosine(grid[0]) * grid[1] * np.exp(grid[2])
    factors = [cosine(NODES), NODES, np.exp(NODES)]
    means = [np.average(f, weights=WEIGHTS) for f in factors]
    variances = [np.average((f - m) ** 2, weights=WEIGHTS) for f, m in zip(factors, means, strict=True)]

    assert product_variances(means, variances) == pytest.approx(anova(values, [WEIGHTS] * 3), rel=1e-10)


def test_zero_masks_leak_high_orders_into_low_ones():
    ratios = masked_variance_ratios([MEAN] * 3, [VARIANCE] * 3, at_zero=[1.0] * 3, p=0.5)
    assert ratios == pytest.approx([0.614, 0.098, 0.015625], abs=5e-4)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_masked_ratios_match_enumeration_of_all_masks(p):
    def f(x):
        return cosine(x[0]) * np.exp(x[1]) * (x[2] + 0.3)

    grid = np.stack(np.meshgrid(NODES, NODES, NODES, indexing="ij"))
    average = 0.0
    for mask in itertools.product([0, 1], repeat=3):
        chance = (1 - p) ** sum(mask) * p ** (3 - sum(mask))
        average = average + chance * f(grid * np.reshape(mask, (3, 1, 1, 1)))
    measured = anova(average, [WEIGHTS] * 3) / anova(f(grid), [WEIGHTS] * 3)

    factors = [cosine(NODES), np.exp(NODES), NODES + 0.3]
    means = [np.average(g, weights=WEIGHTS) for g in factors]
    variances = [np.average((g - m) ** 2, weights=WEIGHTS) for g, m in zip(factors, means, strict=True)]
    assert masked_variance_ratios(means, variances, at_zero=[1.0, 1.0, 0.3], p=p) == pytest.approx(measured, rel=1e-9)


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5])
def test_resampling_keeps_exactly_q_to_the_2k(p):
    ratios = masked_variance_ratios([MEAN] * 4, [VARIANCE] * 4, at_zero=[MEAN] * 4, p=p)
    assert ratios == pytest.approx([(1 - p) ** (2 * k) for k in range(1, 5)], rel=1e-12)


def test_factors_of_different_number_are_refused():
    with pytest.raises(ValueError, match="argument 2 is longer"):
        product_variances([0.0], [1.0, 1.0])


def chance(mask, p):
    return (1 - p) ** sum(mask) * p ** (len(mask) - sum(mask))


def zeroed(values, mask, at_zero):
    """Values of a function on a grid whose dropped inputs are set to zero."""
    for axis, (kept, zero) in enumerate(zip(mask, at_zero, strict=True)):
        if not kept:
            values = np.broadcast_to(values.take([zero], axis=axis), values.shape)
    return values


class TestTheoremOne:
    @pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 4, 3), (2, 3, 2, 3), (2,) * 6])
    def test_the_leak_sums_over_proper_subsets_of_kept_inputs(self, shape, rng):
        effect, p = rng.normal(size=shape), rng.uniform()
        at_zero = [rng.integers(size) for size in shape]
        n = len(shape)

        leak = sum(
            p ** (n - sum(kept)) * (1 - p) ** sum(kept) * zeroed(effect, kept, at_zero)
            for kept in itertools.product([0, 1], repeat=n)
            if sum(kept) < n
        )
        found = masked_effect(effect, at_zero, p)
        assert np.abs(found[0] - (1 - p) ** n * effect).max() <= 1e-14
        assert np.abs(found[1] - leak).max() <= 1e-14

    def test_effects_and_leaks_add_up_to_the_average_over_all_masks(self, rng):
        values, at_zero, p = rng.normal(size=(4, 3, 5, 2)), (1, 0, 3, 1), 0.3
        averaged = sum(
            chance(mask, p) * zeroed(values, mask, at_zero) for mask in itertools.product([0, 1], repeat=values.ndim)
        )

        total = np.zeros(values.shape)
        for axes, effect in purify(values).effects.items():
            shrunk, leak = masked_effect(effect, [at_zero[axis] for axis in axes], p)
            total += np.expand_dims(shrunk + leak, [axis for axis in range(values.ndim) if axis not in axes])
        assert np.abs(total - averaged).max() <= 1e-12

    def test_the_mean_of_the_leak_is_not_zero(self, rng):
        """E a_u = p^|u| f_u(0), as pure effects have mean zero along every axis."""
        effect = purify(rng.normal(size=(4, 5))).effects[(0, 1)]
        _, leak = masked_effect(effect, (2, 3), 0.4)
        assert leak.mean() == pytest.approx(0.4**2 * effect[2, 3], rel=1e-9)

    def test_a_product_that_vanishes_at_zero_leaks_nothing(self):
        shrunk, leak = masked_effect(np.multiply.outer([0.0, 1, 2], [-3.0, 0, 5]), (0, 1), 0.25)
        assert not leak.any()
        assert shrunk[1, 2] == 0.75**2 * 5

    def test_one_index_per_axis_is_needed(self):
        with pytest.raises(ValueError, match="`at_zero` must hold 2 indices, one per dimension, got 1"):
            masked_effect(np.ones((2, 2)), [0], 0.5)


class TestGradients:
    """Exact expectations: all sign vectors, all masks, and all resampled signs."""

    N = 4
    SIGNS = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=N)), dtype=torch.float64)
    MASKS = torch.tensor(list(itertools.product([0.0, 1.0], repeat=N)), dtype=torch.float64)

    def gradient(self, order, p, masked_mean, generator):
        """Gradient of E[y mean of f over masks] in all weights of a random network; y is a product of so many signs."""
        first = torch.randn(8, self.N, generator=generator, dtype=torch.float64, requires_grad=True)
        second = torch.randn(8, generator=generator, dtype=torch.float64, requires_grad=True)

        def f(x):
            return (x @ first.T + 0.5).tanh() @ second

        loss = (self.SIGNS[:, :order].prod(1) * masked_mean(f, p)).mean()
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, (first, second))]).numpy()

    def resampled(self, f, p):
        return sum(
            chance(mask.tolist(), p) * f(torch.where(mask.bool(), self.SIGNS[:, None], self.SIGNS)).mean(1)
            for mask in self.MASKS
        )

    def zeroed(self, f, p):
        return sum(chance(mask.tolist(), p) * f(self.SIGNS * mask) for mask in self.MASKS)

    @pytest.mark.parametrize("order", [1, 2, 3, 4])
    def test_resampling_leaves_q_to_the_k_of_the_expected_gradient(self, order, seed):
        plain, masked = (
            self.gradient(order, p, self.resampled, torch.Generator().manual_seed(seed)) for p in (0.0, 0.5)
        )
        assert np.abs(masked - survival_factor(order, 0.5) * plain).max() <= 1e-12
        assert gradient_slope(masked, plain) == pytest.approx(survival_factor(order, 0.5), rel=1e-9)

    def test_zero_masks_leave_another_part_below_the_highest_order(self, seed):
        slopes = []
        for order in (1, self.N):
            plain, masked = (
                self.gradient(order, p, self.zeroed, torch.Generator().manual_seed(seed)) for p in (0.0, 0.5)
            )
            slopes.append(gradient_slope(masked, plain))
        assert abs(slopes[0] - 0.5) > 1e-6
        assert slopes[1] == pytest.approx(0.5**self.N, rel=1e-9)

    @pytest.mark.parametrize(("masked", "plain"), [([1.0], [0.0]), ([1.0], [1.0, 2.0])])
    def test_gradients_without_a_slope_are_refused(self, masked, plain):
        with pytest.raises(ValueError, match="`masked` and `plain` must have the same shape"):
            gradient_slope(masked, plain)
