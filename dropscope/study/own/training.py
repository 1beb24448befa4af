"""One network of a user's own in training, paired by seed: weights and batches by its seed alone, masks by its key."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dropscope.sites.randomness import reseeded
from dropscope.sites.streams import Streams
from dropscope.stack.record import Record
from dropscope.study.own.data import count_rows, read_parts, unpacked
from dropscope.study.own.scores import Loss, Metric, answers, batch_loss, mean_loss
from dropscope.study.own.sites import Roles, build_model
from dropscope.study.own.streams import Stream, seed_for
from dropscope.study.trial import Trial

__all__ = ["OwnRecipe", "OwnTraining"]

PATIENCE, PATIENT_STEPS = 15, 500


@dataclass(frozen=True)
class OwnRecipe:
    """What all trials of a study share; to reach other processes, its functions must be picklable."""

    build: Callable[..., nn.Module]
    load: Callable[[int], Any]
    loss: Loss
    metric: Metric
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    roles: Roles
    batch_size: int
    epochs: int
    patience: int | None
    device: str
    max_order: int
    budget: int


class OwnTraining:
    """A model with its rows, its optimizer, its streams of random numbers and its record.

    Args:
        recipe: what all trials share.
        trial: its rates and its seed, which alone decides initial weights, rows, and the order of batches.
        key: names the trial; it decides the masks.
    """

    def __init__(self, recipe: OwnRecipe, trial: Trial, key: str) -> None:
        self.recipe, self.trial = recipe, trial
        self.device = torch.device(recipe.device)
        placed = torch.empty(0, device=self.device)
        self.outside = Streams(nn.Identity(), placed)
        with reseeded(self.outside, trial.seed, everywhere=True):
            self.model = build_model(recipe.build, recipe.roles, trial.arm, trial.seed).to(self.device)
        with reseeded(self.outside, trial.seed, everywhere=True):
            self.parts = read_parts(recipe.load, trial.seed, recipe.batch_size)

        self.batches = Stream(seed_for("batches", trial.seed), self.outside)
        self.masks = Stream(int(key[:15], 16), Streams(self.model, placed))
        self.optimizer = recipe.optimizer(self.model.parameters())
        self.record = Record()
        self.best = copy.deepcopy(self.model.state_dict())
        self.rows: dict[str, int] = {}

    def epoch(self) -> bool:
        """Train for one epoch.

        Returns:
            Whether there is another one.

        Raises:
            ValueError: a part has no rows, or the loss is not one number.
        """
        fit, steps = self._fit()
        stop = self.stop_loss()
        if self.record.add(fit, stop):
            self.best = copy.deepcopy(self.model.state_dict())
        patience = self.recipe.patience or max(PATIENCE, -(-PATIENT_STEPS // steps))
        return self.record.goes_on(self.recipe.epochs, patience, extend=True)

    def stop_loss(self) -> float:
        """Compute the mean loss on stop rows, at rest."""
        with self.at_rest():
            loss, self.rows["stop"] = mean_loss(answers(self.model, self.part("stop"), self.device), self.recipe.loss)
        self.check_rows("stop")
        return loss

    def _fit(self) -> tuple[float, int]:
        """Go through the fit rows once; return their mean loss and the number of updates."""
        total, steps = torch.zeros((), device=self.device), 0
        self.rows["fit"] = 0
        self.model.train()
        for batch in self.batches.drawing(self.part("fit")):
            inputs, target = unpacked(batch, self.device)
            with self.masks.playing():
                loss = self._update(inputs, target)
            count = count_rows(target)
            total += loss * count
            self.rows["fit"] += count
            steps += 1
        self.check_rows("fit")
        return float(total) / self.rows["fit"], steps

    def _update(self, inputs: tuple[Any, ...], target: Any) -> Tensor:
        self.optimizer.zero_grad()
        loss = batch_loss(self.recipe.loss, self.model(*inputs), target)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Draw, in the block, what is the same for every arm and in every epoch: rows are scored alike."""
        with reseeded(self.outside, seed_for("scores", self.trial.seed), everywhere=True):
            yield

    def part(self, name: str) -> Iterable[Any]:
        """Batches of a part; none of a test part that is missing."""
        return self.parts[name] or ()

    def check_rows(self, part: str) -> None:
        """Check that the part had rows when it was gone through.

        Raises:
            ValueError: it had none.
        """
        if not self.rows[part]:
            raise ValueError(
                f"`load` must give {part} rows, got none for seed {self.trial.seed} in epoch "
                f"{len(self.record.fit_curve) + 1}: a loader must give batches every time it is gone through, and one "
                "with `drop_last` needs a whole batch."
            )

    def scores(self, part: str) -> dict[str, float]:
        """Score the model at rest; nan where there is no such part."""
        metric = self.recipe.metric
        if self.parts[part] is None:
            self.rows[part] = 0
            return {metric.name: float("nan")}
        with self.at_rest():
            pairs = answers(self.model, self.part(part), self.device)
            found, self.rows[part] = metric.scores(pairs, self.recipe.loss)
        self.check_rows(part)
        return found

    def held_scores(self) -> dict[str, float]:
        """Score the model at rest on stop and selection rows together."""
        with self.at_rest():
            batches = chain(self.part("stop"), self.part("select"))
            return self.recipe.metric.scores(answers(self.model, batches, self.device), self.recipe.loss)[0]
