"""The algebra of grouped cubes: from a cube's corners to variance per group order, and from groups to blocks."""

from functools import cache
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["group_variances", "occupancy"]


def group_variances(corners: Tensor) -> Tensor:
    """Unbiased variance per order of the groups, from the values on all corners of cubes.

    Corner s of a cube takes group j from one random row where bit j of s is set, and from another where it is not.
    With Walsh coefficients g and level energies `B_t = sum over |T| = t of g_T^2`, order j of the groups has variance
    `W_j = 2^j sum_t (-1)^(t - j) C(t, j) B_t` in expectation: no matrix is inverted. Every step is elementwise, so a
    model's result does not depend, even in its last bit, on the models beside it.

    Args:
        corners: values of shape (2^groups, ...); corner first.

    Returns:
        `W_0 ... W_groups` of shape (groups + 1, ...), where `W_0` estimates the squared mean.
    """
    groups = corners.shape[0].bit_length() - 1
    walsh = _walsh(corners)

    level = torch.tensor([corner.bit_count() for corner in range(2**groups)], device=corners.device)
    energy = corners.new_zeros(groups + 1, *corners.shape[1:]).index_add_(0, level, walsh.square_())

    variances = torch.zeros_like(energy)
    for j in range(groups + 1):
        for t in range(j, groups + 1):
            variances[j].add_(energy[t], alpha=2**j * comb(t, j) * (-1) ** (t - j))

    return variances


def _walsh(corners: Tensor) -> Tensor:
    """Walsh coefficients by butterflies over the first axis, one bit at a time."""
    rest = corners.shape[1:]
    half = 1

    while half < corners.shape[0]:
        pairs = corners.view(-1, 2, half, *rest)
        corners = torch.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), dim=1).view(-1, *rest)
        half *= 2

    return corners / half


@cache
def occupancy(blocks: int, groups: int) -> NDArray[np.float64]:
    """Chance that an interaction of k blocks spreads over exactly j groups of a random balanced partition.

    Args:
        blocks: number of blocks.
        groups: number of groups, at most `blocks`.

    Returns:
        Matrix of shape (groups, blocks), row j - 1 and column k - 1; each column sums to one. With as many groups as
        blocks it is the identity.
    """
    # ways[j, k]: ways to choose k blocks that occupy exactly j of the groups seen so far. Exact integers.
    ways = {(0, 0): 1}

    for group in range(groups):
        size = blocks // groups + (group < blocks % groups)
        grown: dict[tuple[int, int], int] = {}

        for (j, k), count in ways.items():
            for chosen in range(size + 1):
                key = (j + (chosen > 0), k + chosen)
                grown[key] = grown.get(key, 0) + count * comb(size, chosen)

        ways = grown

    matrix = np.zeros((groups, blocks))
    for (j, k), count in ways.items():
        if k > 0:
            matrix[j - 1, k - 1] = count / comb(blocks, k)

    matrix.setflags(write=False)
    return matrix
