"""What the corners of a cube hold, bit for bit."""

import math

import pytest
import torch

from dropscope.spectrum.mixtures import Design, draw_cubes


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


def test_neighbours_differ_from_the_first_corner_in_one_block(generator):
    """Every block is as likely as any other: a multinomial count of 3 neighbours of 3000 cubes."""
    table = torch.randn(10**6, 10, generator=generator, dtype=torch.float64)
    design = Design(table, (*singles(8), (8, 9)))
    mixed = draw_cubes(design, 3000, generator)
    first, last, neighbours = mixed[0], mixed[design.corners - 1], mixed[design.corners :]

    differ = neighbours != first
    assert torch.equal(differ, differ & (neighbours == last))
    assert torch.equal(differ[..., 8], differ[..., 9])
    assert torch.equal(differ[..., :9].sum(-1), (first != last)[:, :9].all(-1).expand(3, 3000).long())

    counts = differ[..., :9].sum((0, 1))
    assert (counts - 1000).abs().max() <= 5 * math.sqrt(9000 * 8 / 81)


def test_a_partition_is_toggled_as_it_is(generator):
    partition = (0, 1, 2, 0, 1, 2, 0, 1, 2, 2)
    design = Design(torch.arange(5000.0)[:, None].repeat(1, 10), singles(10), partition)
    mixed = draw_cubes(design, 40, generator)

    assert len(mixed) == 8
    for group in range(3):
        differ = (mixed[2**group] != mixed[0]).any(0)
        assert differ.tolist() == [owner == group for owner in partition]


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
