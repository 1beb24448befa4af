"""The Walsh identity and the occupancy matrix, by enumeration."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from oracle import anova

from dropscope.spectrum.grouping import group_variances, occupancy


@pytest.mark.parametrize(("blocks", "groups"), [(2, 2), (9, 6), (25, 6), (64, 6), (784, 6)])
def test_occupancy_columns_are_probabilities(blocks, groups):
    matrix = occupancy(blocks, groups)
    assert matrix.shape == (groups, blocks)
    assert (matrix >= 0).all()
    assert matrix.sum(axis=0) == pytest.approx(np.ones(blocks), abs=1e-12)


@pytest.mark.parametrize("blocks", [2, 5, 8])
def test_occupancy_is_the_identity_when_each_block_is_a_group(blocks):
    assert (occupancy(blocks, blocks) == np.eye(blocks)).all()


@pytest.mark.parametrize(("blocks", "groups"), [(5, 3), (6, 3), (7, 2)])
def test_occupancy_matches_enumeration_of_all_partitions(blocks, groups):
    label = np.arange(blocks) % groups
    partitions = [label[list(order)] for order in itertools.permutations(range(blocks))]

    for k in range(1, blocks + 1):
        counts = Counter(len(set(partition[:k])) for partition in partitions)
        expected = [counts[j] / len(partitions) for j in range(1, groups + 1)]
        assert occupancy(blocks, groups)[:, k - 1] == pytest.approx(expected, abs=1e-12)


def test_occupancy_of_25_in_6_is_the_published_one():
    assert np.diag(occupancy(25, 6)) == pytest.approx([1, 0.867, 0.626, 0.354, 0.140, 0.029], abs=5e-4)


def test_variances_over_all_pairs_of_rows_are_the_exact_spectrum(generator):
    """Unbiased without any limit: the mean over every pair of rows of a 3-level design is the ANOVA itself."""
    values = torch.randn(3, 3, 3, generator=generator, dtype=torch.float64)
    points = list(itertools.product(range(3), repeat=3))

    corners = torch.empty(8, len(points) ** 2, dtype=torch.float64)
    for pair, (one, other) in enumerate(itertools.product(points, repeat=2)):
        for corner in range(8):
            corners[corner, pair] = values[tuple(one[j] if corner >> j & 1 else other[j] for j in range(3))]

    mean = group_variances(corners).mean(1).numpy()
    assert mean[1:] == pytest.approx(anova(values.numpy(), [np.ones(3)] * 3), rel=1e-10)
    assert mean[0] == pytest.approx(values.mean().item() ** 2, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("groups", [2, 4, 6])
def test_parity_is_all_at_the_highest_order(groups):
    signs = torch.tensor([(-1.0) ** corner.bit_count() for corner in range(2**groups)], dtype=torch.float64)
    variances = group_variances(signs[:, None])[:, 0]
    # Rows that differ in every input: the cube of a pair sees 2^groups times the mean over all pairs.
    assert variances[groups] == 2.0**groups


def test_companions_do_not_change_a_bit(generator):
    corners = torch.randn(64, 7, 5, 3, generator=generator, dtype=torch.float64)
    together = group_variances(corners)
    for model in range(5):
        assert torch.equal(together[:, :, model], group_variances(corners[:, :, model : model + 1])[:, :, 0])
