"""What a figure shows, told once: the page draws it with plotly, the PNG with matplotlib."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["DARK", "LIGHT", "Bars", "Figure", "Key", "Level", "Line", "Panel"]

# Okabe & Ito's colours, which all common kinds of colour vision tell apart; the darker ones are lifted on a dark page.
LIGHT = {
    "ink": "#1b1f24", "muted": "#5f6872", "grid": "#e2e6ea", "card": "#ffffff", "page": "#f5f6f8", "rest": "#a3abb4",
    "blue": "#0072b2", "orange": "#e69f00", "green": "#009e73", "purple": "#cc79a7", "vermilion": "#d55e00",
    "sky": "#56b4e9",
}  # fmt: skip
DARK = {
    **LIGHT, "ink": "#e6e9ec", "muted": "#a0a9b3", "grid": "#2e353c", "card": "#1c2126", "page": "#121619",
    "rest": "#79828c", "blue": "#4aa3df", "green": "#2bb58a", "vermilion": "#f07f35",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Line:
    """Points, joined unless `dash` is empty; `low` and `high` are ends of error bars, or of a band.

    `colour` is a name of the palettes; an empty `label` keeps the line out of the key; nan leaves a gap.
    """

    x: Sequence[float]
    y: Sequence[float]
    colour: str = "ink"
    label: str = ""
    dash: str = "solid"
    width: float = 2.0
    marker: str = ""
    size: float = 7.0
    opacity: float = 1.0
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    band: bool = False
    hover: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Bars:
    """One segment of stacked bars: from `base` up by `height`.

    An empty `label` keeps it out of the key; `hatched` says of each bar whether it is drawn as hatching, for what is
    not identified.
    """

    x: Sequence[float]
    base: Sequence[float]
    height: Sequence[float]
    colour: str
    label: str
    hover: Sequence[str]
    hatched: Sequence[bool] = ()


@dataclass(frozen=True, eq=False)
class Level:
    """A horizontal line across a panel, named in its right margin; a nan `y` names a line beyond the axis."""

    y: float
    name: str
    name_y: float
    dash: str = "dot"


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes. `ticks` names positions on the x axis; `log_x` makes that axis logarithmic.

    A `flipped` panel lists named rows: its x axis runs down the left side, its y axis from left to right. `height` is
    that of the panel beside a usual one.
    """

    title: str
    x_label: str
    y_label: str
    items: Sequence[Line | Bars | Level]
    y_range: tuple[float, float]
    x_range: tuple[float, float]
    ticks: dict[float, str] = field(default_factory=dict)
    log_x: bool = False
    flipped: bool = False
    height: float = 1.0

    @property
    def levels(self) -> list[Level]:
        """The horizontal lines."""
        return [item for item in self.items if isinstance(item, Level)]


@dataclass(frozen=True)
class Key:
    """One entry of a figure's key: a line, points, or a box, filled or hatched."""

    label: str
    colour: str
    dash: str
    marker: str
    box: bool
    opacity: float = 1.0
    hatched: bool = False


@dataclass(frozen=True, eq=False)
class Figure:
    """Panels with one key, a sentence that reads them, and a caption that says how they were made.

    The panels of a `small` figure are many and alike: they share their axes and stand close together.
    """

    name: str
    title: str
    reading: str
    caption: str
    panels: list[Panel]
    columns: int = 3
    small: bool = False

    @property
    def rows(self) -> list[list[Panel]]:
        """The panels, row by row."""
        return [self.panels[i : i + self.columns] for i in range(0, len(self.panels), self.columns)]

    @property
    def keys(self) -> list[Key]:
        """The key: each label once, in order of first appearance."""
        found: dict[str, Key] = {}
        for item in (item for panel in self.panels for item in panel.items):
            if isinstance(item, Bars) and item.label:
                hatched = any(item.hatched) and all(item.hatched)
                found.setdefault(item.label, Key(item.label, item.colour, "solid", "", True, hatched=hatched))
            elif isinstance(item, Line) and item.label and not all(map(math.isnan, item.y)):
                found.setdefault(
                    item.label, Key(item.label, item.colour, item.dash, item.marker, item.band, item.opacity)
                )
        return list(found.values())
