"""The commands of `dropscope`: study, report and compare; spectrum; reproduce."""

import typer

from dropscope import __version__
from dropscope.cli.compare_command import compare
from dropscope.cli.report_command import report
from dropscope.cli.reproduce_command import reproduce
from dropscope.cli.spectrum_command import spectrum
from dropscope.cli.study_command import study

__all__ = ["app"]

HELP = "The dropout workbench for PyTorch: how much dropout to use, where, and what a model has learned."

app = typer.Typer(add_completion=False, no_args_is_help=True, help=HELP, pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def dropscope(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """The dropout workbench for PyTorch."""


app.command("study")(study)
app.command("report")(report)
app.command("compare")(compare)
app.command("spectrum")(spectrum)
app.command("reproduce")(reproduce)
