"""What the corners of a cube hold, bit for bit."""

import math

import pytest
import torch

from dropscope.spectrum.mixtures import Design, draw_cubes, group_of


def singles(columns):
    return tuple((i,) for i in range(columns))


@pytest.mark.parametrize("columns", [3, 8, 9, 25])
def test_each_corner_takes_every_input_from_one_of_two_rows(columns, generator):
    table = torch.randn(50, columns, generator=generator)
    design = Design(table, singles(columns))
    drawn = draw_cubes(design, 20, generator)
    mixed = drawn[: design.corners]

    assert drawn.shape == (design.rows, 20, columns)
    assert ((mixed == mixed[0]) | (mixed == mixed[-1])).all()
    # A corner and its complement hold the same two values of each input.
    assert torch.equal(mixed + mixed.flip(0), (mixed[0] + mixed[-1]).expand_as(mixed))


@pytest.mark.parametrize("columns", [9, 25])
def test_groups_are_balanced_and_disjoint(columns, generator):
    design = Design(torch.randn(10_000, columns, generator=generator), singles(columns))
    mixed = draw_cubes(design, 30, generator)[: design.corners]
    toggled = torch.stack([mixed[2**j] != mixed[0] for j in range(6)])
    differ = mixed[-1] != mixed[0]

    assert torch.equal(toggled.sum(0), differ.long())
    sizes = toggled.sum(2)[:, differ.all(1)]
    assert sizes.min() >= columns // 6
    assert sizes.max() <= math.ceil(columns / 6)


def test_beside_many_blocks_single_ones_are_toggled(generator):
    """Every block is as likely as any other: a multinomial count of 3 neighbours of 3,000 cubes."""
    table = torch.randn(10**5, 37, generator=generator, dtype=torch.float64)
    design = Design(table, (*singles(35), (35, 36)))
    mixed = draw_cubes(design, 3000, generator)
    first, last, neighbours = mixed[0], mixed[design.corners - 1], mixed[design.corners :]

    differ = neighbours != first
    assert len(neighbours) == 3
    assert torch.equal(differ, differ & (neighbours == last))
    assert torch.equal(differ[..., 35], differ[..., 36])
    changed = (first != last).all(-1)
    assert (differ[:, changed, :36].sum(-1) == 1).all()

    counts = differ[..., :36].sum((0, 1))
    assert (counts - 250).abs().max() <= 6 * math.sqrt(250) + 5


def test_a_partition_is_toggled_as_it_is_and_halved_in_turn(generator):
    partition = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 2])
    table = torch.arange(50_000.0)[:, None].repeat(1, 10)
    design = Design(table, singles(10), tuple(partition.tolist()))
    mixed = draw_cubes(design, 60, generator)

    assert len(mixed) == 8 + 2
    for group in range(3):
        differ = (mixed[2**group] != mixed[0]).any(0)
        assert differ.tolist() == (partition == group).tolist()

    halves = mixed[8:] != mixed[0]
    group = group_of(60, design)
    assert not (halves[0] & halves[1]).any()
    assert torch.equal(halves[0] | halves[1], (mixed[2**group, torch.arange(60)] != mixed[0]))
    assert halves[0].any()
    assert halves[1].any()


def test_columns_of_a_block_come_from_the_same_row(generator):
    label = torch.arange(40.0)
    table = torch.stack([label, -label, label + 100], dim=1).repeat(1, 4)
    blocks = tuple((3 * i, 3 * i + 1, 3 * i + 2) for i in range(4))
    mixed = draw_cubes(Design(table, blocks), 50, generator).view(-1, 4, 3)

    assert torch.equal(mixed[..., 1], -mixed[..., 0])
    assert torch.equal(mixed[..., 2], mixed[..., 0] + 100)


@pytest.mark.parametrize("columns", [2, 9])
def test_inputs_that_are_copies_in_the_table_become_independent(columns, generator):
    column = torch.randn(1000, 1, generator=generator)
    column = (column - column.mean()) / column.std(correction=0)
    mixed = draw_cubes(Design(column.repeat(1, columns), singles(columns)), 4000, generator)

    # Corner 0 is a plain row of 4000 draws: its products have mean 0 and standard deviation 1.
    products = mixed[0, :, 0] * mixed[0, :, 1]
    assert abs(products.mean().item()) <= 5 / math.sqrt(4000)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.int64, torch.bool])
def test_values_are_copied_bit_for_bit(dtype, generator):
    table = (torch.randn(20, 9, generator=generator) * 3).to(dtype)
    mixed = draw_cubes(Design(table, singles(9)), 10, generator)

    assert mixed.dtype == dtype
    for column in range(9):
        assert torch.isin(mixed[..., column].double(), table[:, column].double()).all()


def test_infinite_and_missing_values_stay_in_their_column(generator):
    table = torch.randn(20, 9, generator=generator)
    table[:, 3], table[:, 5] = math.inf, math.nan
    mixed = draw_cubes(Design(table, singles(9)), 10, generator)

    assert mixed[..., 3].isinf().all()
    assert mixed[..., 5].isnan().all()
    assert mixed[..., [0, 1, 2, 4, 6, 7, 8]].isfinite().all()
