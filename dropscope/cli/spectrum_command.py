"""`dropscope spectrum`: parse, measure, print. Nothing heavy is imported before the arguments are read."""

import contextlib
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["spectrum"]

BUDGET = 200_000
# Seeds of torch, with room for that of the terms.
MOST_SEED = 2**63 - 1


def spectrum(
    model: Annotated[
        str,
        typer.Argument(help="A .pt, .pth, .pt2 or .onnx file, or module:attribute (a module, callable, estimator)."),
    ],
    data: Annotated[str, typer.Option(help="A file as `study` reads it, or the name of a bundled table.")],
    target: Annotated[str | None, typer.Option(help="Column that the model predicts: no input.")] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="COLUMN,...", help="Columns that are no inputs.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN,...", help="The inputs in the model's order.")
    ] = None,
    blocks: Annotated[
        list[str] | None, typer.Option(metavar="A+B,C+D", help="Columns that count as one input.")
    ] = None,
    output: Annotated[int | None, typer.Option(help="The only output to measure, from 0 (all).")] = None,
    logits: Annotated[bool, typer.Option("--logits", help="Outputs are logits: subtract their row mean.")] = False,
    max_order: Annotated[int | None, typer.Option(help="Interaction orders shown one by one (3).")] = None,
    budget: Annotated[int, typer.Option(help="Evaluations of the model.")] = BUDGET,
    inputs_law: Annotated[str, typer.Option(metavar="product|joint", help="Law of inputs.")] = "product",
    control_variate: Annotated[
        str | None, typer.Option(metavar="pce", help="Sharpen a smooth model by a fitted expansion.")
    ] = None,
    terms: Annotated[bool, typer.Option("--terms", help="Rank blocks, pairs and triples too (as many again).")] = False,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Folder for the page, figures and numbers (none).")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Measure what order of interactions a model has learned, with 95 % intervals."""
    if terms and inputs_law != "product":
        raise ValueError(
            f"`--terms` ranks under the product law, got `--inputs-law {inputs_law}`: leave one of them out."
        )
    if not 0 <= seed <= MOST_SEED:
        raise ValueError(f"`--seed` must be in 0 to {MOST_SEED}, got {seed}.")
    options = {
        "logits": logits, "terms": terms, "seed": seed, "max_order": max_order, "budget": budget,
        "inputs_law": inputs_law, "control_variate": control_variate, "target": output,
    }  # fmt: skip
    named = {"columns": columns, "target": target, "drop": drop or [], "blocks": blocks}
    try:
        _run(model, data, named, options, out=out, quiet=quiet, as_json=as_json)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted: nothing was measured or written.\n")
        raise typer.Exit(130) from None


def _run(
    text: str, data: str, named: dict[str, Any], options: dict[str, Any], *, out: str | None, quiet: bool, as_json: bool
) -> None:
    from rich.console import Console

    from dropscope.cli.measuring import measure
    from dropscope.cli.model_inputs import choose_columns, group_columns, open_table, to_inputs
    from dropscope.cli.models import load_model
    from dropscope.cli.wording import in_options

    started = time.perf_counter()
    folder = _writable_folder(out)
    console = Console(stderr=True, quiet=quiet, highlight=False)

    with _noticed() as said:
        model = load_model(text)
        table, data, aside = open_table(data)
        frame = choose_columns(table, model, named, aside)
        columns, grouped = frame.columns, group_columns(named["blocks"], frame.columns)
        inputs = to_inputs(frame, model)
        with console.status(f"{len(inputs):,} rows of {len(columns)} columns, {options['budget']:,} evaluations"):
            found = measure(model, inputs, columns, blocks=grouped, **options)

    numbered = None if hasattr(inputs, "columns") else columns
    notes = list(dict.fromkeys(in_options(one, model.name, numbered) for one in said))
    for note in notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)

    files: list[str] = []
    try:
        if folder is not None:
            from dropscope.report import write_spectrum

            files = write_spectrum(
                found.spectrum, folder, terms=found.terms, columns=columns, name=model.name, data=data, notes=notes
            )
    finally:  # an answer is printed even where its files cannot be written
        if as_json:
            measured = {"model": text, "data": data, "rows": len(inputs), **found.to_dict(), "notes": notes}
            seconds = time.perf_counter() - started
            sys.stdout.write(json.dumps({**measured, "files": files, "seconds": seconds}) + "\n")
        else:
            typer.echo("\n".join([found.describe(), *(["", *files] if files else [])]))


@contextlib.contextmanager
def _noticed() -> Iterator[list[str]]:
    """Collect warnings as texts, and keep stdout for the answer: what a model prints goes to stderr."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        for kind in (UserWarning, RuntimeWarning):
            warnings.simplefilter("always", kind)
        yield said
    said += [str(one.message) for one in caught]


def _writable_folder(out: str | None) -> Path | None:
    """Refuse a folder that cannot be written before time is spent on what goes into it."""
    if out is None:
        return None
    if not out.strip():
        raise ValueError("`--out` must name a folder, got an empty text.")

    folder = Path(out)
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"`--out` must be a folder, but {there} is a file.")
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise PermissionError(
            f"`--out` must be a folder that can be written, but {there} cannot: {error.strerror}."
        ) from error
    return folder
