"""Draw a figure as PNG with matplotlib, for papers and slides: light, and without any global state."""

import math
from pathlib import Path
from typing import Any

from dropscope.errors import need
from dropscope.report.picture import LIGHT, Bars, Figure, Key, Level, Line, Panel

__all__ = ["to_png"]

DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-.", "": "none"}
MARKERS = {"circle": "o", "ring": "o", "diamond": "D", "cross": "x", "": ""}
# Column names may hold $ signs: no text is mathematics.
STYLE = {
    "text.parse_math": False, "font.size": 9, "axes.edgecolor": LIGHT["muted"], "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlesize": 10, "axes.titleweight": "bold", "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"], "text.color": LIGHT["ink"], "axes.labelcolor": LIGHT["ink"], "legend.frameon": False,
}  # fmt: skip


def to_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG.

    Args:
        figure: the figure.
        path: the file.
    """
    matplotlib, backend = need("matplotlib", "study"), need("matplotlib.figure", "study")
    columns = min(figure.columns, len(figure.panels))
    rows = math.ceil(len(figure.panels) / columns)
    with matplotlib.rc_context(STYLE):
        size = (max(3.9 * columns, 5.2), 3.2 * rows + 0.5)
        canvas = backend.Figure(figsize=size, dpi=130, layout="constrained")
        axes = canvas.subplots(rows, columns, squeeze=False).ravel()
        for axis, panel in zip(axes, figure.panels, strict=False):
            _panel(axis, panel)
        for axis in axes[len(figure.panels) :]:
            axis.set_axis_off()
        canvas.legend(*_legend(figure.keys), loc="outside lower center", ncols=min(5, max(1, len(figure.keys))))
        canvas.savefig(path)


def _panel(axis: Any, panel: Panel) -> None:
    for item in panel.items:
        if isinstance(item, Bars):
            axis.bar(item.x, item.height, bottom=item.base, color=LIGHT[item.colour], width=0.8, zorder=2)
        elif isinstance(item, Level):
            _level(axis, item)
        else:
            _line(axis, item)
    axis.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label, ylim=panel.y_range)
    if panel.log_x:
        axis.set_xscale("log")
    if panel.ticks:
        axis.set_xticks(list(panel.ticks), list(panel.ticks.values()))
        axis.minorticks_off()
    axis.set_xlim(panel.x_range)
    axis.grid(axis="y" if panel.ticks else "both", color=LIGHT["grid"], zorder=0)
    axis.set_axisbelow(True)


def _line(axis: Any, item: Line) -> None:
    colour = LIGHT[item.colour]
    if item.band:
        axis.fill_between(item.x, item.low, item.high, color=colour, alpha=item.opacity, linewidth=0)
        return
    ends = None
    if item.low:
        ends = [
            [abs(end - y) if math.isfinite(end - y) else 0 for end, y in zip(side, item.y, strict=True)]
            for side in (item.low, item.high)
        ]
    axis.errorbar(
        item.x, item.y, yerr=ends, color=colour, alpha=item.opacity, linestyle=DASHES[item.dash],
        linewidth=item.width * 0.75, marker=MARKERS[item.marker], markersize=item.size * 0.75,
        markerfacecolor="none" if item.marker == "ring" else colour, elinewidth=1, capsize=2, zorder=3,
    )  # fmt: skip


def _level(axis: Any, item: Level) -> None:
    if math.isfinite(item.y):
        axis.axhline(item.y, color=LIGHT["muted"], linestyle=DASHES[item.dash], linewidth=1, zorder=1)
    axis.text(
        1.02,
        item.name_y,
        item.name,
        transform=axis.get_yaxis_transform(),
        va="center",
        fontsize=7.5,
        color=LIGHT["muted"],
    )


def _legend(keys: list[Key]) -> tuple[list[Any], list[str]]:
    lines, patches = need("matplotlib.lines", "study"), need("matplotlib.patches", "study")
    handles = []
    for key in keys:
        colour = LIGHT[key.colour]
        if key.box:
            handles.append(patches.Patch(color=colour, alpha=key.opacity, linewidth=0))
            continue
        face = "none" if key.marker == "ring" else colour
        handles.append(
            lines.Line2D(
                [], [], color=colour, linestyle=DASHES[key.dash], marker=MARKERS[key.marker], markerfacecolor=face
            )
        )
    return handles, [key.label for key in keys]
