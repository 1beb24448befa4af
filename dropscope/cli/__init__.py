"""The command line: `dropscope study`, `report` and `compare`, `dropscope spectrum` and `dropscope reproduce`."""

import sys

import typer

from dropscope import __version__
from dropscope.cli.compare_command import compare
from dropscope.cli.report_command import report
from dropscope.cli.reproduce_command import reproduce
from dropscope.cli.spectrum_command import spectrum
from dropscope.cli.study_command import study
from dropscope.errors import DropscopeError

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)


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


def main() -> None:
    """Run the command line; what goes wrong is one line on stderr and exit code 2."""
    try:
        app()
    except (DropscopeError, OSError, ValueError, TypeError, ImportError, RuntimeError) as error:
        sys.stderr.write(f"dropscope: error: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except Exception as error:  # a fault of ours: still one line, with its kind
        sys.stderr.write(f"dropscope: error: unexpected {type(error).__name__}: {' '.join(str(error).split())}\n")
        sys.exit(2)
