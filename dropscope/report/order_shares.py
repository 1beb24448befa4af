"""The shares of a spectrum as a reader meets them: named, with their intervals, or not identified."""

import math
from dataclasses import dataclass

from dropscope.report.reading import sentence
from dropscope.spectrum import Spectrum
from dropscope.spectrum.surrogate import SurrogateSpectrum

__all__ = ["OrderShare", "brackets", "interacting", "mean_order_text", "order_shares", "percent", "reading_of"]


@dataclass(frozen=True)
class OrderShare:
    """The share of the variance at one order; `low` and `high` are nan without an interval."""

    name: str
    share: float
    low: float
    high: float
    identified: bool

    @property
    def said(self) -> str:
        """The share as a percentage, unless its interval is too wide to name a number."""
        return percent(self.share) if self.identified else "not identified"

    @property
    def ends(self) -> str:
        """The interval in brackets, in percent; empty where there is none."""
        return brackets(self.low, self.high)


def order_shares(spectrum: Spectrum) -> list[OrderShare]:
    """List the shares of a spectrum, the rest last where there are higher orders.

    Args:
        spectrum: the spectrum.

    Returns:
        The shares; one without an interval counts as identified, as nothing speaks against it.
    """
    most, learned = spectrum.max_order, isinstance(spectrum, SurrogateSpectrum)
    names = [f"order {k}" for k in range(1, most + 1)]
    if spectrum.n_orders > most or learned:
        names.append(f"order > {most}" + (" or not learned" if learned else ""))

    found = []
    for name, share, low, high, sure in zip(
        names, [*spectrum.share, spectrum.rest], spectrum.low, spectrum.high, spectrum.identified, strict=False
    ):
        ends = (max(float(low), 0.0), min(float(high), 1.0)) if math.isfinite(high) else (math.nan, math.nan)
        found.append(OrderShare(name, float(share), *ends, bool(sure) or not math.isfinite(high)))
    return found


def percent(share: float) -> str:
    """Write a share as a percentage.

    Args:
        share: the share.

    Returns:
        The text.

    Example:
        >>> percent(0.6184)
        '61.8 %'
    """
    return f"{100 * share:.1f} %"


def brackets(low: float, high: float) -> str:
    """Write an interval of shares in percent.

    Args:
        low: lower end.
        high: upper end.

    Returns:
        The text, empty where there is no interval.

    Example:
        >>> brackets(0.6, 0.64)
        '[60.0, 64.0]'
    """
    return f"[{100 * low:.1f}, {100 * high:.1f}]" if math.isfinite(high) else ""


def interacting(spectrum: Spectrum) -> str:
    """Write the share of all interactions, orders 2 and up, with its interval.

    Args:
        spectrum: the spectrum.

    Returns:
        The text; only the interval where the share is not identified. Of a spectrum read off fitted models, what they
        learned.
    """
    if isinstance(spectrum, SurrogateSpectrum):
        return percent(float(spectrum.share[1:].sum()))
    single = order_shares(spectrum)[0]
    ends = brackets(1 - single.high, 1 - single.low)
    if not single.identified:
        return f"an unidentified share {ends} %"
    return f"{percent(1 - single.share)} {ends}".rstrip()


def mean_order_text(spectrum: Spectrum) -> str:
    """Write the mean interaction order with its interval.

    Args:
        spectrum: the spectrum.

    Returns:
        The text, empty where it was not measured.
    """
    low, high = spectrum.mean_order_low, spectrum.mean_order_high
    if math.isnan(spectrum.mean_order):
        return ""
    return f"{spectrum.mean_order:.3f}" + (f" [{low:.3f}, {high:.3f}]" if math.isfinite(high) else "")


def reading_of(spectrum: Spectrum) -> str:
    """Read a spectrum in one sentence.

    Args:
        spectrum: the spectrum.

    Returns:
        The sentence.
    """
    if isinstance(spectrum, SurrogateSpectrum):
        explained = [f"{percent(r2)} with up to {k}" for k, r2 in enumerate(spectrum.r2, 1)]
        return (
            f"Share of the variance that models fitted to this one explain, by columns joined: {', '.join(explained)}."
        )

    first, *others = order_shares(spectrum)
    said = f"interactions hold {interacting(spectrum)} of the variance"

    strongest = max((one for one in others if one.identified), key=lambda one: one.share, default=None)
    if first.identified and strongest and strongest.share > 0.001:
        said += f", the largest part of it at {strongest.name} ({strongest.said})"
    mean = mean_order_text(spectrum)
    return sentence([said, mean and f"the mean interaction order is {mean}"])
