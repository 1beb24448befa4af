"""Differences on the corners of a pair of rows, and the intervals made of their sums."""

import numpy as np
import pytest
import torch
from scipy import stats

from dropscope.spectrum import known
from dropscope.spectrum.arguments import check_design
from dropscope.spectrum.differences import Corners, measure_differences
from dropscope.spectrum.ratios import RatioSums

NOTHING = frozenset()


def singles(*blocks):
    return tuple(frozenset([block]) for block in blocks)


def corners_of(difference, blocks):
    """Corners for the variance and one difference."""
    return Corners([[(NOTHING, (frozenset(range(blocks)),))], [difference]], blocks)


def test_whole_numbers_leave_not_even_rounding(generator):
    table = torch.randint(-5, 6, (100, 9), generator=generator).double()
    design = check_design(table, None)
    corners = corners_of((NOTHING, singles(0, 1)), 9)

    measured, spent = measure_differences(lambda x: x.sum(1)[None, :, None], design, corners, 4000, generator)
    assert (measured.share[0], measured.low[0], measured.high[0]) == (0, 0, 0)
    assert spent == 4000


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("start", [NOTHING, frozenset([4, 5])])
def test_every_difference_of_a_parity_is_that_of_its_signs(order, start, generator):
    """D^2 / 2^k of a product of signs is 2^k where every toggled sign changes, else 0, wherever it starts."""
    f = known.parity(order, 6)
    corners = corners_of((start, singles(*range(order))), 6)

    one, other = f.sample(400, generator=generator), f.sample(400, generator=generator)
    rows = torch.where(corners.toggled[:, None], other, one)
    squares = corners.squares(f(rows.view(-1, 6)).view(len(corners), 400, 1))
    changed = (one != other)[:, :order].all(1)
    assert torch.equal(squares[1], changed * 2.0**order)


def test_corners_are_shared_between_differences():
    pairs = [[(NOTHING, singles(i, j))] for i in range(4) for j in range(i)]
    assert len(Corners(pairs, 4)) == 1 + 4 + 6


def test_intervals_are_those_of_the_influences(seed):
    """The sums of a stream give what a direct computation gives on all draws at once."""
    rng = np.random.default_rng(seed)
    b = rng.exponential(size=200)
    a = 0.2 * b * rng.exponential(size=200)
    sums = RatioSums(2, 1e-13)
    for part in np.split(np.stack([b, a]), [50, 120], axis=1):
        sums.add(part, 1.0)
    found = sums.ratios()

    share = a.mean() / b.mean()
    influence = a - share * b
    error = np.sqrt((influence**2).mean() / 199) / b.mean()
    kurtosis = (influence**4).mean() / (influence**2).mean() ** 2
    half = stats.t.ppf(0.975, 400 / (kurtosis - 1)) * error / share
    assert found.share[0] == pytest.approx(share, rel=1e-12)
    assert found.low[0] == pytest.approx(share * np.exp(-half), rel=1e-9)
    assert found.high[0] == pytest.approx(share * np.exp(half), rel=1e-9)
    assert found.variance == pytest.approx(b.mean(), rel=1e-12)
