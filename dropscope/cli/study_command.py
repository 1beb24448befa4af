"""`dropscope study`: parse, run, print. Nothing heavy is imported before the arguments are read."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from dropscope.cli.wording import told_as_typed
from dropscope.errors import closest

__all__ = ["study"]

# Not options of the study itself.
AROUND = ("table", "target", "out", "fresh", "workers", "mlflow", "tensorboard", "quiet", "as_json")

Targets = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN,...", help="Columns to predict (bundled tables know theirs).")
]
Places = Annotated[
    list[str] | None, typer.Option(metavar="NAME,...", help="input, hidden, both (the default); first, last.")
]
Profiles = Annotated[list[str] | None, typer.Option(metavar="NAME,...", help="Rates over depth: rising, falling.")]


def study(
    table: Annotated[str, typer.Argument(help="A CSV, Parquet, Arrow, Excel or JSON lines file, or a bundled table.")],
    target: Targets = None,
    task: Annotated[str | None, typer.Option(help="auto, regression or classification.")] = None,
    metric: Annotated[str | None, typer.Option(help="rmse, mae; log_loss, error, balanced_error.")] = None,
    quantile: Annotated[float | None, typer.Option(help="Predict this quantile of a number, such as 0.9.")] = None,
    weight_column: Annotated[str | None, typer.Option(help="Column of what every row counts.")] = None,
    class_weight: Annotated[str | None, typer.Option(help="balanced: all classes count the same.")] = None,
    p_input: Annotated[str | None, typer.Option(metavar="P,P,...", help="Rates studied on the inputs.")] = None,
    p_hidden: Annotated[str | None, typer.Option(metavar="P,P,...", help="Rates studied after hidden layers.")] = None,
    pair: Annotated[list[str] | None, typer.Option(metavar="P_IN,P_HID", help="Rates studied together.")] = None,
    places: Places = None,
    profile: Profiles = None,
    seeds: Annotated[int | None, typer.Option(help="Trials of each arm (5).")] = None,
    study_seed: Annotated[int | None, typer.Option(help="Seed of the test cut (0).")] = None,
    epochs: Annotated[str, typer.Option(metavar="auto|N", help="Epochs, or plan them for the time.")] = "auto",
    max_seconds: Annotated[float | None, typer.Option(help="Time that `--epochs auto` plans for (180).")] = None,
    width: Annotated[int | None, typer.Option(help="Units of a hidden layer (128).")] = None,
    depth: Annotated[int | None, typer.Option(help="Hidden layers (3).")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows of an update (100).")] = None,
    lr: Annotated[str, typer.Option(metavar="auto|LR,LR", help="Learning rates, or one by a pilot.")] = "auto",
    optimizer: Annotated[str | None, typer.Option(help="adamw, adam or sgd.")] = None,
    momentum: Annotated[float | None, typer.Option(help="Momentum of sgd (0.9).")] = None,
    nesterov: Annotated[bool, typer.Option("--nesterov", help="Nesterov's momentum for sgd.")] = False,
    max_norm: Annotated[float | None, typer.Option(help="Largest norm of a hidden unit's incoming weights.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay (0).")] = None,
    activation: Annotated[str | None, typer.Option(help="relu, gelu, tanh or silu.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="Share of a label for all classes (0).")] = None,
    patience: Annotated[int | None, typer.Option(help="Epochs without a better stop loss (15, 500 updates).")] = None,
    max_order: Annotated[int | None, typer.Option(help="Interaction orders shown one by one (3).")] = None,
    budget: Annotated[int | None, typer.Option(help="Evaluations for the spectrum of a network (50000).")] = None,
    test: Annotated[float | None, typer.Option(help="Share of test rows (0.2).")] = None,
    fractions: Annotated[str | None, typer.Option(metavar="FIT,STOP,SELECT", help="Of the rest (.6,.2,.2).")] = None,
    split_column: Annotated[str | None, typer.Option(help="Column of `train` and `test`.")] = None,
    group_column: Annotated[str | None, typer.Option(help="Rows of one value stay together.")] = None,
    time_column: Annotated[str | None, typer.Option(help="Cut by time: later rows test earlier ones.")] = None,
    categorical: Annotated[list[str] | None, typer.Option(metavar="COLUMN,...", help="Numbers that are names.")] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="COLUMN,...", help="Columns to leave out.")] = None,
    allow_leak: Annotated[bool, typer.Option("--allow-leak", help="Study even if columns give the target.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    halving: Annotated[bool, typer.Option("--halving/--no-halving", help="Beaten rates leave training early.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of the results (studies/TABLE).")] = None,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Start over, or go on (the default).")] = False,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    mlflow: Annotated[str | None, typer.Option(metavar="URI", help="Also log the study to MLflow.")] = None,
    tensorboard: Annotated[str | None, typer.Option(metavar="DIR", help="Also log it for TensorBoard.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Measure how much dropout a table and a network should have, where, and why."""
    _read_and_run({**locals()})


def _read_and_run(typed: dict[str, Any]) -> None:
    with told_as_typed(typed):
        _run(given=_given(typed), **{name: typed[name] for name in AROUND})


def _given(typed: dict[str, Any]) -> dict[str, Any]:
    """Read the options of the study itself out of all that was typed; None where nothing was."""
    given = {name: value for name, value in typed.items() if name not in AROUND}
    given |= {"epochs": _epochs(typed["epochs"]), "pair": _pairs(typed["pair"])}
    given |= {name: _numbers(name, typed[name]) for name in ("p_input", "p_hidden", "fractions")}
    given |= {"lr": None if typed["lr"] == "auto" else _numbers("lr", typed["lr"])}
    given |= {name: _columns(typed[name]) for name in ("categorical", "drop", "places", "profile")}
    return given | {name: typed[name] or None for name in ("allow_leak", "halving", "nesterov")}


def _run(
    table: str, target: list[str] | None, given: dict[str, Any], *, out: Path | None, fresh: bool, workers: int,
    mlflow: str | None, tensorboard: str | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    from dropscope.cli.display import Display, print_result
    from dropscope.study import run
    from dropscope.study.options import Options

    options = {name: value for name, value in given.items() if value is not None}
    Options.of(**options)  # wrong options are refused before anything is read
    frame, target, options, name, source = _resolve(table, target, options)
    out = out or Path("studies") / name
    trackers = _trackers(mlflow, tensorboard)
    display = Display(quiet=quiet)
    try:
        with display:
            result = run(
                frame,
                target,
                out=out,
                name=name,
                source=source,
                fresh=fresh,
                workers=workers,
                progress=display,
                **options,
            )
            result = _write_report(result, out)
    except KeyboardInterrupt:
        again = "The same command without `--fresh` goes on." if fresh else "The same command goes on."
        sys.stderr.write(f"\nInterrupted: {display.kept} finished trials are kept in {out}. {again}\n")
        raise typer.Exit(130) from None
    if as_json:
        sys.stdout.write(json.dumps(result.summary()) + "\n")
    else:
        print_result(result)
    for tracker in trackers:
        tracker.log_study(result)


def _trackers(mlflow: str | None, tensorboard: str | None) -> list[Any]:
    """Open the trackers before anything trains; a study that none is asked for does not import them."""
    if mlflow is None and tensorboard is None:
        return []
    from dropscope.integrations import MlflowTracker, TensorboardTracker

    asked = ((MlflowTracker, mlflow), (TensorboardTracker, tensorboard))
    return [open_tracker(where) for open_tracker, where in asked if where is not None]


def _write_report(result: Any, out: Path) -> Any:
    from dataclasses import replace

    from dropscope.report import write_report

    result = replace(result, files=(*write_report(result, out), *result.files))
    result.save(out / "result.json")
    return result


def _resolve(
    table: str, target: list[str] | None, options: dict[str, Any]
) -> tuple[Any, Any, dict[str, Any], str, str]:
    """A file wins over a bundled table of the same name; a bundled table brings its target and options."""
    from dropscope.data import bundled, names

    path = Path(table)
    if path.is_file() or path.suffix or "/" in table or (path.is_dir() and table not in names()):
        if not target:
            raise ValueError("`--target` must name the column to predict.")
        return path, target, options, path.stem or "table", str(path)
    if table not in names():
        raise ValueError(f"TABLE must be a file or a bundled table, got {table!r}: {closest(table, names())}")
    kept = bundled(table)
    targets = _columns(target) or (kept.target,)
    brought = dict(kept.options)
    if any(f"{cut}_column" in options for cut in ("group", "time", "split")):
        brought.pop("group_column", None)
    both = {name: (*brought.get(name, ()), *options.get(name, ())) for name in ("drop", "categorical")}
    both = {name: tuple(column for column in columns if column not in targets) for name, columns in both.items()}
    return kept.table, targets, {**brought, **options, **both}, table, kept.source


def _epochs(text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"`epochs` must be `auto` or a whole number, got {text!r}.") from None


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"`{name}` must be numbers separated by commas, got {text!r}.") from None


def _pairs(texts: list[str] | None) -> tuple[tuple[float, ...], ...] | None:
    return tuple(_numbers("pair", text) or () for text in texts) if texts else None


def _columns(texts: list[str] | None) -> tuple[str, ...] | None:
    return tuple(part.strip() for text in texts for part in text.split(",")) if texts else None
