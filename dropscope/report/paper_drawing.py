"""Draw figures with matplotlib as PNG and PDF, for papers and slides: light, and without any global state."""

import math
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dropscope.errors import need
from dropscope.report.picture import LIGHT, Bars, Figure, Key, Level, Line, Panel

__all__ = ["draw_panels", "natural_size", "paper_style", "to_pdf", "to_png"]

DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-.", "": "none"}
MARKERS = {"circle": "o", "ring": "o", "diamond": "D", "cross": "x", "": ""}
# Column names may hold $ signs: no text is mathematics.
STYLE = {
    "text.parse_math": False, "font.size": 9, "axes.edgecolor": LIGHT["muted"], "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlesize": 10, "axes.titleweight": "bold", "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"], "text.color": LIGHT["ink"], "axes.labelcolor": LIGHT["ink"], "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text, as journals ask for
}  # fmt: skip
# Small panels stand close together: smaller letters, shorter ticks.
SMALL = {
    "axes.titlesize": 8, "axes.titleweight": "normal", "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "axes.titlepad": 3,
}  # fmt: skip

# Tried in this order for letters that the first lacks; a machine has some of them.
FONTS = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Hiragino Sans", "Microsoft YaHei",
         "Malgun Gothic", "WenQuanYi Micro Hei", "Arial Unicode MS")  # fmt: skip
# The caption: size of its letters, inches of a line, and characters of an inch.
CAPTION_SIZE, CAPTION_LINE, CAPTION_WIDTH = 7, 0.135, 18


def to_png(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, its caption below it: a share says nothing without the law of inputs.

    Args:
        figure: the figure.
        path: the file.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    _save(figure, path, "png")


def to_pdf(figure: Figure, path: str | Path) -> None:
    """Write a figure as PDF, in lines and letters that stay sharp at every size, its caption below it.

    Args:
        figure: the figure.
        path: the file.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    _save(figure, path, "pdf")


def _save(figure: Figure, path: str | Path, form: str) -> None:
    backend = need("matplotlib.figure", "study")
    width, height = natural_size(figure)
    caption = textwrap.wrap(" ".join(figure.caption.split()), int(CAPTION_WIDTH * width))
    below = CAPTION_LINE * len(caption) + 0.15
    # Without the time of day, one figure is one file.
    about = {"Title": figure.title} | ({"CreationDate": None} if form == "pdf" else {})

    with paper_style():
        whole = backend.Figure(figsize=(width, height + below), dpi=130, layout="constrained")
        canvas, foot = whole.subfigures(2, height_ratios=(height, below))
        foot.text(0.01, 1, "\n".join(caption), va="top", fontsize=CAPTION_SIZE, color=LIGHT["muted"])
        draw_panels(canvas, figure, width)
        whole.savefig(path, format=form, metadata=about)


@contextmanager
def paper_style() -> Iterator[None]:
    """Use the style of all figures on paper, letters that no font has included, until the block ends.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    matplotlib = need("matplotlib", "study")
    known = need("matplotlib.font_manager", "study").fontManager.get_font_names()
    style = {**STYLE, "font.family": [name for name in FONTS if name in known]}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # A letter that no font has is a box in the figure; the page has it.
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def natural_size(figure: Figure) -> tuple[float, float]:
    """Compute the size at which a figure reads well, without its caption.

    Args:
        figure: the figure.

    Returns:
        Width and height in inches.
    """
    columns = min(figure.columns, len(figure.panels))
    # Named rows need room for their names.
    width, least = (5.6, 7.4) if any(panel.flipped for panel in figure.panels) else (3.9, 5.2)
    width = 2.3 if figure.small else width
    return max(width * columns, least), 3.2 * sum(_heights(figure)) + 0.5


def draw_panels(canvas: Any, figure: Figure, width: float) -> None:
    """Draw the panels of a figure and its key.

    Args:
        canvas: a figure of matplotlib, or a part of one, in constrained layout.
        figure: what to draw.
        width: width of the canvas in inches.
    """
    columns = min(figure.columns, len(figure.panels))
    with need("matplotlib", "study").rc_context(SMALL if figure.small else {}):
        shape = len(figure.rows), columns
        axes = canvas.subplots(*shape, squeeze=False, height_ratios=_heights(figure)).ravel()
        for axis, panel in zip(axes, figure.panels, strict=False):
            _panel(axis, panel)
    for axis in axes[len(figure.panels) :]:
        axis.set_axis_off()
    if figure.small:
        _label_outer(axes[: len(figure.panels)], columns)
    if figure.keys:
        canvas.legend(*_legend(figure.keys), loc="outside lower center", ncols=_columns(figure.keys, width))


def _heights(figure: Figure) -> list[float]:
    return [max(panel.height for panel in row) for row in figure.rows]


def _label_outer(axes: Any, columns: int) -> None:
    """Small panels share their axes: labels stand on the left and below the lowest of each column."""
    for i, axis in enumerate(axes):
        if i % columns:
            axis.set_ylabel("")
            axis.tick_params(labelleft=False)
        if i + columns < len(axes):
            axis.set_xlabel("")
            axis.tick_params(labelbottom=False)


def _panel(axis: Any, panel: Panel) -> None:
    for item in panel.items:
        if isinstance(item, Bars):
            _bars(axis, item, panel.flipped)
        elif isinstance(item, Level):
            _level(axis, item)
        else:
            _line(axis, item, panel.flipped)

    x, y = ("y", "x") if panel.flipped else ("x", "y")
    names = {f"{x}label": "" if panel.flipped else panel.x_label, f"{y}label": panel.y_label}
    axis.set(title=panel.title, **names, **{f"{y}lim": panel.y_range})
    if panel.log_x:
        axis.set(**{f"{x}scale": "log"})
    if panel.ticks:
        axis.set(**{f"{x}ticks": list(panel.ticks), f"{x}ticklabels": list(panel.ticks.values())})
        axis.minorticks_off()
    axis.set(**{f"{x}lim": panel.x_range})
    axis.grid(axis=y if panel.ticks else "both", color=LIGHT["grid"], zorder=0)
    axis.set_axisbelow(True)


def _bars(axis: Any, item: Bars, flipped: bool) -> None:
    draw, start = (axis.barh, "left") if flipped else (axis.bar, "bottom")
    bars = draw(item.x, item.height, 0.8, **{start: item.base}, color=LIGHT[item.colour], zorder=2)
    for bar, hatched in zip(bars, item.hatched, strict=False):
        if hatched:
            bar.set(fill=False, hatch="////", edgecolor=LIGHT[item.colour], linewidth=0)


def _line(axis: Any, item: Line, flipped: bool) -> None:
    colour = LIGHT[item.colour]
    if item.band:
        fill = axis.fill_betweenx if flipped else axis.fill_between
        fill(item.x, item.low, item.high, color=colour, alpha=item.opacity, linewidth=0)
        return
    ends = None
    if item.low:
        ends = [
            [abs(end - y) if math.isfinite(end - y) else 0 for end, y in zip(side, item.y, strict=True)]
            for side in (item.low, item.high)
        ]
    points = (item.y, item.x) if flipped else (item.x, item.y)
    axis.errorbar(
        *points, **{"xerr" if flipped else "yerr": ends}, color=colour, alpha=item.opacity, linestyle=DASHES[item.dash],
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


def _columns(keys: list[Key], width: float) -> int:
    """As many columns of the key as fit into so many inches, five at most."""
    widest = 0.55 + 0.07 * max(len(key.label) for key in keys)
    return max(1, min(5, len(keys), int(width / widest)))


def _legend(keys: list[Key]) -> tuple[list[Any], list[str]]:
    lines, patches = need("matplotlib.lines", "study"), need("matplotlib.patches", "study")
    handles = []
    for key in keys:
        colour = LIGHT[key.colour]
        if key.box:
            hatching = {"fill": False, "hatch": "////"} if key.hatched else {}
            handles.append(patches.Patch(color=colour, alpha=key.opacity, linewidth=0, **hatching))
            continue
        face = "none" if key.marker == "ring" else colour
        handles.append(
            lines.Line2D(
                [], [], color=colour, linestyle=DASHES[key.dash], marker=MARKERS[key.marker], markerfacecolor=face
            )
        )
    return handles, [key.label for key in keys]
