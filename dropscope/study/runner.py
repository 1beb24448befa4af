"""Run a study: trials minus store, through an executor, into the store; then references, arms and advice."""

import os
import time
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from dropscope import stack
from dropscope.study.advice import advise
from dropscope.study.chunk import Chunk, Recipe, run_chunk
from dropscope.study.executors import finished
from dropscope.study.halving import run_halved
from dropscope.study.keeping import refit
from dropscope.study.options import Options
from dropscope.study.pilot import PILOT_SEEDS, pilot, pilot_chunks, pilot_rates
from dropscope.study.plan import DEFAULT_SECONDS, FEWEST, MOST_STEPS, STACK_BYTES, chunks, plan_epochs, recipe_of
from dropscope.study.problem import Problem, SeedData, pose
from dropscope.study.references import references
from dropscope.study.result import StudyResult, arms_of
from dropscope.study.store import Store
from dropscope.study.table import as_frame
from dropscope.study.trial import NUMERICS, Trial, digest, trials
from dropscope.study.weights import attach_weights

__all__ = ["Progress", "run"]

# Which trials there are, not what one of them is: a store may grow by these.
GRID = {"p_input", "p_hidden", "pair", "profile", "places", "seeds", "lr"}
# Options that older stores do not know: at these values they say nothing, and a study keeps its numbers.
LATER = {"halving": False, "activation": "relu", "label_smoothing": 0.0, "places": ("input", "hidden", "both"),
         "momentum": 0.9, "nesterov": False, "max_norm": None, "quantile": None, "class_weight": None}  # fmt: skip


class Progress:
    """What a study reports while it runs; every method may be overridden, none needs to be."""

    def posed(self, problem: Problem) -> None:
        """The table was read and checked."""

    def planned(self, epochs: int, total: int, done: int) -> None:
        """The number of epochs is set: `done` of `total` trials are already in the store."""

    def epoch(self, epoch: int, alive: int, best: float) -> None:
        """An epoch of the running chunk ended with `alive` models still training."""

    def finished(self, records: list[dict[str, Any]]) -> None:
        """The records of a chunk are on disk."""


def run(
    table: Any,
    target: Any,
    *,
    out: str | Path | None = None,
    name: str = "table",
    source: str = "",
    fresh: bool = False,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Progress | None = None,
    weights: Any = None,
    **options: Any,
) -> StudyResult:
    """Study how much dropout a table and a network should have.

    Trains every arm (input p, hidden p) with every seed, chooses epochs on stop rows, scores arms on selection rows and
    advises by `decide`. What is finished is kept in `out`: the same call goes on where an interrupted one was, and one
    with more seeds, rates or learning rates trains only what is new (not so with `halving`: all trials are one race).

    Args:
        table: a path, a polars or pandas DataFrame, or an array of shape (rows, columns).
        target: the name of the target column, or an array of shape (rows,); several names, or shape (rows, targets),
            for several numbers or labels of two values.
        out: folder for the store, the refitted model and the result; None keeps nothing on disk.
        name: what the study is called in reports.
        source: where the data come from, for the report.
        fresh: start over, whatever `out` holds.
        workers: number of processes; 1 trains in this one.
        executor: any `concurrent.futures.Executor`, used instead of processes of our own; `workers` then says how many
            tasks it runs at once.
        progress: told of every step.
        weights: what each row counts (rows,), where no `weight_column` of the table holds it.
        options: fields of `Options`.

    Returns:
        The result, also kept as `result.json` in `out`.

    Raises:
        BadTable: the table cannot be studied as it is.
        StoreConflict: `out` holds another study, or one that is running.
        ValueError: an option is out of its range.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(90, 3))
        >>> small = dict(p_input=0.1, p_hidden=0.5, seeds=2, epochs=2, width=4, depth=1, budget=13_000)
        >>> result = run(x, x[:, 0] * x[:, 1], **small)
        >>> len(result.trials)
        10
    """
    if out is None:
        with TemporaryDirectory() as folder:
            result = run(
                table, target, out=folder, name=name, source=source, workers=workers, executor=executor,
                progress=progress, weights=weights, **options,
            )  # fmt: skip
        return replace(result, files=())

    start = time.perf_counter()
    progress = progress or Progress()
    asked = Options.of(**options)
    _check_resources(asked, workers)
    frame, targets = as_frame(table, target)
    frame, asked = attach_weights(frame, weights, asked)
    problem = pose(frame, targets, asked)
    progress.posed(problem)
    job = _Job(problem, asked, [problem.seed_data(seed) for seed in range(asked.seeds)], workers)
    with Store(Path(out), job.config, fresh=fresh) as store:
        problem.notes.extend(store.notes)
        epochs = store.epochs or asked.epochs or job.plan(start)
        if store.epochs is None:
            store.plan(epochs)
        if asked.lr is None:
            job = _piloted(job, store, epochs)
        records = _train(job, store, epochs, executor, progress)
        result = _result(job, records, epochs, name=name, source=source)
        kept, files = refit(result, problem, job.recipe(epochs), Path(out))
        path = Path(out) / "result.json"
        seconds = time.perf_counter() - start
        result = replace(result, refit=kept, files=(*files, str(path)), seconds=seconds)
        result.save(path)
    return result


@dataclass(frozen=True, eq=False)
class _Job:
    """A study that is ready to run: the posed problem and, for each seed, its data."""

    problem: Problem
    options: Options
    data: list[SeedData]
    workers: int

    @property
    def common(self) -> dict[str, Any]:
        """Everything that decides the numbers of a trial that trains to its end, beside the fields of the trial."""
        # The weights are part of the data, whatever their column is called.
        aside = {*GRID, "halving", "weight_column"}
        options = {name: value for name, value in asdict(self.options).items() if name not in aside}
        told = {name: value for name, value in options.items() if name not in LATER or value != LATER[name]}
        # An epoch of a large table was a whole pass once: such a store is another study's.
        short = len(self.data[0].cut.fit) // self.options.batch_size > MOST_STEPS
        told |= {"most_steps": MOST_STEPS} if short else {}
        return {**told, "data": self.problem.fingerprint, "numerics": NUMERICS, "torch": torch.__version__}

    @property
    def config(self) -> dict[str, Any]:
        """What a store belongs to; with halving, which trials leave depends on all that there are."""
        options = asdict(self.options)
        grid = (*GRID, "halving") if options["halving"] else ()
        return {**self.common, **{name: options[name] for name in grid if options[name] != LATER.get(name)}}

    @property
    def lr(self) -> tuple[float, ...]:
        """The learning rates; before a pilot has chosen one, any stands for it."""
        return self.options.lr or pilot_rates(self.options.optimizer)[:1]

    def recipe(self, epochs: int) -> Recipe:
        return recipe_of(self.problem, self.options, epochs)

    def keyed(self, epochs: int) -> dict[str, Trial]:
        # Not the digest of the whole table: test rows must not choose a trial's masks.
        study = digest({"config": {**self.common, "data": self.problem.seen}, "epochs": epochs})
        options = self.options
        return {trial.key(study): trial for trial in trials(options.arms(), self.lr, options.seeds)}

    def chunks(self, keyed: dict[str, Trial], epochs: int) -> list[Chunk]:
        threads = None if self.workers == 1 else max(1, (os.cpu_count() or 1) // self.workers)
        return chunks(self.problem, self.data, keyed, self.recipe(epochs), workers=self.workers, threads=threads)

    def whole(self, keyed: dict[str, Trial], epochs: int) -> list[Chunk]:
        """All trials as one chunk a seed, to be trained together."""
        made = chunks(self.problem, self.data, keyed, self.recipe(epochs))
        size = len(keyed) * stack.memory_per_model(made[0].recipe.shape, self.options.batch_size)
        if size > STACK_BYTES:
            raise ValueError(
                f"`halving` trains all networks at once, which takes more than {STACK_BYTES >> 30} GiB here: study "
                "fewer rates or seeds, a smaller `width`, or leave it out."
            )
        return made

    def plan(self, start: float) -> int:
        """Plan epochs for the time that was asked for, of which some has gone since `start`."""
        limit = self.options.max_seconds or DEFAULT_SECONDS
        every = self.chunks(self.keyed(1), 1)
        count = len(every) / self.workers
        if self.options.lr is None:
            networks = PILOT_SEEDS * len(pilot_rates(self.options.optimizer))
            count += networks / len(every[0].trials)
        epochs = plan_epochs(every[0], count, limit - (time.perf_counter() - start))
        if epochs == FEWEST:
            self.problem.notes.append(
                f"{FEWEST} epochs are the fewest that are planned: {limit:g} s may not be enough."
            )
        return epochs


def _check_resources(options: Options, workers: int) -> None:
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ValueError(f"`workers` must be a whole number of at least 1, got {workers!r}.")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("`device` must be available, got 'cuda' where torch sees no GPU: use `cpu`.")


def _piloted(job: _Job, store: Store, epochs: int) -> _Job:
    """The same study at the learning rate of its pilot, which is flown unless the store knows how it ended."""
    lr = store.lr
    if lr is None:
        by_seed = {chunk.trials[0].seed: chunk for chunk in job.chunks(job.keyed(epochs), epochs)}
        lr = pilot(pilot_chunks(list(by_seed.values())))
        store.pilot(lr)
    tried = ", ".join(f"{one:g}" for one in pilot_rates(job.options.optimizer))
    job.problem.notes.append(
        f"the learning rate {lr:g} was chosen among {tried} by a pilot: networks without dropout, on stop rows."
    )
    return replace(job, options=replace(job.options, lr=(lr,)))


def _train(job: _Job, store: Store, epochs: int, executor: Executor | None, progress: Progress) -> list[dict[str, Any]]:
    """Run the trials that the store lacks; return the records of all, in their order."""
    keyed = job.keyed(epochs)
    left = {key: trial for key, trial in keyed.items() if key not in store.records}
    progress.planned(epochs, len(keyed), len(keyed) - len(left))
    todo: list[Any] = job.chunks(left, epochs)
    if job.options.halving and left:
        todo = [job.whole(keyed, epochs)]  # who is beaten is decided among all: a part would be another race
    task = run_halved if job.options.halving else run_chunk
    for records in finished(todo, job.workers, executor, progress.epoch, task):
        store.add(records)
        progress.finished(records)
    return [store.records[key] for key in keyed]


def _result(job: _Job, records: list[dict[str, Any]], epochs: int, *, name: str, source: str) -> StudyResult:
    problem, cutter = job.problem, job.problem.cutter
    cut = job.data[0].cut
    rows = {"all": len(problem.y), "fit": len(cut.fit), "stop": len(cut.stop), "select": len(cut.select)}
    result = StudyResult(
        name=name,
        target=problem.target.title,
        targets=problem.target.names,
        task=problem.target.task,
        metric=problem.metric,
        options=asdict(job.options),
        source=source,
        notes=tuple(problem.notes),
        rows={**rows, "test": len(cutter.test)},
        features=problem.schema.features,
        classes=problem.target.classes,
        blocks=tuple(map(tuple, problem.block_names())),
        epochs=epochs,
        trials=tuple(records),
        references=tuple(references(problem, job.data)),
        arms=arms_of(records, problem.metric, epochs),
        versions={name: version(name) for name in ("dropscope", "torch", "numpy", "scikit-learn")},
    )
    return replace(result, advice=advise(result))
