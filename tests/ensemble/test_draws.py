"""The masks of passes: a function of seed, pass, draw and row, at exactly the rate asked for."""

import math

import pytest
import torch
from sigmas import neighbour_sigmas, rate_sigmas

from dropscope import masks
from dropscope.ensemble.draws import Passes
from dropscope.ensemble.source import layout_of
from dropscope.masks import rows

RATES = [0.5, 0.2, 0.25, 0.1, 1e-3, 0.997]


def kept(shape, p, passes=(0,), first_row=0, n_rows=None, seed=5, shared=False, draw=1):
    with rows.using(Passes(seed, passes, first_row, n_rows or shape[0] // len(passes), shared=shared)):
        for _ in range(draw):
            drawn = masks.keep(shape, p)
        return drawn


@pytest.mark.parametrize("p", RATES)
@pytest.mark.parametrize("width", [512, 50])
def test_rates_and_neighbours(p, width, seed):
    drawn = kept((4000, width), p, (3, 4), seed=seed)
    assert rate_sigmas(drawn, p) < 5
    if 0.05 < p < 0.95:
        assert neighbour_sigmas(drawn, p) < 5.5
        for other in (kept((4000, width), p, (5, 6), seed=seed), kept((4000, width), p, (3, 4), seed=seed, draw=2)):
            both = (~drawn & ~other).double().mean().item()
            assert abs(both - p * p) / math.sqrt(p * p * (1 - p * p) / drawn.numel()) < 5


@pytest.mark.parametrize("p", RATES)
def test_a_row_of_a_pass_is_the_same_wherever_it_stands(p, seed):
    whole = kept((4 * 50, 7, 9), p, range(4), seed=seed).view(4, 50, 7, 9)
    for first, count in ((0, 50), (13, 1), (20, 30)):
        part = kept((2 * count, 7, 9), p, (1, 3), first_row=first, seed=seed).view(2, count, 7, 9)
        assert torch.equal(part, whole[[1, 3], first : first + count])


def test_shared_masks_are_those_of_every_row_and_differ_between_passes(seed):
    drawn = kept((3 * 10, 40), 0.3, range(3), shared=True, seed=seed).view(3, 10, 40)
    assert torch.equal(drawn, drawn[:, :1].expand_as(drawn))
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(kept((5, 40), 0.3, (2,), first_row=7, shared=True, seed=seed), drawn[2, :5])


def test_seeds_draws_and_signs_of_seeds_matter():
    first = kept((10, 100), 0.5)
    assert torch.equal(first, kept((10, 100), 0.5))
    for other in (kept((10, 100), 0.5, seed=6), kept((10, 100), 0.5, seed=-5), kept((10, 100), 0.5, draw=2)):
        assert not torch.equal(first, other)


def test_numbers_of_other_laws_follow_the_rows_too():
    def normal(passes, first_row, n_rows, shared=False):
        with rows.using(Passes(5, passes, first_row, n_rows, shared=shared)):
            return masks.normal((len(passes) * n_rows, 6))

    whole = normal(range(3), 0, 8).view(3, 8, 6)
    assert torch.equal(normal([2], 3, 2), whole[2, 3:5])
    assert torch.equal(*normal([2], 0, 2, shared=True))


def test_a_draw_that_has_no_rows_is_refused():
    with pytest.raises(ValueError, match="axis 0 of every draw must be the batch of 4 samples"):
        kept((3, 5), 0.5, n_rows=4)


@pytest.mark.parametrize(
    ("fewer", "more", "layout"),
    [
        ((2, 5), (3, 5), (0, 1)),
        ((7, 2, 5), (7, 3, 5), (1, 1)),
        ((8, 5), (12, 5), (0, 4)),
        ((7, 5), (7, 5), None),
        ((3, 5), (4, 5), None),
        ((2, 2), (3, 3), None),
    ],
)
def test_rows_are_found_from_two_shapes(fewer, more, layout):
    assert layout_of(fewer, more, 2, 3) == layout
