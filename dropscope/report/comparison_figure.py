"""Figure of several spectra side by side: of models by name, or of one model by epoch."""

import math
from collections.abc import Sequence

import numpy as np

from dropscope.report.law_words import block_names, speaks_of
from dropscope.report.order_shares import interacting, mean_order_text, order_shares, percent
from dropscope.report.picture import Bars, Figure, Line, Panel
from dropscope.report.reading import one_line, sentence
from dropscope.report.stacked_bars import order_colour
from dropscope.spectrum import Spectrum

__all__ = ["draw_spectra"]

LONGEST = 30
MOST_TICKS = 12
# More whiskers hide the bars.
MOST_WHISKERS = 16

Labelled = Sequence[tuple[str, Spectrum]]


def draw_spectra(spectra: Labelled, columns: Sequence[str] | None = None, *, axis: str = "") -> Figure:
    """Draw spectra side by side: shares as stacked bars, and mean interaction orders, with 95 % intervals.

    Args:
        spectra: pairs of a label and a spectrum, all of the same blocks, law of inputs and highest order.
        columns: name of each column of the inputs; by default x0, x1, ...
        axis: what the labels count, such as "epoch": the bars then stand in a row. By default labels are names, one
            below the other.

    Returns:
        The figure.

    Raises:
        ValueError: there is no spectrum, the spectra cannot be compared, or names of columns are missing.
    """
    _check_comparable(spectra)
    share = "share of the output's variance"
    panels = [_panel("Variance by interaction order", share, _segments(spectra), (0, 1.06), spectra, axis)]

    means = [one.mean_order for _, one in spectra]
    if np.isfinite(means).any():
        ends = [end for _, one in spectra for end in (one.mean_order, one.mean_order_high)]
        top = 1 + 1.1 * max(float(np.nanmax(ends)) - 1, 0.1)
        points = [_means(spectra, bool(axis))]
        panels.append(_panel("Mean interaction order", "mean order, in blocks", points, (0.95, top), spectra, axis))

    first, *others = (one for _, one in spectra)
    caption = (
        "Whiskers: 95 % interval of that segment's length, or of the mean order; a hatched segment is not identified, "
        f"as its interval is wider than 30 %. {speaks_of(first, block_names(first.blocks, columns), others)}"
    )
    title = f"Variance by interaction order, by {axis}" if axis else "Variance by interaction order, side by side"
    return Figure("spectra", title, _reading(spectra, axis), caption, panels, columns=2)


def _check_comparable(spectra: Labelled) -> None:
    if not spectra:
        raise ValueError("`spectra` must hold at least one pair of a label and a spectrum, got none.")

    kinds = {(one.blocks, one.inputs_law, one.max_order) for _, one in spectra}
    if len(kinds) > 1:
        raise ValueError(
            "`spectra` must share their blocks, law of inputs and `max_order`, got "
            f"{len(kinds)} different ones: an order means the same only under the same ones."
        )


def _panel(
    title: str, label: str, items: Sequence[Bars | Line], span: tuple[float, float], spectra: Labelled, axis: str
) -> Panel:
    """A row of bars along an axis, or names one below the other."""
    step = math.ceil(len(spectra) / MOST_TICKS) if axis else 1
    ticks = {float(i): one_line(name, LONGEST) for i, (name, _) in enumerate(spectra) if i % step == 0}
    ends = (-0.6, len(spectra) - 0.4)
    return Panel(title, axis or "model", label, items, span, ends if axis else ends[::-1], ticks, flipped=not axis)


def _segments(spectra: Labelled) -> list[Bars | Line]:
    """Stacked bars; whiskers of neighbouring orders stand side by side, so that none hides another."""
    rows = [order_shares(one) for _, one in spectra]
    x, base = np.arange(len(rows), dtype=float), np.zeros(len(rows))
    bars: list[Bars | Line] = []
    whiskers: list[Bars | Line] = []

    for k, column in enumerate(zip(*rows, strict=True)):
        name = column[0].name
        height, low, high = np.array([(one.share, one.low, one.high) for one in column]).T
        hover = [
            f"{label}\n{name}: {percent(one.share)} {one.ends}" + ("" if one.identified else "\nnot identified")
            for (label, _), one in zip(spectra, column, strict=True)
        ]
        hatched = [not one.identified for one in column]
        bars.append(Bars(x.tolist(), base.tolist(), height.tolist(), order_colour(name), name, hover, hatched))

        edge = base + height
        if np.isfinite(high).any() and len(rows) <= MOST_WHISKERS:
            aside = x + 0.13 * (k - (len(rows[0]) - 1) / 2)
            ends = {"low": (base + low).tolist(), "high": (base + high).tolist()}
            whiskers.append(Line(aside.tolist(), edge.tolist(), dash="", width=1.3, **ends))
        base = edge

    return [*bars, *whiskers]


def _means(spectra: Labelled, joined: bool) -> Line:
    means, low, high = np.array([(one.mean_order, one.mean_order_low, one.mean_order_high) for _, one in spectra]).T
    hover = [f"{label}\nmean order {mean_order_text(one)}" for label, one in spectra]
    return Line(
        [float(i) for i in range(len(means))], means.tolist(), dash="solid" if joined else "", marker="circle",
        low=low.tolist(), high=high.tolist(), hover=hover,
    )  # fmt: skip


def _reading(spectra: Labelled, axis: str) -> str:
    if axis:
        (first, before), (last, after) = spectra[0], spectra[-1]
        parts = [f"from {axis} {first} to {last}, interactions go from {interacting(before)} to {interacting(after)}"]
        means = [mean_order_text(one) for one in (before, after)]
        if all(means):
            parts.append(f"the mean interaction order goes from {means[0]} to {means[1]}")
        return sentence(parts)

    # The one with the most interactions first, then the one with the fewest.
    ranked = sorted(spectra, key=lambda pair: pair[1].share[0])
    ends = [ranked[0], ranked[-1]] if len(ranked) > 1 else ranked
    said = [f"{one_line(name, LONGEST)} {interacting(one)}" for name, one in ends]
    return f"Share of the variance in interactions: {' (the most), '.join(said)}{' (the least)' * (len(ends) > 1)}."
