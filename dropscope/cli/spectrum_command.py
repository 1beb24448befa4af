"""`dropscope spectrum`: parse, measure, print. Nothing heavy is imported before the arguments are read."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["spectrum"]

BUDGET = 200_000


def spectrum(
    model: Annotated[
        str,
        typer.Argument(help="A .pt, .pth, .pt2 or .onnx file, or module:attribute (a module, callable, estimator)."),
    ],
    data: Annotated[str, typer.Option(help="A CSV, TSV or Parquet file, or the name of a bundled table.")],
    target: Annotated[str | None, typer.Option(help="Column that the model predicts: no input.")] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="COLUMN,...", help="Columns that are no inputs.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN,...", help="The inputs in the model's order.")
    ] = None,
    blocks: Annotated[str | None, typer.Option(metavar="A+B,C+D", help="Columns that count as one input.")] = None,
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
    out: Annotated[Path | None, typer.Option(help="Folder for the page, figures and numbers (none).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no notes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Measure what order of interactions a model has learned, with 95 % intervals."""
    if terms and inputs_law != "product":
        raise ValueError(
            f"`--terms` ranks under the product law, got `--inputs-law {inputs_law}`: leave one of them out."
        )
    options = {
        "logits": logits, "terms": terms, "seed": seed, "max_order": max_order, "budget": budget,
        "inputs_law": inputs_law, "control_variate": control_variate, "target": output,
    }  # fmt: skip
    left_out = [*_names(drop), *([] if target is None else [target])]
    chosen = _names(columns) if columns else None
    _run(model, data, chosen, left_out, blocks, options, out=out, quiet=quiet, as_json=as_json)


def _run(
    text: str, data: str, chosen: list[str] | None, left_out: list[str], blocks: str | None, options: dict[str, Any], *,
    out: Path | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    from rich.console import Console

    from dropscope.cli.measuring import measure
    from dropscope.cli.model_inputs import choose_columns, group_columns, open_table, to_inputs
    from dropscope.cli.models import load_model

    started = time.perf_counter()
    model = load_model(text)
    table, data, aside = open_table(data)
    frame = choose_columns(table, model, chosen, left_out, aside)
    inputs, grouped = to_inputs(frame, model), group_columns(blocks, frame.columns)
    if out is not None:
        _check_folder(out)

    console = Console(stderr=True, quiet=quiet, highlight=False)
    with console.status(f"{len(inputs):,} rows of {len(frame.columns)} columns, {options['budget']:,} evaluations"):
        found = measure(model, inputs, frame.columns, blocks=grouped, **options)
    for note in found.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)

    files: list[str] = []
    try:
        if out is not None:
            from dropscope.report import write_spectrum

            files = write_spectrum(
                found.spectrum, out, terms=found.terms, columns=found.columns, name=model.name, data=data,
                notes=found.notes,
            )  # fmt: skip
    finally:  # an answer is printed even where its files cannot be written
        if as_json:
            measured = {"model": text, "data": data, "rows": len(inputs), **found.to_dict()}
            seconds = time.perf_counter() - started
            sys.stdout.write(json.dumps({**measured, "files": files, "seconds": seconds}) + "\n")
        else:
            typer.echo("\n".join([found.describe(), *(["", *files] if files else [])]))


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made before time is spent on what goes into it."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"`--out` must be a folder, but {there} is a file.")


def _names(texts: list[str] | None) -> list[str]:
    return [part.strip() for text in texts or [] for part in text.split(",")]
