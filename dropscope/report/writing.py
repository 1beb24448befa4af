"""Write the report of a study: the page, and one PNG a figure."""

from pathlib import Path

from dropscope.report.arm_figures import arms_figure
from dropscope.report.learning_figures import learning_figure
from dropscope.report.loss_figures import gain_figure, loss_figure
from dropscope.report.page import render
from dropscope.report.paper_drawing import to_png
from dropscope.report.picture import Figure
from dropscope.report.spectrum_figures import epoch_spectrum_figure, spectrum_figure
from dropscope.report.theory_figures import measured_figure, survival_figure
from dropscope.study import StudyResult

__all__ = ["figures_of", "write_report"]

DRAWERS = (
    loss_figure, gain_figure, spectrum_figure, learning_figure, epoch_spectrum_figure, arms_figure, measured_figure,
    survival_figure,
)  # fmt: skip


def write_report(result: StudyResult, folder: Path) -> list[str]:
    """Write `report.html`, which opens without a network, and its figures as PNG.

    Args:
        result: a finished study.
        folder: where the files go; it is created if need be.

    Returns:
        The paths of the files, the page first.

    Raises:
        MissingExtra: plotly, matplotlib or jinja2 is not installed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures = figures_of(result)
    page = folder / "report.html"
    page.write_text(render(result, figures), encoding="utf-8")
    pictures = [folder / f"{figure.name}.png" for figure in figures]
    for figure, path in zip(figures, pictures, strict=True):
        to_png(figure, path)
    return [str(path) for path in (page, *pictures)]


def figures_of(result: StudyResult) -> list[Figure]:
    """Describe every figure that a study has the numbers for.

    Args:
        result: a finished study.

    Returns:
        The figures, in the order of the page.
    """
    return [figure for drawer in DRAWERS if (figure := drawer(result)) is not None and figure.panels]
