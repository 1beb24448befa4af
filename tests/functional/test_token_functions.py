"""Dropped tokens and heads: which are kept, how many, and in which order."""

import itertools
import math
from collections import Counter

import pytest
import torch

from dropscope import functional


def tokens(n: int, length: int, *rest: int) -> torch.Tensor:
    """Sequences whose every element is the position of its token, from 1."""
    return (torch.arange(length) + 1.0).view(1, length, *[1] * len(rest)).repeat(n, 1, *rest)


class TestBernoulliTokens:
    @pytest.mark.parametrize("first", [0, 1, 3])
    def test_the_first_tokens_stay_as_they_are(self, first, generator):
        x = torch.randn(200, 10, 4)
        y = functional.token_dropout(x, 0.5, training=True, keep_first=first, generator=generator)
        ratio = y / x
        assert torch.equal(y[:, :first], x[:, :first])
        assert set(ratio[:, first:].unique().tolist()) == {0.0, 2.0}
        assert torch.equal(ratio, ratio[..., :1].expand_as(ratio))

    def test_the_mask_says_which_were_kept(self, generator):
        x = torch.randn(50, 10, 4)
        y, kept = functional.token_dropout(x, 0.5, training=True, return_indices=True, generator=generator)
        assert kept.dtype == torch.bool
        assert torch.equal(kept, (y != 0).all(2))

    def test_each_token_is_dropped_with_probability_p(self, generator):
        p, n = 0.3, 20_000
        y = functional.token_dropout(torch.ones(n, 6, 1), p, training=True, generator=generator)
        rates = (y == 0).double().mean((0, 2))
        assert rates[0] == 0
        assert ((rates[1:] - p).abs() <= 5 * math.sqrt(p * (1 - p) / n)).all()

    @pytest.mark.parametrize("fill", [math.inf, math.nan])
    def test_a_dropped_inf_or_nan_becomes_zero(self, fill):
        x = torch.full((3, 6, 4), fill, requires_grad=True)
        y = functional.token_dropout(x, 1.0, training=True, keep_first=2)
        y.backward(torch.ones_like(y))
        assert not y[:, 2:].any()
        assert not x.grad[:, 2:].any()
        assert torch.equal(x.grad[:, :2], torch.ones(3, 2, 4))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_types_are_rounded_once(self, dtype, seed):
        x = torch.randn(50, 10, 4).to(dtype)
        half, wide = (
            functional.token_dropout(v, 0.1, training=True, generator=torch.Generator().manual_seed(seed))
            for v in (x, x.float())
        )
        assert torch.equal(half, wide.to(dtype))


class TestFixedTokens:
    @pytest.mark.parametrize(
        ("length", "first", "p", "left"),
        [(9, 1, 0.5, 5), (10, 1, 0.3, 7), (10, 0, 0.99, 1), (10, 2, 1.0, 2), (10, 10, 0.5, 10), (6, 1, 0.0, 6)],
    )
    def test_so_many_are_kept_in_their_order(self, length, first, p, left, generator):
        x = tokens(100, length, 4, 3)
        y, kept = functional.token_dropout(
            x, p, training=True, keep_first=first, count="fixed", return_indices=True, generator=generator
        )
        assert y.shape == (100, left, 4, 3)
        assert kept.shape == (100, left)
        assert torch.equal(y[:, :, 0, 0].long() - 1, kept)
        assert torch.equal(y, y[..., :1, :1].expand_as(y))
        assert torch.equal(kept[:, :first], torch.arange(first).expand(100, first))
        assert (kept.diff(dim=1) > 0).all()

    def test_every_subset_is_equally_likely(self, generator):
        n = 30_000
        _, kept = functional.token_dropout(
            torch.ones(n, 6, 1), 0.6, training=True, count="fixed", return_indices=True, generator=generator
        )
        found = Counter(map(tuple, kept.tolist()))
        subsets = [(0, *pair) for pair in itertools.combinations(range(1, 6), 2)]
        error = math.sqrt(0.1 * 0.9 / n)
        assert set(found) == set(subsets)
        assert all(abs(found[subset] / n - 0.1) <= 5 * error for subset in subsets)

    def test_gradients_reach_the_kept_tokens_alone(self, generator):
        x = torch.randn(20, 9, 4, requires_grad=True)
        y, kept = functional.token_dropout(
            x, 0.5, training=True, count="fixed", return_indices=True, generator=generator
        )
        y.sum().backward()
        assert torch.equal(x.grad, torch.zeros(20, 9).scatter(1, kept, 1.0)[..., None].expand_as(x))


class TestArguments:
    def test_without_training_everything_is_kept(self):
        x = torch.randn(3, 5, 2)
        assert functional.token_dropout(x, 0.5, training=False) is x
        y, kept = functional.token_dropout(x, 0.5, training=False, return_indices=True)
        assert y is x
        assert torch.equal(kept, torch.ones(3, 5, dtype=torch.bool))
        y, kept = functional.token_dropout(x, 0.5, training=False, count="fixed", return_indices=True)
        assert y is x
        assert torch.equal(kept, torch.arange(5).expand(3, 5))

    @pytest.mark.parametrize("options", [{"keep_first": -1}, {"keep_first": True}, {"count": "half"}])
    def test_bad_options_are_refused(self, options):
        (name,) = options
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            functional.token_dropout(torch.ones(2, 3, 4), 0.5, training=False, **options)

    @pytest.mark.parametrize("shape", [(5,), (2, 3)])
    def test_too_few_tokens_are_refused(self, shape):
        with pytest.raises(ValueError, match=r"`x` must have shape \(N, T, \.\.\.\) with T >= 4"):
            functional.token_dropout(torch.ones(shape), 0.5, training=True, keep_first=4)


class TestHeadDropout:
    @pytest.mark.parametrize(("shape", "axis"), [((40, 8, 5, 3), 1), ((40, 5, 8, 3), 2), ((40, 5, 8, 3), -2)])
    def test_whole_heads_of_each_sample_are_dropped(self, shape, axis, generator):
        y = functional.head_dropout(torch.ones(shape), 0.5, training=True, axis=axis, generator=generator)
        heads = y.movedim(axis, 1).flatten(2)
        assert torch.equal(heads, heads[..., :1].expand_as(heads))
        assert set(heads.unique().tolist()) == {0.0, 2.0}
        assert len(heads[:, :, 0].unique(dim=0)) > 1

    @pytest.mark.parametrize("axis", [0, 4, -4])
    def test_an_axis_without_heads_is_refused(self, axis):
        with pytest.raises(ValueError, match="`per` must name"):
            functional.head_dropout(torch.ones(2, 3, 4, 5), 0.5, training=True, axis=axis)
