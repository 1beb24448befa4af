"""LockedDropout: the contract of every mask, packed sequences, and which elements share a draw."""

import functools

import pytest
import torch
from mask_contracts import MaskCase, MaskContract
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from dropscope import functional, layers, masks

CASES = [
    MaskCase("LockedDropout", layers.LockedDropout, shape=(9, 16, 12), per=(1, 2), batch_axis=1),
    MaskCase(
        "LockedDropout-batch-first",
        functools.partial(layers.LockedDropout, batch_first=True),
        shape=(16, 9, 12),
        per=(0, 2),
    ),
    MaskCase("LockedDropout-one-sequence", layers.LockedDropout, shape=(9, 200), per=(1,), batch_axis=None),
    MaskCase("LockedDropout-large", layers.LockedDropout, shape=(3, 300, 40), per=(1, 2), batch_axis=1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(MaskContract):
    pass


def drop(x, seed, **options):
    return functional.locked_dropout(x, 0.5, training=True, generator=torch.Generator().manual_seed(seed), **options)


class TestPackedSequences:
    lengths = (3, 6, 1, 4)

    @pytest.mark.parametrize("lengths", [(6, 4, 3, 1), lengths])
    def test_they_are_dropped_as_the_padded_ones(self, lengths, seed):
        x = torch.randn(6, 4, 50)
        y = drop(pack_padded_sequence(x, lengths, enforce_sorted=lengths[0] == 6), seed)
        inside = torch.arange(6)[:, None] < torch.tensor(lengths)
        expected = drop(x, seed).where(inside[..., None], 0)
        assert torch.equal(pad_packed_sequence(y)[0], expected)

    def test_they_stay_packed_as_they_were(self):
        x = pack_sequence([torch.ones(n, 8) for n in self.lengths], enforce_sorted=False)
        y = layers.LockedDropout(0.5)(x)
        assert all(torch.equal(a, b) for a, b in zip(x[1:], y[1:], strict=True))

    def test_eval_returns_them_themselves(self):
        x = pack_sequence([torch.ones(n, 8) for n in self.lengths], enforce_sorted=False)
        assert layers.LockedDropout(0.5).eval()(x) is x

    def test_what_is_dropped_becomes_zero_in_value_and_gradient(self, seed):
        leaves = [torch.full((n, 50), torch.inf, requires_grad=True) for n in self.lengths]
        y = drop(pack_sequence(leaves, enforce_sorted=False), seed)
        y.data.backward(torch.full_like(y.data, torch.inf))
        assert set(y.data.unique().tolist()) == {0.0, torch.inf}
        assert set(torch.cat([leaf.grad for leaf in leaves]).unique().tolist()) == {0.0, torch.inf}

    def test_p_one_gives_zeros(self):
        x = pack_sequence([torch.full((n, 8), torch.nan) for n in self.lengths], enforce_sorted=False)
        assert not layers.LockedDropout(1.0)(x).data.any()


def test_the_order_of_the_axes_changes_no_draw(seed):
    x = torch.randn(6, 4, 50)
    assert torch.equal(drop(x, seed), drop(x.transpose(0, 1), seed, batch_first=True).transpose(0, 1))


@pytest.mark.parametrize("packed", [False, True])
def test_a_sequence_with_a_seed_of_its_own_does_not_depend_on_its_batch(packed, seed):
    x, seeds, lengths = torch.randn(6, 4, 50), seed + torch.arange(4), torch.tensor([3, 6, 1, 4])

    def run(rows):
        batch = pack_padded_sequence(x[:, rows], lengths[rows], enforce_sorted=False) if packed else x[:, rows]
        with masks.per_sample(seeds[rows]):
            y = layers.LockedDropout(0.5)(batch)
        return pad_packed_sequence(y)[0] if packed else y

    rows = torch.tensor([1, 3])
    assert torch.equal(run(torch.arange(4))[:, rows], run(rows))


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 5)])
def test_other_than_sequences_are_refused(shape):
    with pytest.raises(ValueError, match="`x` must have the axes time, batch and features"):
        layers.LockedDropout(0.5)(torch.ones(shape))


def test_the_repr_shows_the_order_of_the_axes():
    assert repr(layers.LockedDropout(0.5, batch_first=True)) == "LockedDropout(p=0.5, batch_first=True)"
