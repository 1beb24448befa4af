"""`dropscope reproduce`: run a published experiment again and print its numbers beside the published ones."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dropscope.errors import closest

__all__ = ["reproduce"]

# The library's arguments that have another name here.
OPTIONS = {"`n_samples`": "`--passes`", "`n_seeds`": "`--seeds`"}


def reproduce(
    name: Annotated[str | None, typer.Argument(help="Which experiment: one that --list prints.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Print what can be reproduced, and what it costs.")] = False,
    full: Annotated[bool, typer.Option("--full", help="All of it, not the small version.")] = False,
    sets: Annotated[str | None, typer.Option(metavar="NAME,NAME,...", help="These tables instead.")] = None,
    passes: Annotated[int | None, typer.Option(help="Passes with dropout on (2000; 10000 with --full).")] = None,
    splits: Annotated[int | None, typer.Option(help="Cuts of each table, from the first on (all).")] = None,
    seeds: Annotated[int | None, typer.Option(help="Networks for each cut, averaged.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="JSON file for the numbers (none).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Run a published experiment again, and print its numbers beside the published ones."""
    if listed:
        _print_list(as_json)
        return
    names = None if sets is None else [part.strip() for part in sets.split(",")]
    given = {"sets": names, "n_samples": passes, "splits": splits, "n_seeds": seeds}
    options = {option: value for option, value in given.items() if value is not None}
    try:
        _run(name, {"full": full, "seed": seed, **options}, out, quiet=quiet, as_json=as_json)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted: nothing was written.\n")
        raise typer.Exit(130) from None


def _print_list(as_json: bool) -> None:
    from dataclasses import asdict

    from dropscope.experiments import EXPERIMENTS

    rows = [asdict(experiment) for experiment in EXPERIMENTS.values()]
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    from dropscope.cli.reproduce_display import print_rows

    titles = {"name": "name", "cost": "cost", "full_cost": "with --full", "source": "source", "measures": "measures"}
    print_rows("", [{title: row[key] for key, title in titles.items()} for row in rows])


def _run(name: str | None, options: dict[str, Any], out: Path | None, *, quiet: bool, as_json: bool) -> None:
    from dropscope.cli.reproduce_display import Display, print_rows
    from dropscope.experiments import EXPERIMENTS

    if name not in EXPERIMENTS:
        raise ValueError(f"`name` must be an experiment, got {name or 'none'}: {closest(name or '', [*EXPERIMENTS])}")
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise NotADirectoryError(f"`--out` must be a file in a folder that exists, got {out}.")

    experiment = EXPERIMENTS[name]
    try:
        with Display(quiet=quiet) as display:
            result = experiment.load().run(**options, progress=display)
    except ValueError as error:
        raise ValueError(_in_options(str(error))) from error

    if as_json:
        sys.stdout.write(json.dumps(result.to_dict()) + "\n")
    else:
        print_rows(experiment.source, result.rows())
        typer.echo(result.describe())
    if out is not None:  # last: what took an hour is shown also where it cannot be written
        out.write_text(json.dumps(result.to_dict()) + "\n")


def _in_options(message: str) -> str:
    for argument, option in OPTIONS.items():
        message = message.replace(argument, option)
    return message
