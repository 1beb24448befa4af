"""`dropscope compare`: what differs between two studies. Nothing heavy is imported before the arguments are read."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["compare"]


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Folder of a finished study.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Folder of another one, of the same target and metric.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Say what differs between two studies: tables, options, advice, and the losses of the rates common to both."""
    from dropscope import study

    found = study.compare(a, b)
    if as_json:
        sys.stdout.write(json.dumps(found.to_dict()) + "\n")
    else:
        typer.echo(found.describe())
