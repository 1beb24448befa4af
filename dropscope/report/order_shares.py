"""The shares of a spectrum as a reader meets them: named, with their intervals, or not identified."""

import math
from dataclasses import dataclass

from dropscope.report.reading import sentence
from dropscope.spectrum import Spectrum
from dropscope.spectrum.surrogate import SurrogateSpectrum

__all__ = [
    "OrderShare", "brackets", "interacting", "interactions_tile", "mean_order_text", "order_shares", "percent",
    "reading_of",
]  # fmt: skip

# What joins columns, in words; higher orders are counted.
JOINED = {2: "pairs", 3: "triples"}


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


def interactions_tile(spectrum: Spectrum) -> tuple[str, str]:
    """Write the share of all interactions as a tile, which has no room for an interval beside the number.

    Args:
        spectrum: the spectrum.

    Returns:
        What the number is, and the number; an interval instead where the share is not identified, a lower bound where
        fitted models were read.
    """
    single = order_shares(spectrum)[0]
    if isinstance(spectrum, SurrogateSpectrum):
        return "learned interactions", f"≥ {interacting(spectrum)}"
    if not single.identified:
        return "in interactions", f"{100 * (1 - single.high):.0f} to {100 * (1 - single.low):.0f} %"
    return "in interactions", percent(1 - single.share)


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
        additive, *more = (percent(r2) for r2 in spectrum.r2)
        added = [f"with {JOINED.get(k, f'terms of {k} columns')} {r2}" for k, r2 in enumerate(more, 2)]
        return f"{', '.join([f'Additive models fitted to this one explain {additive} of its variance', *added])}."

    shares = order_shares(spectrum)
    said = f"interactions hold {interacting(spectrum)} of the variance"

    strongest = max(shares[1:], key=lambda one: one.share, default=shares[0])
    # Of one share that is not identified nobody knows whether it is the largest.
    if all(one.identified for one in shares) and strongest.share > 0.001 and len(shares) > 2:
        said += f", the largest part of it at {strongest.name} ({strongest.said})"
    mean = mean_order_text(spectrum)
    return sentence([said, mean and f"the mean interaction order is {mean}"])
