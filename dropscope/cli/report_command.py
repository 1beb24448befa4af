"""`dropscope report`: the page of a finished study again. Nothing heavy is imported before the arguments are read."""

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished study.")],
    pdf: Annotated[bool, typer.Option("--pdf", help="Write report.pdf as well.")] = False,
) -> None:
    """Write the page and the figures of a finished study again, from its folder; nothing is trained."""
    from dropscope.report import write_pdf, write_report
    from dropscope.study.opening import load_result, newer_trials

    result = load_result(folder)
    newer = newer_trials(folder, result)
    if newer:
        sys.stderr.write(
            f"note: {folder} holds {newer} finished networks that its last result does not know, and that are not "
            "shown: if the study was interrupted, its `dropscope study` command goes on.\n"
        )
    files = write_report(result, folder)
    if pdf:
        files.append(write_pdf(result, folder))
    typer.echo("\n".join(files))
