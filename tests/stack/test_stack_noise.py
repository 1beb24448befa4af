"""Masks drop with exactly the probability asked for, table columns fall together, batches are permutations."""

import math

import pytest
import torch
from small_tables import shape

from dropscope.stack.noise import AHEAD, Batches, Noise, draw_keep_, sparse_positions

SIGMAS = 5


def within(count, trials, p):
    """Whether a count of successes lies within five standard errors of its mean."""
    return abs(count - trials * p) <= SIGMAS * math.sqrt(trials * p * (1 - p))


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.001, 1 / 256, 0.9, 0.999])
def test_masks_drop_with_exactly_this_probability(p, generator):
    words = torch.empty(1_000_000, dtype=torch.int64)
    draw_keep_(words, p, generator)
    keep = words.view(torch.int8)

    assert set(keep.unique().tolist()) <= {0, 1}
    assert within(int((keep == 0).sum()), len(keep), p)
    # Neighbours are independent: both dropped with probability p squared.
    both = int(((keep[::2] == 0) & (keep[1::2] == 0)).sum())
    assert within(both, len(keep) // 2, p * p)


def test_zero_keeps_everything_and_draws_nothing(generator):
    before = generator.get_state()
    words = torch.zeros(100, dtype=torch.int64)
    draw_keep_(words, 0.0, generator)
    assert torch.equal(words.view(torch.int8), torch.ones(800, dtype=torch.int8))
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("p", [0.003, 0.0001])
def test_sparse_positions_are_distinct_in_range_and_uniform(p, generator):
    size = 2_000_000
    positions = sparse_positions(size, p, generator)
    assert torch.equal(positions, positions.unique())
    assert positions.min() >= 0
    assert positions.max() < size
    for half in positions.split_with_sizes([n := int((positions < size // 2).sum()), len(positions) - n]):
        assert within(len(half), size // 2, p)


def test_sparse_positions_can_be_the_first_and_the_last(generator):
    draws = [sparse_positions(4, 0.5, generator).tolist() for _ in range(200)]
    assert {position for draw in draws for position in draw} == {0, 1, 2, 3}


def test_encoded_columns_of_one_table_column_fall_together(make_member):
    form = shape(columns=(0, 1, 1, 2, 2, 2), width=16)
    member = make_member(p_input=0.5, p_hidden=0.25)
    batches = Batches(member.fit, torch.Generator().manual_seed(member.seed))
    noise = Noise([member], [batches], form, 50, torch.float32)
    keep = torch.cat([noise.step("cpu").inputs[0] for _ in range(40)])

    assert torch.equal(keep[:, 1], keep[:, 2])
    assert torch.equal(keep[:, 3], keep[:, 4])
    assert torch.equal(keep[:, 3], keep[:, 5])
    for first, second in [(0, 1), (1, 3), (0, 3)]:
        assert within(int((keep[:, first] != keep[:, second]).sum()), len(keep), 0.5)


def test_every_step_and_layer_has_its_own_masks(make_member):
    member = make_member(p_input=0.5, p_hidden=0.5)
    batches = Batches(member.fit, torch.Generator().manual_seed(member.seed))
    noise = Noise([member], [batches], shape(depth=2), 50, torch.float32)
    masks = [mask.clone() for _ in range(2 * AHEAD) for mask in noise.step("cpu").hidden]
    for i, first in enumerate(masks):
        for second in masks[:i]:
            assert within(int((first != second).sum()), first.numel(), 0.5)


def test_batches_are_full_and_every_permutation_uses_each_row_once(generator):
    rows = torch.tensor([3, 5, 8, 13, 21])
    batches = Batches(rows, generator)
    stream = torch.cat([batches.take(count) for count in (7, 3, 15)])
    assert len(stream) == 25
    for permutation in stream.split(5):
        assert torch.equal(permutation.sort().values, rows)


def test_masks_do_not_change_the_batches(make_member):
    plain, dropped = make_member(seed=7), make_member(seed=7, p_input=0.3, p_hidden=0.5)
    streams = []
    for member in (plain, dropped):
        batches = Batches(torch.arange(90), torch.Generator().manual_seed(member.seed))
        noise = Noise([member], [batches], shape(), 20, torch.float32)
        streams.append(torch.stack([noise.step("cpu").rows.clone() for _ in range(20)]))
    assert torch.equal(*streams)
