"""Figures of one spectrum: its share at each order, and what survives of the model when inputs are drawn anew."""

import math
from collections.abc import Sequence

import numpy as np

from dropscope.report.law_words import block_names, speaks_of
from dropscope.report.order_shares import OrderShare, order_shares, percent, reading_of
from dropscope.report.picture import Bars, Figure, Line, Panel
from dropscope.report.stacked_bars import order_colour
from dropscope.spectrum import Spectrum
from dropscope.spectrum.surrogate import SurrogateSpectrum

__all__ = ["draw_shares", "draw_survival"]

# With more bars there is no room for a number below each.
MOST_NUMBERED = 8
# Reference curves, of models with all their variance at one order.
MOST_CURVES = 4


def draw_shares(spectrum: Spectrum, columns: Sequence[str] | None = None) -> Figure:
    """Draw the share of the variance at each order with its 95 % interval.

    A share whose interval is wider than 0.3 is not identified: only its interval is drawn, hatched.

    Args:
        spectrum: the spectrum of one model.
        columns: name of each column of its inputs; by default x0, x1, ...

    Returns:
        The figure; `to_png` and `to_plotly` show it.

    Raises:
        ValueError: there are more or fewer names than columns.

    Example:
        >>> from dropscope.spectrum import interaction_spectrum, known
        >>> f = known.product(2, 4)
        >>> draw_shares(interaction_spectrum(f, f.sample(1000), budget=50_000)).panels[0].title
        'Variance by interaction order, 4 blocks'
    """
    shares = order_shares(spectrum)
    numbered = len(shares) <= MOST_NUMBERED
    ticks = {float(k): _tick(one, numbered) for k, one in enumerate(shares)}
    top = np.nanmax([0.1, *(end for one in shares for end in (one.share, one.high))])

    panel = Panel(
        f"Variance by interaction order, {spectrum.n_orders} blocks", "interaction order",
        "share of the output's variance", [item for k, one in enumerate(shares) for item in _bar(k, one)],
        (0, 1.06 * float(top)), (-0.6, len(shares) - 0.4), ticks,
    )  # fmt: skip

    ends = "Whiskers: 95 % interval of each share." if any(one.ends for one in shares) else "Without intervals."
    if not all(one.identified for one in shares):
        ends += " Hatched, n. i.: not identified, as the interval is too wide to name a number."
    caption = f"{ends} {speaks_of(spectrum, block_names(spectrum.blocks, columns))}"
    title = "Share of the variance at each interaction order"
    return Figure("shares", title, reading_of(spectrum), caption, [panel], columns=1)


def _tick(one: OrderShare, numbered: bool) -> str:
    name = one.name.removeprefix("order ").replace(" or ", "\nor ")
    return f"{name}\n{percent(one.share) if one.identified else 'n. i.'}" if numbered else name


def _bar(k: int, one: OrderShare) -> list[Bars | Line]:
    hover = [f"{one.name}: {one.said}" + (f"\n95 % interval {one.ends} %" if one.ends else "")]
    colour = order_colour(one.name)
    if not one.identified:
        return [Bars([k], [one.low], [one.high - one.low], colour, "", hover, [True])]

    bar = Bars([k], [0.0], [one.share], colour, "", hover)
    return [bar, Line([k], [one.share], dash="", low=[one.low], high=[one.high], width=2)]


def draw_survival(spectrum: Spectrum, columns: Sequence[str] | None = None) -> Figure | None:
    """Draw the survival S(p): what a copy of the inputs, each block drawn anew with chance p, still explains.

    `S(p) = Cov(f(X), f(X resampled at p)) / Var f = sum_k (1 - p)^k W_k / Var f`, beside the curves of models with
    all their variance at one order. It falls from 1 with a slope of minus the mean interaction order.

    Args:
        spectrum: the spectrum of one model.
        columns: name of each column of its inputs; by default x0, x1, ...

    Returns:
        The figure; None where the spectrum was read off fitted models, which tell nothing of single high orders.

    Raises:
        ValueError: there are more or fewer names than columns.
    """
    if isinstance(spectrum, SurrogateSpectrum):
        return None

    p, share, low, high = _survival_points(spectrum)
    fine = np.linspace(0, 1, 101)
    lines = [
        Line(fine.tolist(), ((1 - fine) ** k).tolist(), order_colour(f"order {k}"), f"all at order {k}", "dash", 1.3)
        for k in range(1, min(spectrum.max_order, MOST_CURVES) + 1)
    ]
    if np.isfinite(high).any():
        ends = {"low": low.tolist(), "high": high.tolist()}
        lines.append(Line(p.tolist(), share.tolist(), label="95 % interval", **ends, band=True, opacity=0.2))
    hover = [f"p = {chance:.2f}\nS(p) = {percent(left)}" for chance, left in zip(p, share, strict=True)]
    lines.append(Line(p.tolist(), share.tolist(), label="this model", width=2.8, hover=hover))

    panel = Panel(
        "Survival S(p) = Σ qᵏ Wₖ / Var, with q = 1 - p", "p, chance that a block is drawn anew",
        "share of variance explained", lines, (0, 1.03), (0, 1),
    )  # fmt: skip
    band = "; all spectra that fit lie within the band" if spectrum.survival_curve is not None else ""
    caption = (
        f"From the variance at every order{band}. Dashed: models with all their variance at one order. It says what "
        "input dropout hides from this model as it is, not what training with dropout does. "
        f"{speaks_of(spectrum, block_names(spectrum.blocks, columns))}"
    )
    title = "What survives when inputs are drawn anew"
    return Figure("survival", title, _survival_reading(p, share, low, high), caption, [panel], columns=1)


def _survival_points(spectrum: Spectrum) -> np.ndarray:
    """Rows p, S(p), its lower and its upper end."""
    measured = spectrum.survival_curve
    if measured is not None:
        return np.array([measured.p, measured.share, measured.low, measured.high])

    p = np.linspace(0, 1, 51)
    nothing = np.full_like(p, math.nan)
    return np.array([p, [spectrum.survival(float(chance)) for chance in p], nothing, nothing])


def _survival_reading(p: np.ndarray, share: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    half = int(np.abs(p - 0.5).argmin())
    ends = f" [{100 * low[half]:.1f}, {100 * high[half]:.1f}]" if math.isfinite(high[half]) else ""
    return (
        f"A copy of the inputs, each block drawn anew with chance {p[half]:.2g}, still explains "
        f"{percent(share[half])}{ends} of the variance; a model without interactions would keep {percent(1 - p[half])}."
    )
