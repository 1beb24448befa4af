"""A figure as something to look at in a notebook, drawn by plotly."""

import textwrap
from typing import Any

from dropscope.errors import need
from dropscope.report.picture import LIGHT, Figure
from dropscope.report.plotly_drawing import escaped, panel_plot

__all__ = ["to_plotly"]

# Pixels of a row of panels and of the head above them; characters of a line in the head.
ROW_HEIGHT, HEAD = 350, 140
CHARACTERS = 110


def to_plotly(figure: Figure) -> Any:
    """Turn a figure into one of plotly, which a notebook shows and which has `show`, `write_html` and `write_image`.

    Args:
        figure: the figure.

    Returns:
        A `plotly.graph_objects.Figure` with one subplot a panel.

    Raises:
        MissingExtra: plotly is not installed.

    Example:
        >>> from dropscope.report import draw_shares
        >>> from dropscope.spectrum import interaction_spectrum, known
        >>> f = known.product(2, 4)
        >>> to_plotly(draw_shares(interaction_spectrum(f, f.sample(1000), budget=50_000))).layout.title.text
        'Share of the variance at each interaction order'
    """
    subplots = need("plotly.subplots", "study")
    columns = min(figure.columns, len(figure.panels))
    heights = [max(panel.height for panel in row) for row in figure.rows]
    titles = [escaped(panel.title) for panel in figure.panels]
    # Named rows need room for their names.
    gap = (0.5 if any(panel.flipped for panel in figure.panels) else 0.2) / columns
    drawn = subplots.make_subplots(
        len(heights), columns, subplot_titles=titles, row_heights=heights, horizontal_spacing=gap
    )
    unnamed = {escaped(key.label) for key in figure.keys}

    for i, panel in enumerate(figure.panels):
        plot, at = _painted(panel_plot(panel)), {"row": i // columns + 1, "col": i % columns + 1}
        for trace in plot["data"]:
            drawn.add_trace({**trace, "showlegend": trace["name"] in unnamed}, **at)
            unnamed.discard(trace["name"])
        drawn.update_xaxes(plot["layout"]["xaxis"], **at)
        drawn.update_yaxes(plot["layout"]["yaxis"], **at)
        for name in plot["layout"]["annotations"]:
            drawn.add_annotation({**name, "xref": "x domain", "yref": "y"}, **at)

    said = "<br>".join(map(escaped, textwrap.wrap(figure.reading, CHARACTERS)))
    drawn.update_layout(
        title={"text": escaped(figure.title), "subtitle": {"text": said}, "yref": "container", "y": 0.97},
        barmode="overlay", bargap=0.2, height=ROW_HEIGHT * sum(heights) + HEAD, margin={"t": HEAD, "b": 90},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}, template="plotly_white",
        font=_painted({"color": "ink"}),
    )  # fmt: skip
    return drawn


def _painted(plot: Any) -> Any:
    """Put the light palette in place of the names of colours."""
    if isinstance(plot, dict):
        return {key: LIGHT.get(v, v) if key.endswith("color") else _painted(v) for key, v in plot.items()}
    return [_painted(one) for one in plot] if isinstance(plot, list) else plot
