"""A panel of stacked bars: the variance at each interaction order, absolute or as shares, with its intervals."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dropscope.report.picture import Bars, Line, Panel
from dropscope.report.reading import interval, number, variances

__all__ = ["Stack", "bars_panel", "order_colour", "tallest"]

ORDER_COLOURS = ("blue", "orange", "green", "purple", "vermilion", "sky")
# More ticks cannot be read, more whiskers hide the bars.
MOST_TICKS = 10
MOST_WHISKERS = 16


@dataclass(frozen=True, eq=False)
class Stack:
    """One stacked bar: its tick, what is said of it when pointed at, and the spectra that it averages."""

    tick: str
    said: str
    spectra: Sequence[dict[str, Any] | None]

    def segments(self, orders: int, *, total: bool) -> np.ndarray:
        """Mean, lower and upper end of the height at every order: over seeds, or those of the only spectrum.

        Args:
            orders: how many orders there are, the rest included.
            total: variance instead of shares.

        Returns:
            Shape (orders, 3), nan where nothing was measured.
        """
        kept = [one for one in self.spectra if one and number(one["total"]) > 0]
        if not kept:
            return np.full((orders, 3), np.nan)
        rows = variances(kept, total=total)[:, :orders]
        if len(rows) > 1:
            return np.array([interval(column) for column in rows.T])
        scale = kept[0]["total"] if total else 1.0
        ends = [[scale * number(end) for end in kept[0][side][:orders]] for side in ("low", "high")]
        return np.array([rows[0], *ends]).T


def order_colour(name: str) -> str:
    """Choose the colour of an order, the same in every figure.

    Args:
        name: such as "order 2" or "order > 3".

    Returns:
        The name of a colour.
    """
    return "rest" if ">" in name else ORDER_COLOURS[(int(name.split()[1]) - 1) % len(ORDER_COLOURS)]


def tallest(stacks: Iterable[Stack], orders: int) -> float:
    """Find where an axis of total variance should end: above all bars, and their whiskers unless those dwarf the bars.

    Args:
        stacks: the bars of all panels that share the axis.
        orders: how many orders there are.

    Returns:
        The upper end of the axis.
    """
    bars, whiskers = 0.0, 0.0
    for stack in stacks:
        mean, _, high = np.nan_to_num(stack.segments(orders, total=True)).T
        tops = mean.cumsum()
        bars, whiskers = max(bars, tops.max()), max(whiskers, (tops + high - mean).max())
    return float(1.05 * min(max(bars, whiskers), 1.5 * bars)) or 1.0


def bars_panel(
    title: str, x_label: str, y_label: str, stacks: Sequence[Stack], orders: Sequence[str], top: float | None
) -> Panel:
    """Describe a panel of stacked bars.

    Args:
        title: above the panel.
        x_label: below it.
        y_label: beside it.
        stacks: the bars, from left to right.
        orders: names of the orders, from the bottom up.
        top: end of the axis of total variance; None shows shares.

    Returns:
        The panel.
    """
    x = np.arange(len(stacks))
    heights = np.array([stack.segments(len(orders), total=top is not None) for stack in stacks])
    bars, whiskers, base = [], [], np.zeros(len(stacks))
    for k, name in enumerate(orders):
        mean, low, high = heights[:, k].T
        said = [f"{stack.said}\n{name}: {_measured(*heights[i, k])}" for i, stack in enumerate(stacks)]
        bars.append(Bars(x.tolist(), base.tolist(), mean.tolist(), order_colour(name), name, said))
        edge = base + np.nan_to_num(mean)
        if np.isfinite(high).any() and len(stacks) <= MOST_WHISKERS:
            # Whiskers of neighbouring orders stand side by side, so that none hides another.
            aside = x + 0.13 * (k - (len(orders) - 1) / 2)
            ends = (base + np.maximum(low, 0)).tolist(), (base + high).tolist()
            whiskers.append(Line(aside.tolist(), edge.tolist(), dash="", low=ends[0], high=ends[1], width=1.3))
        base = edge
    step = math.ceil(len(stacks) / MOST_TICKS)
    ticks = {float(i): stack.tick for i, stack in enumerate(stacks) if i % step == 0}
    x_range = -0.6, len(stacks) - 0.4
    return Panel(title, x_label, y_label, [*bars, *whiskers], (0, 1.06 if top is None else top), x_range, ticks)


def _measured(mean: float, low: float, high: float) -> str:
    return f"{mean:.3g}" + (f" [{max(low, 0):.3g}, {high:.3g}]" if math.isfinite(high) else "")
