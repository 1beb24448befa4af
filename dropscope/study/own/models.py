"""`run_model`: the study of a user's own model and rows, with the same seeds, decision, store and result."""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from dropscope.sites import Site
from dropscope.study.own.job import OwnStudy
from dropscope.study.own.options import Grid, check_device, check_picklable, check_settings, check_workers
from dropscope.study.own.scores import Metric
from dropscope.study.own.training import OwnRecipe
from dropscope.study.result import StudyResult
from dropscope.study.runner import Progress
from dropscope.study.store import Store

__all__ = ["run_model"]

SECONDS = 180.0  # that epochs are planned for
SETTINGS = ("seeds", "epochs", "max_seconds", "patience", "batch_size", "max_order", "budget")


def _adamw(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return AdamW(parameters, lr=1e-3, weight_decay=0.0)


def run_model(
    build: Callable[..., nn.Module],
    load: Callable[[int], Any],
    *,
    loss: Callable[[Any, Any], Tensor],
    metric: str | Callable[[Any, Any], Any] | None = None,
    p: Any = None,
    p_input: Any = None,
    p_hidden: Any = None,
    pair: Any = None,
    sites: Mapping[str, str] | Callable[[Site], str] | None = None,
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = _adamw,
    seeds: int = 5,
    epochs: int | None = None,
    max_seconds: float | None = None,
    patience: int | None = None,
    batch_size: int = 100,
    device: str | torch.device = "cpu",
    max_order: int = 3,
    budget: int = 50_000,
    out: str | Path | None = None,
    name: str = "model",
    target: str | None = None,
    fresh: bool = False,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Study how much dropout your own network should have on your own rows.

    The study is that of `run`: every rate with every seed, epochs chosen on stop rows, arms compared on selection rows,
    advice by `decide`. Initial weights, rows and the order of batches follow from a trial's seed alone, whatever drops:
    they are those of `torch.manual_seed(seed)` right before `build(...)` and before `load(seed)`. All global streams of
    random numbers are put back. What is finished is kept in `out`, and the same call goes on where it was interrupted;
    it knows another model by its initial weights, other rows by the first batch of each part, functions by name.

    Args:
        build: makes the network. Without arguments, rates are set at the dropout sites that `dropscope.sites` finds in
            it, whatever they were; or it takes `p_hidden` (or `p`), `p_input` or both and puts them where they belong.
            It may take `seed` as well.
        load: called as load(seed), once a trial, in the process that trains it; gives (fit, stop, select, test), each a
            Dataset, or a DataLoader or list of batches. A batch is (inputs, ..., target): the network is called with
            all but the last. `test` may be None.
        loss: called as loss(outputs, target) for a batch; gives one number.
        metric: what arms are compared by, lower is better: "rmse", "mae", "log_loss", "error" or "balanced_error" (of
            logits), or a function of outputs and targets of all rows; None: the loss.
        p: rates that all sites get alike, by default 0, .1, .25 and .5; no dropout is always studied too.
        p_input: rates of input sites alone, instead of `p`.
        p_hidden: rates of hidden sites alone, instead of `p`.
        pair: (input p, hidden p) rates studied together, as in `Options`.
        sites: "input", "hidden" or "fixed" (left as it was built) by the path of a site, or a function of the `Site`
            that says it; sites that are not named are hidden.
        optimizer: called with the parameters; by default AdamW at a rate of .001.
        seeds: trials of each arm.
        epochs: most epochs; None plans them for `max_seconds`. A network whose best epoch is among the last tenth goes
            on to twice as many.
        max_seconds: time that epochs are planned for, by default 180.
        patience: epochs without a better stop loss; None is 15, and at least 500 updates.
        batch_size: rows of a batch where `load` gives Datasets.
        device: where networks are trained.
        max_order: interaction orders shown one by one, where the inputs are one table of floats.
        budget: evaluations for the spectrum of a network.
        out: folder for the store and the result; None keeps nothing on disk.
        name: what the study is called in reports.
        target: what the network predicts, for reports; by default the name of its class.
        fresh: start over, whatever `out` holds.
        workers: number of processes, which import `build`, `load`, `loss`, `metric` and `optimizer` anew.
        executor: any `concurrent.futures.Executor`, used instead of processes of our own; trials that share a process
            take turns.
        progress: told of every step.

    Returns:
        The result, also kept as `result.json` in `out`; `report.write_report` makes its page.

    Raises:
        NoDropoutFound: nothing in the model could be set.
        StoreConflict: `out` holds another study, or one that is running.
        TypeError: `build` needs other arguments, or makes no module.
        ValueError: an option is out of its range, a part has no rows, or a function cannot reach other processes.

    Example:
        >>> x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
        >>> rows = torch.utils.data.TensorDataset(x, x[:, :1] * x[:, 1:2])
        >>> build = lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 1))
        >>> load = lambda seed: torch.utils.data.random_split(rows, [30, 10, 10, 10])
        >>> result = run_model(build, load, loss=nn.MSELoss(), metric="rmse", p=0.5, seeds=2, epochs=2, patience=2)
        >>> len(result.trials)
        4
    """
    given = {**locals()}
    if out is None:
        with TemporaryDirectory() as folder:
            return replace(run_model(**{**given, "out": folder}), files=())

    start = time.perf_counter()
    study = _opened(given)
    with Store(Path(out), study.config, fresh=fresh) as store:
        planned = store.epochs or epochs or study.plan((max_seconds or SECONDS) - (time.perf_counter() - start))
        if store.epochs is None:
            store.plan(planned)
        records = study.train(store, planned, executor, progress or Progress())
        result = study.result(records, planned, name=name, target=target, notes=store.notes)
        path = Path(out) / "result.json"
        result = replace(result, files=(str(path),), seconds=time.perf_counter() - start)
        result.save(path)
    return result


def _opened(given: dict[str, Any]) -> OwnStudy:
    """Check all that was given, and build one network."""
    settings = check_settings(**{name: given[name] for name in SETTINGS})
    check_workers(given["workers"])
    functions = {name: given[name] for name in ("build", "load", "loss", "metric", "optimizer", "sites")}
    if given["workers"] > 1 and given["executor"] is None:
        check_picklable(**functions)
    functions |= {"metric": Metric.of(given["metric"]), "roles": functions.pop("sites")}
    numbers = {name: given[name] for name in ("batch_size", "patience", "max_order", "budget")}
    recipe = OwnRecipe(**functions, **numbers, epochs=given["epochs"] or 1, device=check_device(given["device"]))
    grid = Grid(**{name: given[name] for name in ("p", "p_input", "p_hidden", "pair")})
    return OwnStudy.of(recipe, grid, settings, given["workers"])
