"""Exact claims of the source paper: what holds as printed, and the right form of what does not."""

import itertools
from math import comb

import numpy as np
import pytest
import torch
from torch import nn

from dropscope.spectrum import purify
from dropscope.spectrum.theory import expected_count, masked_effect, survival_factor

MASKS = {n: list(itertools.product([0, 1], repeat=n)) for n in range(1, 9)}


@pytest.fixture
def rng(seed):
    return np.random.default_rng(seed)


def chance(mask, p):
    return (1 - p) ** sum(mask) * p ** (len(mask) - sum(mask))


def masked(values, mask):
    """Values on a grid, whose dropped inputs are at index 0 of their axis."""
    for axis, keep in enumerate(mask):
        values = values if keep else np.broadcast_to(values.take([0], axis), values.shape)
    return values


def expand(effect, axes, n):
    return np.expand_dims(effect, [axis for axis in range(n) if axis not in axes])


class TestTheoremOne:
    @pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
    def test_it_holds_for_any_effects_of_up_to_six_inputs(self, n, rng):
        """Effects need not be pure: the theorem is linear in each of them."""
        p = rng.uniform()
        subsets = [axes for k in range(n + 1) for axes in itertools.combinations(range(n), k)]
        effects = {axes: rng.normal(size=[3] * len(axes)) for axes in subsets}

        function = sum(np.broadcast_to(expand(effect, axes, n), [3] * n) for axes, effect in effects.items())
        averaged = sum(chance(mask, p) * masked(function, mask) for mask in MASKS[n])
        shrunk_and_leaked = sum(
            expand(sum(masked_effect(effect, [0] * len(axes), p)), axes, n) for axes, effect in effects.items()
        )
        assert np.abs(shrunk_and_leaked - averaged).max() <= 1e-10

    @pytest.mark.parametrize("left_out", ["all kept", "none kept"])
    def test_with_kept_and_dropped_exchanged_it_misses(self, left_out, rng):
        """As printed, v and u minus v have each other's weights; a proper v leaves out one end or the other."""
        effect, p = rng.normal(size=(3, 3, 3)), 0.25
        end = 3 if left_out == "all kept" else 0

        exchanged = sum(chance(mask, 1 - p) * masked(effect, mask) for mask in MASKS[3] if sum(mask) != end)
        _, leak = masked_effect(effect, (0, 0, 0), p)
        assert np.abs(exchanged - leak).max() > 1e-3

    def test_with_weights_exchanged_it_holds_at_one_half_alone(self, rng):
        effect = rng.normal(size=(3, 3, 3))
        for p in (0.5, 0.4):
            exchanged = sum(chance(mask, 1 - p) * masked(effect, mask) for mask in MASKS[3] if sum(mask) < 3)
            miss = np.abs(exchanged - masked_effect(effect, (0, 0, 0), p)[1]).max()
            assert (miss <= 1e-13) == (p == 0.5)


class TestMeanOfTheLeak:
    """Corollaries 1.2 and 1.3 take it for 0; it is p^|u| f_u(0) for independent inputs."""

    P = 0.3

    def means(self, values, law):
        """Mean of the leak and the value at zero for every pure effect."""
        for axes, effect in purify(values, law).effects.items():
            marginal = law.sum(tuple(axis for axis in range(law.ndim) if axis not in axes))
            leak = masked_effect(effect, [0] * len(axes), self.P)[1]
            yield axes, float((marginal * leak).sum()), float(effect[(0,) * len(axes)])

    def test_it_is_the_effect_at_zero_times_the_chance_of_dropping_all(self, rng):
        weights = [rng.dirichlet(np.ones(3)) for _ in range(4)]
        law = np.einsum("a,b,c,d->abcd", *weights)
        for axes, mean, at_zero in self.means(rng.normal(size=law.shape), law):
            assert mean == pytest.approx(self.P ** len(axes) * at_zero if axes else 0, abs=1e-10)

    def test_dependent_inputs_have_yet_another_mean(self, rng):
        law = np.array([[0.4, 0.1], [0.1, 0.4]])
        pair = {axes: (mean, at_zero) for axes, mean, at_zero in self.means(rng.normal(size=(2, 2)), law)}[(0, 1)]
        assert abs(pair[0] - self.P**2 * pair[1]) > 1e-3 * abs(pair[1])

    def test_no_leak_has_a_mean_where_effects_vanish_at_zero(self, rng):
        odd = np.array([0.0, -1, 1])
        values = np.multiply.outer(odd, odd) + odd[:, None]
        assert all(abs(mean) <= 1e-12 for _, mean, _ in self.means(values, np.full((3, 3), 1 / 9)))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("p", [0.0, 0.125, 0.25, 0.375, 0.5])
def test_a_product_that_vanishes_at_zero_keeps_exactly_q_to_the_k(order, p, rng):
    """Corollary 1.1. At p = 1/2 a product of four keeps 6.25 %; the 12.5 % of the text is what three keep."""
    x = rng.normal(size=order)
    average = sum(chance(mask, p) * np.prod(x * mask) for mask in MASKS[order])
    assert average == pytest.approx(survival_factor(order, p) * np.prod(x), rel=1e-12)


class TestHiddenActivations:
    """Masks on the eight units of a hidden layer, over all 256 masks, in all weights below and above it."""

    UNITS = 8

    @pytest.fixture
    def gradients(self, generator):
        """Gradient of a squared loss's cross term with each mask, of shape (2, ..., 2, weights)."""
        below, middle, above = nn.Linear(4, self.UNITS), nn.Linear(self.UNITS, 5), nn.Linear(5, 1)
        network = nn.ModuleList([below, middle, above]).double()
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator)

        x, y = (torch.randn(12, size, generator=generator, dtype=torch.float64) for size in (4, 1))
        rows = []
        for mask in MASKS[self.UNITS]:
            output = above(middle(below(x).relu() * torch.tensor(mask)).relu())
            parts = torch.autograd.grad((y * output).mean(), tuple(network.parameters()))
            rows.append(torch.cat([part.flatten() for part in parts]))
        return torch.stack(rows).numpy().reshape(*[2] * self.UNITS, -1)

    def test_effects_that_vanish_at_zeroed_units_shrink_by_q_to_the_k_and_leak_nothing(self, gradients):
        """The law of Corollary 1.3 without a rest: f_u(h) = sum over v inside u of (-1)^(|u| - |v|) f(h_v, 0)."""
        effects = gradients.copy()
        for axis in range(self.UNITS):
            effects[(slice(None),) * axis + (1,)] -= effects[(slice(None),) * axis + (0,)]

        for p in (0.1, 0.5, 0.8):
            expected = sum(chance(mask, p) * gradients[mask] for mask in MASKS[self.UNITS])
            shrunk = sum(survival_factor(sum(mask), p) * effects[mask] for mask in MASKS[self.UNITS])
            assert np.abs(shrunk - expected).max() <= 1e-12 * max(1, np.abs(gradients).max())

    def test_the_whole_gradient_is_its_shrunk_part_and_a_leak(self, gradients):
        p, zeros, all_kept = 0.3, [0] * self.UNITS, (1,) * self.UNITS
        expected = sum(chance(mask, p) * gradients[mask] for mask in MASKS[self.UNITS])
        for weight in range(0, gradients.shape[-1], 7):
            shrunk, leak = masked_effect(gradients[..., weight], zeros, p)
            assert shrunk[all_kept] + leak[all_kept] == pytest.approx(expected[weight], abs=1e-12)


class TestCountOfInteractions:
    @pytest.mark.parametrize("p", [0.0, 0.125, 0.5])
    def test_it_is_the_mean_over_all_masks_of_25_inputs(self, p):
        for order in range(1, 26):
            mean = sum(comb(25, kept) * (1 - p) ** kept * p ** (25 - kept) * comb(kept, order) for kept in range(26))
            assert expected_count(25, order, p) == pytest.approx(mean, rel=1e-12)

    def test_growth_and_decay_do_not_cancel_below_high_rates(self):
        """With 25 inputs and p = 1/2 most intact interactions have order 8; from p = 1 - 2/24 on, order 1."""
        counts = [expected_count(25, order, 0.5) for order in range(1, 26)]
        assert np.argmax(counts) + 1 == 8
        assert expected_count(25, 2, 0.91) > expected_count(25, 1, 0.91)
        assert expected_count(25, 2, 0.92) < expected_count(25, 1, 0.92)


class TestWhatAnInteractionIs:
    @pytest.mark.parametrize("r", [0.01, 0.99])
    def test_under_the_product_of_the_marginals_a_product_is_pure_whatever_the_correlation(self, r):
        """Under the joint law, of the same marginals, it is 4 r^2 / (1 + r^2)^2 main effects: test_purification.py."""
        one = np.linspace(-4, 4, 41)
        joint = np.exp(-(one[:, None] ** 2 - 2 * r * np.outer(one, one) + one**2) / (2 * (1 - r**2)))
        marginals = np.outer(joint.sum(1), joint.sum(0))
        assert purify(np.outer(one, one), marginals).share == pytest.approx([0, 1], abs=1e-12)

    def test_a_pure_pair_effect_of_booleans_is_a_weighted_xor(self, rng):
        law = rng.dirichlet(np.ones(4)).reshape(2, 2) + 0.05
        effect = purify(rng.normal(size=(2, 2)), law, tolerance=1e-14).effects[(0, 1)]
        xor = effect * law * np.array([[1, -1], [-1, 1]])
        assert xor == pytest.approx(np.full((2, 2), xor[0, 0]), abs=1e-10)
