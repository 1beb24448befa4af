"""The attention functions: their weights against torch's kernels, and what they refuse."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as torchs

from dropscope import functional


def heads(length, count=4, size=8):
    return torch.randn(2, count, length, size, dtype=torch.float64, requires_grad=True)


ALLOWED = torch.tensor([[True, False, True, True, False], [False, True, False, False, False], [True] * 5])
OPTIONS = [
    {},
    {"is_causal": True},
    {"scale": 0.3},
    {"scale": 0.0},
    {"attn_mask": ALLOWED},
    {"attn_mask": torch.linspace(-2, 2, 15, dtype=torch.float64).view(3, 5)},
    {"attn_mask": ALLOWED.expand(2, 1, 3, 5)},
]


class TestWeights:
    @pytest.mark.parametrize("options", OPTIONS)
    def test_times_the_values_they_are_torchs_attention(self, options):
        query, key, value = heads(3), heads(5), heads(5)
        ours = functional.attention_weights(query, key, **options) @ value
        theirs = torchs(query, key, value, **options)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        ours_grad, theirs_grad = (torch.autograd.grad((y**2).sum(), (query, key, value)) for y in (ours, theirs))
        torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-10, atol=1e-10)

    def test_keys_shared_by_several_heads(self):
        query, key, value = heads(3), heads(5, 2), heads(5, 2)
        theirs = torchs(query, key, value, enable_gqa=True)
        weights = functional.attention_weights(query, key, enable_gqa=True)
        torch.testing.assert_close(weights @ value.repeat_interleave(2, 1), theirs, rtol=1e-12, atol=1e-12)
        near = functional.scaled_dot_product_attention(query, key, value, 1e-12, training=True, enable_gqa=True)
        torch.testing.assert_close(near, theirs, rtol=1e-10, atol=1e-10)

    def test_they_need_no_batch(self):
        query, key = heads(3)[0, 0], heads(5)[0, 0]
        expected = torch.softmax(query @ key.T / 8**0.5, -1)
        torch.testing.assert_close(functional.attention_weights(query, key), expected, rtol=1e-12, atol=0)

    @pytest.mark.parametrize("boolean", [True, False])
    def test_a_query_that_may_see_no_key_has_zeros_and_a_finite_gradient(self, boolean):
        query, key, allowed = heads(3), heads(5), ALLOWED.clone()
        allowed[0] = False
        mask = allowed if boolean else torch.zeros(3, 5, dtype=torch.float64).masked_fill(~allowed, -torch.inf)
        weights = functional.attention_weights(query, key, attn_mask=mask)
        weights.square().sum().backward()
        assert weights[..., 0, :].eq(0).all()
        assert query.grad.isfinite().all()
        assert query.grad[..., 0, :].eq(0).all()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_softmax_of_half_types_is_rounded_once(self, dtype):
        query, key = heads(3).to(dtype), heads(5).to(dtype)
        scores = (query * 8**-0.5) @ key.transpose(-2, -1)
        assert torch.equal(functional.attention_weights(query, key), scores.float().softmax(-1).to(dtype))


class TestAttention:
    @pytest.mark.parametrize("options", [{"training": False, "p": 0.5}, {"training": True, "p": 0.0}])
    def test_where_nothing_is_dropped_it_is_torchs_own_kernel(self, options):
        query, key, value = heads(3), heads(5), heads(5)
        ours = functional.scaled_dot_product_attention(query, key, value, **options)
        assert torch.equal(ours, torchs(query, key, value))

    def test_a_dropped_weight_that_is_nan_or_inf_becomes_zero(self):
        query, value = torch.full((1, 200, 4), torch.inf), torch.ones(1, 1, 4)
        y = functional.scaled_dot_product_attention(query, value, value, 0.5, training=True)
        assert y.eq(0).any()
        assert (y.eq(0) | y.isnan()).all()

    def test_p_one_attends_to_nothing(self):
        query, key, value = heads(3), heads(5), heads(5)
        y = functional.scaled_dot_product_attention(query, key, value, 1.0, training=True)
        grads = torch.autograd.grad(y.sum(), (query, key, value))
        assert y.eq(0).all()
        assert all(g.eq(0).all() for g in grads)

    @pytest.mark.parametrize("p", [0.0, 0.5])
    def test_a_mask_and_the_causal_rule_together_are_refused(self, p):
        query, key = heads(3), heads(5)
        with pytest.raises(ValueError, match="`is_causal` must be False where `attn_mask` is given"):
            functional.scaled_dot_product_attention(
                query, key, key, p, training=True, attn_mask=ALLOWED, is_causal=True
            )

    def test_training_must_be_said(self):
        with pytest.raises(TypeError, match="training"):
            functional.scaled_dot_product_attention(heads(3), heads(5), heads(5), 0.5)
