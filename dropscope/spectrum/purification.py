"""Pure interaction effects of a function on a grid under any joint law: no interaction hides a main effect."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["PureEffects", "purify"]

Array = NDArray[np.float64]
Axes = tuple[int, ...]

MOST_AXES = 4
# Variance that float64 rounding leaves in a constant, relative to its square.
ROUNDING = 1e-28


@dataclass(frozen=True, eq=False)
class PureEffects:
    """A function on a grid as a sum of pure effects, and its variance per interaction order.

    Attributes:
        effects: effect of every subset of axes, with one dimension per axis of the subset; `effects[()]` is the mean.
        variances: variance of each effect but the mean. Effects of different subsets may correlate when the axes
            depend on one another: then the variances need not add up to `total`.
        share: share of the variance at orders 1, 2, ..., by nested projections; they add up to one.
        total: variance of the function.
    """

    effects: dict[Axes, Array]
    variances: dict[Axes, float]
    share: Array
    total: float

    def describe(self) -> str:
        """Say the share of every order and the variance of every effect."""
        lines = [f"pure effects of {len(self.share)} axes, joint law of inputs, variance {self.total:.4g}"]
        lines += [f"  order {order}  {share:.3f}" for order, share in enumerate(self.share, 1)]
        lines += [f"  axes {' × '.join(map(str, axes))}  {value:.4g}" for axes, value in self.variances.items()]
        return "\n".join(lines)

    __str__ = describe

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON; effects and variances come in the order of `axes`."""
        return {
            "axes": [list(axes) for axes in self.effects],
            "effects": [effect.tolist() for effect in self.effects.values()],
            "variances": [self.variances.get(axes, 0.0) for axes in self.effects],
            "share": self.share.tolist(),
            "total": self.total,
        }


def purify(
    values: ArrayLike, weights: ArrayLike | None = None, *, tolerance: float = 1e-10, max_sweeps: int = 10_000
) -> PureEffects:
    """Split a function on a grid into pure effects under a joint law of the grid's cells.

    `f = sum over u of f_u`, where every effect has weighted mean zero along each of its axes: `E[f_u | x_v] = 0` for v
    strictly inside u. From the highest order down, means along an axis move to the effect without that axis until none
    is left to move. An order's share comes from nested projections: `W_k = Var P_k f - Var P_(k-1) f`, where P_k f is
    the best fit to f by functions of k axes each. For independent axes this is the functional ANOVA; for dependent
    ones, the law decides how much of f is interaction.

    Args:
        values: the function on the grid, one dimension per axis, at most four; cells without weight may hold anything.
        weights: joint law of the cells, up to a factor; None gives all cells the same weight.
        tolerance: what the last sweep may still move: its root mean square, relative to the function's deviation.
        max_sweeps: most sweeps over the axes.

    Returns:
        The effects, their variances, and the share of each order.

    Raises:
        ValueError: values and weights do not fit together, or the function is constant.
        RuntimeError: means were still moving after the last sweep.

    Example:
        >>> conjunction = [[0.0, 0.0], [0.0, 1.0]]
        >>> purify(conjunction).share.round(3)
        array([0.667, 0.333])
        >>> purify(conjunction, [[3, 1], [1, 3]]).share.round(3)
        array([0.8, 0.2])

    Reference:
        Lengerich, Tan, Chang, Hooker, Caruana, 2020, arXiv:1911.04974; Hooker, "Generalized functional ANOVA
        diagnostics for high-dimensional functions of dependent variables", 2007.
    """
    table, law = _checked(values, weights)
    total = float((law * (table - (law * table).sum()) ** 2).sum())
    if total <= ROUNDING * (law * table**2).sum():
        raise ValueError("`values` must vary where `weights` are positive, but they are constant there.")

    limits = (tolerance * np.sqrt(total), max_sweeps)
    axes = tuple(range(table.ndim))
    effects = {u: np.zeros([table.shape[i] for i in u]) for k in range(table.ndim) for u in combinations(axes, k)}
    effects = _move_means(effects | {axes: table}, law, limits)

    # What functions of k axes each leave unexplained, for k = 0, 1, ...
    residual, left = table, []
    for order in range(table.ndim):
        residual, _ = _centre(residual, law, list(combinations(axes, table.ndim - order)), limits)
        left.append(float((law * residual**2).sum()))

    return PureEffects(
        effects=effects,
        variances={u: float((_marginal(law, u) * effect**2).sum()) for u, effect in effects.items() if u},
        share=np.subtract(left, [*left[1:], 0.0]) / total,
        total=total,
    )


def _checked(values: ArrayLike, weights: ArrayLike | None) -> tuple[Array, Array]:
    """The function, with zeros where it is not finite and has no weight, and the law with sum one."""
    table = np.array(values, dtype=float)
    law = np.ones(table.shape) if weights is None else np.array(weights, dtype=float)

    if not 1 <= table.ndim <= MOST_AXES or not table.size:
        raise ValueError(f"`values` must have 1 to {MOST_AXES} dimensions, none empty, got shape {table.shape}.")
    if law.shape != table.shape:
        raise ValueError(f"`weights` must have the shape {table.shape} of `values`, got {law.shape}.")
    if not (np.isfinite(law).all() and law.min() >= 0 and law.max() > 0):
        raise ValueError("`weights` must be finite, not negative, and positive somewhere.")

    strange = ~np.isfinite(table)
    if (strange & (law > 0)).any():
        cell = tuple(np.argwhere(strange & (law > 0))[0].tolist())
        raise ValueError(f"`values` must be finite where `weights` are positive, got {table[cell]} in cell {cell}.")

    table[strange] = 0.0
    return table, law / law.sum()


def _move_means(effects: dict[Axes, Array], law: Array, limits: tuple[float, int]) -> dict[Axes, Array]:
    """Purify effects from the highest order down; their sum stays the same."""
    effects = dict(effects)

    for u in sorted(effects, key=len, reverse=True):
        effects[u], means = _centre(effects[u], _marginal(law, u), [(place,) for place in range(len(u))], limits)
        for place, mean in enumerate(means):
            below = u[:place] + u[place + 1 :]
            effects[below] = effects[below] + mean.squeeze(place)

    return effects


def _centre(values: Array, law: Array, averaged: list[Axes], limits: tuple[float, int]) -> tuple[Array, list[Array]]:
    """Take out conditional means, over some axes at a time, in turn until none is left.

    Returns:
        What remains, and what was taken out for each of the averages, with their axes kept as ones.
    """
    tolerance, max_sweeps = limits
    masses = [law.sum(axes, keepdims=True) for axes in averaged]
    taken = [np.zeros(mass.shape) for mass in masses]

    for _ in range(max_sweeps):
        moved = 0.0
        for axes, mass, so_far in zip(averaged, masses, taken, strict=True):
            mean = (law * values).sum(axes, keepdims=True)
            # Lines without weight have no mean: nothing moves there.
            mean = np.divide(mean, mass, out=np.zeros_like(mean), where=mass > 0)

            values = values - mean
            so_far += mean
            moved += float((mass * mean**2).sum())

        if np.sqrt(moved) <= tolerance:
            return values, taken

    raise RuntimeError(
        f"means were still moving after {max_sweeps} sweeps: raise `max_sweeps` or `tolerance`, or leave out an axis "
        "that another one nearly determines."
    )


def _marginal(law: Array, kept: Axes) -> Array:
    return law.sum(tuple(axis for axis in range(law.ndim) if axis not in kept))
