"""Functions on grids, with a weight for every cell from a density or from a sample."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dropscope.spectrum.arguments import Inputs

__all__ = ["Tabulated", "tabulate_density", "tabulate_sample"]

Array = NDArray[np.float64]


class Tabulated(NamedTuple):
    """A function on a grid, the weight of every cell, and where the grid lies."""

    values: Array
    weights: Array
    axes: tuple[Array, ...]


def tabulate_density(
    f: Callable[[Tensor], Any], density: Callable[[Tensor], Any], axes: Sequence[ArrayLike]
) -> Tabulated:
    """Put a function on a grid whose cells weigh as much as a density gives them: its value times the cell's volume.

    Args:
        f: maps rows of shape (rows, axes), in float64, to outputs (rows,).
        density: maps the same rows to a joint density, up to a factor.
        axes: increasing points along each axis, two or more.

    Returns:
        Values and weights, ready for `purify`.

    Raises:
        ValueError: an axis is too short, or an output has the wrong shape.

    Example:
        >>> table = tabulate_density(lambda x: x.prod(1), lambda x: (-x.square().sum(1)).exp(), [[-1, 0, 1]] * 2)
        >>> table.values
        array([[ 1., -0., -1.],
               [-0.,  0.,  0.],
               [-1.,  0.,  1.]])
    """
    points = tuple(np.asarray(axis, dtype=float) for axis in axes)
    if not all(axis.ndim == 1 and len(axis) > 1 and (np.diff(axis) > 0).all() for axis in points):
        raise ValueError("every axis of `axes` must be two or more increasing points.")

    volume = prod(np.ix_(*(np.gradient(axis) for axis in points)))
    return Tabulated(_on_grid(f, points), _on_grid(density, points) * volume, points)


def tabulate_sample(f: Callable[[Tensor], Any], sample: Inputs, *, bins: int = 16) -> Tabulated:
    """Put a function on a grid whose cells weigh as many rows of a sample as they hold.

    An axis takes the column's own values if there are no more than `bins` of them; else it is cut into
    pieces of about as many rows each, and the mean of the values in a piece stands for it.

    Args:
        f: maps rows of shape (rows, columns), in float64, to outputs (rows,).
        sample: table of shape (rows, columns).
        bins: most points of an axis.

    Returns:
        Values and weights, ready for `purify`.

    Raises:
        ValueError: the sample is no finite table, or an output has the wrong shape.

    Example:
        >>> tabulate_sample(lambda x: x[:, 0], torch.tensor([[0, 5], [1, 5], [1, 5], [1, 7]])).weights
        array([[1., 0.],
               [2., 1.]])
    """
    table = torch.as_tensor(sample).detach().cpu().double().numpy()
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ValueError(f"`sample` must be a table of finite numbers, got shape {table.shape}.")
    if bins < 2:
        raise ValueError(f"`bins` must be at least 2, got {bins}.")

    points, cells = zip(*(_cut(column, bins) for column in table.T), strict=True)
    weights = np.zeros([len(axis) for axis in points])
    np.add.at(weights, cells, 1.0)

    return Tabulated(_on_grid(f, points), weights, points)


def _cut(column: Array, bins: int) -> tuple[Array, NDArray[np.int64]]:
    """Points that stand for a column, and the point for each of its values."""
    levels, cell, count = np.unique(column, return_inverse=True, return_counts=True)
    if len(levels) > bins:
        # Pieces by the middle rank of each value: equal values stay together, and heavy ones get a piece of their own.
        rank = (count.cumsum() - count / 2) / len(column)
        _, piece = np.unique((bins * rank).astype(int), return_inverse=True)
        cell = piece[cell]
        levels = np.bincount(cell, weights=column) / np.bincount(cell)

    return levels, cell


def _on_grid(f: Callable[[Tensor], Any], points: Sequence[Array]) -> Array:
    """Values of a function of rows on every cell of a grid."""
    shape = tuple(len(axis) for axis in points)
    rows = torch.cartesian_prod(*(torch.as_tensor(axis) for axis in points)).view(-1, len(points))

    with torch.no_grad():
        outputs = torch.as_tensor(f(rows))
    if outputs.shape not in {(len(rows),), (len(rows), 1)}:
        raise ValueError(f"`f` must give one output per row, got shape {tuple(outputs.shape)} for {len(rows)} rows.")

    return outputs.double().view(shape).cpu().numpy()
