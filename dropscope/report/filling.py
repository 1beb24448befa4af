"""Fill a page template: one HTML file with style, data and plotly.js inside; it asks the network for nothing."""

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from dropscope.errors import need
from dropscope.report.picture import DARK, LIGHT, Figure
from dropscope.report.plotly_drawing import panel_plot
from dropscope.report.tables import number_text
from dropscope.study.rates import rate_text

__all__ = ["fill"]


def fill(template: str, figures: Sequence[Figure], **values: Any) -> str:
    """Fill a template that extends `base.html`.

    Args:
        template: name of the file.
        figures: what the page draws.
        values: what else the template shows.

    Returns:
        The HTML.

    Raises:
        MissingExtra: plotly or jinja2 is not installed.
    """
    jinja2, offline = need("jinja2", "study"), need("plotly.offline", "study")
    # Whatever a table is called, it is text here: autoescape is on for every name.
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number_text, "rate": rate_text}
    trusted = environment.filters["safe"]

    return environment.get_template(template).render(
        figures=figures,
        plots=[panel_plot(panel, small=figure.small) for figure in figures for panel in figure.panels],
        palettes={"light": LIGHT, "dark": DARK},
        style=trusted(_read("style.css")),
        plotly=trusted(_as_script(offline.get_plotlyjs())),
        **values,
    )


def _read(name: str) -> str:
    return files("dropscope.report").joinpath(name).read_text(encoding="utf-8")


def _as_script(source: str) -> str:
    """No text inside a script may end it."""
    return re.sub(r"</(?=script)", r"<\\/", source, flags=re.IGNORECASE)
