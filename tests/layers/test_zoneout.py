"""Zoneout: the contract of every layer, and that it selects between two states."""

import math

import pytest
import torch
from contracts import Case, LayerContract

from dropscope import functional, layers


def expectation(layer, new, old):
    return layer.p * old + (1 - layer.p) * new


CASES = [
    Case("Zoneout", layers.Zoneout, lambda: (torch.randn(6, 30), torch.randn(6, 30)), plain=expectation),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(LayerContract):
    pass


def held(shape, p, seed):
    """Which units keep their old value under a seed."""
    source = torch.Generator().manual_seed(seed)
    return functional.zoneout(torch.zeros(shape), torch.ones(shape), p, training=True, generator=source) == 1


class TestTraining:
    def test_every_unit_is_the_old_or_the_new_one_bit_for_bit(self, seed):
        new, old = torch.randn(2, 40, 50).unbind()
        mask = held((40, 50), 0.3, seed)
        y = functional.zoneout(new, old, 0.3, training=True, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(y, torch.where(mask, old, new))

    @pytest.mark.parametrize("p", [0.05, 0.5])
    def test_a_unit_is_held_with_probability_p(self, p, seed):
        n = 200_000
        error = math.sqrt(p * (1 - p) / n)
        assert abs(held((n,), p, seed).double().mean().item() - p) <= 6 * error

    @pytest.mark.parametrize("bad", [math.inf, math.nan])
    def test_what_is_not_selected_leaks_neither_in_value_nor_in_gradient(self, bad, seed):
        mask = held((40, 50), 0.5, seed)
        new = torch.ones(40, 50).masked_fill(mask, bad).requires_grad_()
        old = torch.ones(40, 50).masked_fill(~mask, bad).requires_grad_()
        y = functional.zoneout(new, old, 0.5, training=True, generator=torch.Generator().manual_seed(seed))
        y.backward(torch.full_like(y, 2.0))
        assert torch.equal(y, torch.ones_like(y))
        assert torch.equal(new.grad, 2.0 * ~mask)
        assert torch.equal(old.grad, 2.0 * mask)

    def test_p_one_holds_everything(self):
        new, old = torch.full((5,), math.nan), torch.randn(5)
        assert torch.equal(layers.Zoneout(1.0)(new, old), old)


class TestEval:
    def test_it_is_the_exact_mean_over_all_masks(self):
        p, new, old = 0.3, torch.randn(3).double(), torch.randn(3).double()
        mean = torch.zeros(3).double()
        for bits in range(8):
            mask = torch.tensor([bits >> k & 1 for k in range(3)]).bool()
            mean += math.prod(p if held else 1 - p for held in mask.tolist()) * torch.where(mask, old, new)
        torch.testing.assert_close(functional.zoneout(new, old, p, training=False), mean, rtol=0, atol=1e-15)

    @pytest.mark.parametrize(("p", "expected"), [(0.0, 1.0), (1.0, 2.0)])
    def test_at_the_ends_the_other_side_may_be_infinite(self, p, expected):
        infinite = torch.full((2,), math.inf)
        one, two = torch.ones(2), torch.full((2,), 2.0)
        new, old = (infinite, two) if p else (one, infinite)
        assert functional.zoneout(new, old, p, training=False).tolist() == [expected] * 2

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_types_are_rounded_once(self, dtype):
        new, old = torch.randn(2, 500).to(dtype).unbind()
        expected = (0.3 * old.float() + (1 - 0.3) * new.float()).to(dtype)
        assert torch.equal(functional.zoneout(new, old, 0.3, training=False), expected)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_the_type_is_that_of_the_new_state(p, training):
    new, old = torch.ones(4, dtype=torch.bfloat16), torch.zeros(4)
    assert functional.zoneout(new, old, p, training=training).dtype == torch.bfloat16


def test_states_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"`old` must have the shape of `new`, \(2, 3\), got \(3,\)"):
        layers.Zoneout(0.5)(torch.ones(2, 3), torch.ones(3))
