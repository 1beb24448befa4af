"""Draw a panel as plain data for plotly.js; colours stay names, which the page turns into those of its theme."""

import html
import math
from collections.abc import Sequence
from typing import Any

from dropscope.report.picture import Bars, Level, Line, Panel

__all__ = ["escaped", "panel_plot"]

FONT = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
SYMBOLS = {"circle": "circle", "ring": "circle-open", "diamond": "diamond", "cross": "x-thin-open"}


def panel_plot(panel: Panel, *, small: bool = False) -> dict[str, Any]:
    """Describe a panel to plotly.js.

    Args:
        panel: the panel.
        small: whether it is one of many, in small letters.

    Returns:
        `data` and `layout` as plain data; every text is escaped, as plotly reads some HTML tags.
    """
    data = [_level(level, panel) for level in panel.levels if math.isfinite(level.y)]
    data += [_trace(item) for item in panel.items if not isinstance(item, Level)]
    if panel.flipped:
        data = [_flip(trace) for trace in data]
    margin = {"l": 58, "r": 74 if panel.levels else 12, "t": 10, "b": 46}
    if small:
        margin = {"l": 40, "r": 8, "t": 4, "b": 34}
    x_axis: dict[str, Any] = {
        "title": {"text": "" if panel.flipped else escaped(panel.x_label), "standoff": 4 if small else 10},
        "range": [_log(end, panel) for end in panel.x_range],
        "gridcolor": "grid", "zeroline": False, "showgrid": not panel.ticks, "linecolor": "muted", "automargin": True,
    }  # fmt: skip
    if panel.log_x:
        x_axis["type"] = "log"
    if panel.ticks:
        x_axis |= {
            "tickvals": list(panel.ticks),
            "ticktext": [escaped(t) for t in panel.ticks.values()],
            "tickangle": 0,
            "tickfont": {"size": 9.5 if small else 10.5},
        }
    y_axis = {
        "title": {"text": escaped(panel.y_label), "standoff": 4 if small else 8}, "range": list(panel.y_range),
        "gridcolor": "grid", "zeroline": False, "automargin": True, "tickangle": 0,
        "nticks": 4 if panel.flipped or small else 7,
    }  # fmt: skip
    axes = (y_axis, x_axis) if panel.flipped else (x_axis, y_axis)
    layout = {
        "margin": margin, "xaxis": axes[0], "yaxis": axes[1], "showlegend": False, "barmode": "overlay", "bargap": 0.2,
        "hovermode": "closest", "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 10 if small else 12, "color": "ink"},
        "hoverlabel": {"bgcolor": "card", "bordercolor": "muted", "font": {"color": "ink"}, "align": "left"},
        "annotations": [_level_name(level) for level in panel.levels],
    }  # fmt: skip
    return {"data": data, "layout": layout}


def _flip(trace: dict[str, Any]) -> dict[str, Any]:
    """Exchange x and y."""
    swap = {"x": "y", "y": "x", "error_y": "error_x"}
    flipped = {swap.get(name, name): value for name, value in trace.items()}
    return {**flipped, "orientation": "h"} if trace["type"] == "bar" else flipped


def _trace(item: Line | Bars) -> dict[str, Any]:
    if isinstance(item, Bars):
        return _bars(item)
    return _band(item) if item.band else _line(item)


def _bars(item: Bars) -> dict[str, Any]:
    marker: dict[str, Any] = {"color": item.colour}
    if any(item.hatched):
        marker["pattern"] = {"shape": ["/" if hatched else "" for hatched in item.hatched], "fillmode": "replace"}
    return {
        "type": "bar", "x": list(item.x), "base": _plain(item.base), "y": _plain(item.height),
        "name": escaped(item.label), "marker": marker, **_hover(item.hover),
    }  # fmt: skip


def _band(item: Line) -> dict[str, Any]:
    return {
        "type": "scatter", "x": [*item.x, *item.x[::-1]], "y": _plain([*item.low, *item.high[::-1]]), "mode": "lines",
        "fill": "toself", "fillcolor": item.colour, "line": {"width": 0, "color": item.colour}, "opacity": item.opacity,
        "hoverinfo": "skip", "name": escaped(item.label),
    }  # fmt: skip


def _line(item: Line) -> dict[str, Any]:
    modes = [mode for mode, shown in (("lines", item.dash), ("markers", item.marker or not item.dash)) if shown]
    trace: dict[str, Any] = {
        "type": "scatter", "x": list(item.x), "y": _plain(item.y), "mode": "+".join(modes), "name": escaped(item.label),
        "opacity": item.opacity,
        "marker": {
            "color": item.colour, "size": item.size if item.marker else 0.1,
            "symbol": SYMBOLS.get(item.marker, "circle"), "line": {"width": 2, "color": item.colour},
        },
        **_hover(item.hover),
    }  # fmt: skip
    if item.dash:
        trace["line"] = {"color": item.colour, "width": item.width, "dash": item.dash}
    if item.low:
        up, down = ([_gap(end, y) for end, y in zip(ends, item.y, strict=True)] for ends in (item.high, item.low))
        trace["error_y"] = {
            "type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": item.colour, "width": 3,
            "thickness": min(item.width, 1.5),
        }  # fmt: skip
    return trace


def _gap(end: float, y: float) -> float:
    # A missing whisker is one of no length: plotly would draw null as a whisker to the axis.
    return abs(end - y) if math.isfinite(end - y) else 0.0


def _level(level: Level, panel: Panel) -> dict[str, Any]:
    return {
        "type": "scatter", "x": list(panel.x_range), "y": [level.y, level.y], "mode": "lines", "hoverinfo": "skip",
        "line": {"color": "muted", "width": 1.4, "dash": level.dash}, "name": escaped(level.name),
    }  # fmt: skip


def _level_name(level: Level) -> dict[str, Any]:
    return {
        "xref": "paper", "x": 1, "xanchor": "left", "xshift": 4, "y": level.name_y, "yanchor": "middle",
        "showarrow": False, "align": "left", "text": escaped(level.name), "font": {"size": 11, "color": "muted"},
    }  # fmt: skip


def _hover(texts: Sequence[str]) -> dict[str, Any]:
    if not texts:
        return {"hoverinfo": "skip"}
    return {"hovertext": [escaped(text) for text in texts], "hovertemplate": "%{hovertext}<extra></extra>"}


def escaped(text: str) -> str:
    """Write a text so that plotly shows it as it is.

    Args:
        text: the text.

    Returns:
        The text without HTML, its lines broken by tags.
    """
    # Between dollar signs plotly would look for mathematics.
    return html.escape(text, quote=False).replace("$", "&#36;").replace("\n", "<br>")


def _log(end: float, panel: Panel) -> float:
    return math.log10(end) if panel.log_x else end


def _plain(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
