"""A study of a user's own model that is ready to run: one network was built, and one batch of every part looked at."""

import os
import time
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import torch

from dropscope.study.executors import finished
from dropscope.study.own.data import PARTS, bytes_digest
from dropscope.study.own.options import Grid
from dropscope.study.own.result import own_result
from dropscope.study.own.scores import name_of
from dropscope.study.own.sites import build_model, places_of, rates_taken, roles_of
from dropscope.study.own.training import OwnRecipe, OwnTraining
from dropscope.study.own.trial import OwnTask, read_fit_rows, run_own
from dropscope.study.rates import Rates
from dropscope.study.result import StudyResult
from dropscope.study.runner import Progress
from dropscope.study.store import Store
from dropscope.study.trial import NUMERICS, Trial, digest, trials

__all__ = ["OwnStudy"]

TRAINING_SHARE = 0.8  # of the time that epochs are planned for
FEWEST, MOST = 10, 500


@dataclass(frozen=True, eq=False)
class OwnStudy:
    """What is known before anything trains.

    `roles` are those of the sites, by path; `columns` name the inputs where these are one table; `said` is why there
    are no spectra; `told` describes the functions in words; `seen` and `test` are digests of the model and its rows.
    """

    recipe: OwnRecipe
    settings: dict[str, Any]
    workers: int
    arms: list[Rates]
    lr: float
    kind: str
    roles: dict[str, str]
    columns: tuple[str, ...]
    said: str | None
    told: dict[str, Any]
    seen: dict[str, Any]
    test: str | None

    @classmethod
    def of(cls, recipe: OwnRecipe, grid: Grid, settings: dict[str, Any], workers: int) -> "OwnStudy":
        """Build one network, look at its rows and score it, so that mistakes are found before anything trains."""
        preview = OwnTraining(recipe, Trial(0.0, 0.0, 0.0, 0), "0" * 64)
        _check_new(preview)
        model, roles = preview.model, {} if rates_taken(recipe.build) else roles_of(preview.model, recipe.roles)
        arms = grid.arms(places_of(recipe.build, roles))
        fit = read_fit_rows(preview)
        preview.stop_loss()
        preview.scores("select")
        rows = {part: _first_batch(preview, part) for part in PARTS}
        test = rows.pop("test")
        return cls(
            recipe, settings, workers, arms, roles=roles, kind=type(model).__name__, said=fit.why_none,
            lr=float(preview.optimizer.param_groups[0]["lr"]), told=_told(preview, roles), test=test,
            columns=() if fit.table is None else tuple(f"x{j}" for j in range(fit.table.shape[1])),
            seen={"model": digest([repr(model), bytes_digest(model.state_dict())]), "rows": rows},
        )  # fmt: skip

    @property
    def common(self) -> dict[str, Any]:
        """What decides the numbers of a trial beside its rates and its seed: no test row is among it."""
        settings = {name: value for name, value in self.settings.items() if name != "seeds"}
        return {**settings, **self.told, **self.seen, "numerics": NUMERICS, "torch": torch.__version__}

    @property
    def config(self) -> dict[str, Any]:
        """What a store belongs to."""
        return {**self.common, "test": self.test}

    def plan(self, seconds: float) -> int:
        """Time the second epoch of one network and say how many of them there is time for."""
        training = OwnTraining(self.recipe, Trial(*self.arms[-1], self.lr, 0), "0" * 64)
        training.epoch()
        start = time.perf_counter()
        training.epoch()
        per_epoch = time.perf_counter() - start
        networks = len(self.arms) * self.settings["seeds"] / self.workers
        return int(min(MOST, max(FEWEST, seconds * TRAINING_SHARE / (per_epoch * networks))))

    def train(self, store: Store, epochs: int, executor: Executor | None, progress: Progress) -> list[dict[str, Any]]:
        """Run the trials that the store lacks; return the records of all, in their order."""
        study = digest({"config": self.common, "epochs": epochs})
        keyed = {trial.key(study): trial for trial in trials(self.arms, (self.lr,), self.settings["seeds"])}
        left = {key: trial for key, trial in keyed.items() if key not in store.records}
        progress.planned(epochs, len(keyed), len(keyed) - len(left))
        threads = None if self.workers == 1 else max(1, (os.cpu_count() or 1) // self.workers)
        recipe = replace(self.recipe, epochs=epochs)
        todo = [OwnTask(trial, key, recipe, threads) for key, trial in left.items()]
        for records in finished(todo, self.workers, executor, progress.epoch, run_own):
            store.add(records)
            progress.finished(records)
        return [store.records[key] for key in keyed]

    def result(
        self, records: list[dict[str, Any]], epochs: int, *, name: str, target: str | None, notes: list[str]
    ) -> StudyResult:
        """Put the records together."""
        if self.said:
            notes = [*notes, f"There are no interaction spectra: {self.said}."]
        rates = {name: sorted({arm[place] for arm in self.arms}) for place, name in enumerate(("p_input", "p_hidden"))}
        settings = {name: value for name, value in self.settings.items() if (name, value) != ("max_seconds", None)}
        return own_result(
            records, epochs, self.recipe.metric, self.recipe.build, self.roles,
            name=name, target=target or self.kind, notes=tuple(notes), options={**rates, **settings, **self.told},
            source="", features=self.columns, blocks=tuple((column,) for column in self.columns),
        )  # fmt: skip


def _check_new(preview: OwnTraining) -> None:
    """Check that `build` makes a network at every call: what one trial has trained must not reach the next."""
    recipe = preview.recipe
    with preview.at_rest():
        other = build_model(recipe.build, recipe.roles, preview.trial.arm, preview.trial.seed)
    mine = {id(parameter) for parameter in preview.model.parameters()}
    if any(id(parameter) in mine for parameter in other.parameters()):
        raise ValueError(
            "`build` must make a new network at every call, got the same parameters twice: make them in it."
        )


def _first_batch(preview: OwnTraining, part: str) -> str | None:
    """Hash the first batch of a part; None where there is no such part."""
    if preview.parts[part] is None:
        return None
    with preview.at_rest():
        batch = next(iter(preview.part(part)), None)
    preview.rows[part] = batch is not None
    preview.check_rows(part)
    return bytes_digest(batch)


def _told(preview: OwnTraining, roles: dict[str, str]) -> dict[str, Any]:
    recipe, optimizer = preview.recipe, preview.optimizer
    settings = [
        f"{name}={value}" for name, value in optimizer.defaults.items() if value is not None and value is not False
    ]
    return {
        "loss": name_of(recipe.loss),
        "metric": recipe.metric.name,
        "optimizer": f"{type(optimizer).__name__}({', '.join(settings)})",
        "device": recipe.device,
        "sites": [f"{path}: {role}" for path, role in roles.items()],
    }
