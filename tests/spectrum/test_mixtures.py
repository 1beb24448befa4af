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
    mixed = draw_cubes(design, 20, generator)

    assert mixed.shape == (design.corners, 20, columns)
    assert ((mixed == mixed[0]) | (mixed == mixed[-1])).all()
    # A corner and its complement hold the same two values of each input.
    assert torch.equal(mixed + mixed.flip(0), (mixed[0] + mixed[-1]).expand_as(mixed))


@pytest.mark.parametrize("columns", [9, 25])
def test_groups_are_balanced_and_disjoint(columns, generator):
    mixed = draw_cubes(Design(torch.randn(10_000, columns, generator=generator), singles(columns)), 30, generator)
    toggled = torch.stack([mixed[2**j] != mixed[0] for j in range(6)])
    differ = mixed[-1] != mixed[0]

    assert torch.equal(toggled.sum(0), differ.long())
    sizes = toggled.sum(2)[:, differ.all(1)]
    assert sizes.min() >= columns // 6
    assert sizes.max() <= math.ceil(columns / 6)


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
