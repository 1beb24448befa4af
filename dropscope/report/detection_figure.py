"""Figures of how well scores tell rows from outside: where the scores of both sets lie, and the ROC curves."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from dropscope.ensemble import Detection
from dropscope.report.picture import Figure, Line, Panel

__all__ = ["draw_detection"]

BINS = 40
COLOURS = ("blue", "vermilion", "green", "purple", "orange", "sky")
INSIDE, OUTSIDE = "rest", "ink"
# Positive scores that spread over more than this ratio are shown on a logarithmic axis.
WIDE = 100


def draw_detection(found: Detection | Mapping[str, Detection]) -> Figure:
    """Draw where the scores of rows from inside and from outside lie, and the ROC curve.

    Args:
        found: the detection by one score, or those by several, by name: up to six.

    Returns:
        The figure; `to_png` and `to_plotly` show it.

    Raises:
        ValueError: there are no detections, or more than six.

    Example:
        >>> from dropscope.ensemble import detection
        >>> figure = draw_detection(detection([0.1, 0.2, 0.3], [0.3, 0.9], score="entropy"))
        >>> [panel.title for panel in figure.panels]
        ['Scores: entropy', 'ROC curve']
    """
    given = {found.score: found} if isinstance(found, Detection) else found
    named = {name.replace("_", " "): one for name, one in given.items()}
    if not 1 <= len(named) <= len(COLOURS):
        raise ValueError(f"`found` must hold one to {len(COLOURS)} detections, got {len(named)}.")
    one = next(iter(named.values()))

    panels = [*(_scores(name, each) for name, each in named.items()), _curves(named)]
    best = max(named, key=lambda name: named[name].auroc)
    flagged = named[best].fpr95
    reading = (
        f"By {best}{', the best here,' if len(named) > 1 else ''} a row from outside scores higher than one from "
        f"inside in {100 * named[best].auroc:.1f} % of pairs; to flag 95 % of the rows from outside, "
        f"{100 * flagged:.1f} % of those from inside are flagged too."
    )
    caption = (
        f"{one.n_inside} rows from inside, {one.n_outside} from outside, which are the positive ones. Key: area under "
        "each curve with its standard error over rows (DeLong). Cross: the highest threshold that flags 95 % of the "
        "rows from outside."
    )
    title = "How well uncertainty tells rows from outside"
    return Figure("detection", title, reading, caption, panels, columns=2 if len(panels) in (2, 4) else 3)


def _scores(name: str, one: Detection) -> Panel:
    """Histograms of both sets over the same bins."""
    both = torch.cat([one.inside, one.outside]).double()
    finite = both[both.isfinite()]
    low, high = (finite.min().item(), finite.max().item()) if len(finite) else (0.0, 1.0)
    log = low > 0 and high > WIDE * low
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = torch.linspace(*((math.log(low), math.log(high)) if log else (low, high)), BINS + 1, dtype=torch.float64)
    edges = edges.exp() if log else edges

    shares = [_shares(part.double(), edges) for part in (one.inside, one.outside)]
    items = [
        line
        for share, label, colour in zip(shares, ("inside", "outside"), (INSIDE, OUTSIDE), strict=True)
        for line in _steps(share, edges, label, colour)
    ]
    top = 1.06 * max(map(max, shares))
    ticks = _powers(low, high) if log else {}
    return Panel(f"Scores: {name}", name, "share of the rows of a set", items, (0, top), (low, high), ticks, log_x=log)


def _powers(low: float, high: float) -> dict[float, str]:
    """Powers of ten to name on a logarithmic axis, five at most."""
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    return {10.0**k: f"{10.0**k:g}" for k in powers[:: -(-len(powers) // 5)]}


def _shares(scores: Tensor, edges: Tensor) -> list[float]:
    """Share of the scores in each bin; infinite ones count to the outer bins."""
    places = torch.bucketize(scores, edges[1:-1], right=True)
    return (places.bincount(minlength=BINS) / len(scores)).tolist()


def _steps(shares: list[float], edges: Tensor, label: str, colour: str) -> list[Line]:
    x = edges.repeat_interleave(2)[1:-1].tolist()
    y = [share for share in shares for _ in range(2)]
    return [
        Line(x, y, colour, low=[0.0] * len(y), high=y, band=True, opacity=0.25),
        Line(x, y, colour, label, width=1.6),
    ]


def _curves(named: Mapping[str, Detection]) -> Panel:
    lines = [Line([0, 1], [0, 1], "muted", "chance", "dot", 1.2)]
    for (name, one), colour in zip(named.items(), COLOURS, strict=False):
        false, true = (_thinned(rates) for rates in one.curve())
        error = "" if math.isnan(one.auroc_error) else f" ± {one.auroc_error:.3f}"
        lines.append(Line(false, true, colour, f"{name}: {one.auroc:.3f}{error}", width=2.2))
        lines.append(Line([one.fpr95], [_detected(one)], colour, dash="", marker="cross", size=9))
    return Panel(
        "ROC curve", "share of inside rows flagged", "share of outside rows flagged", lines, (0, 1.02), (-0.01, 1)
    )


def _detected(one: Detection) -> float:
    """Share of the rows from outside that are flagged where at least 95 % must be."""
    _, true = one.curve()
    return true[true >= 0.95 - 1e-12].min().item()


def _thinned(rates: Tensor, most: int = 500) -> list[float]:
    """At most so many points of a curve, its ends among them."""
    if len(rates) <= most:
        return list(rates.tolist())
    return list(rates[torch.linspace(0, len(rates) - 1, most).round().long()].tolist())
