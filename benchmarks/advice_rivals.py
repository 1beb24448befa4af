"""What advice is compared with: networks trained as the study trains them, and Optuna's search over their rates."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import optuna
import torch

from dropscope import stack
from dropscope.study.chunk import Recipe
from dropscope.study.metrics import score
from dropscope.study.problem import Problem, SeedData

INPUT_RANGE, HIDDEN_RANGE, LR_RANGE = (0.0, 0.5), (0.0, 0.8), (1e-4, 3e-2)
MASKS = 10**6  # seeds of masks lie beyond those of weights


class Candidate(NamedTuple):
    """What a method chooses: two rates of dropping and a learning rate."""

    p_input: float
    p_hidden: float
    lr: float


def train(data: SeedData, recipe: Recipe, candidates: Sequence[Candidate], seed: int, **options) -> list[stack.Fitted]:
    """Train candidates as one stack, from the same weights on the same batches; `options` go to `stack.train`."""
    fit, stop = torch.from_numpy(data.cut.fit), torch.from_numpy(data.cut.stop)
    members = [
        stack.Member(*candidate, recipe.weight_decay, seed=seed, mask_seed=MASKS * (seed + 1) + i, fit=fit, stop=stop)
        for i, candidate in enumerate(candidates)
    ]
    settings = {"epochs": recipe.epochs, "patience": recipe.patience, **options}
    return stack.train(
        torch.from_numpy(data.x), torch.from_numpy(data.y), members, recipe.shape, optimizer=recipe.optimizer,
        batch_size=recipe.batch_size, steps_per_epoch=recipe.steps_per_epoch, device=recipe.device, **settings,
    )  # fmt: skip


def losses(problem: Problem, data: SeedData, fitted: Sequence[stack.Fitted], *parts: np.ndarray) -> np.ndarray:
    """Score trained networks on rows, by the study's metric: (networks, parts)."""
    found = np.empty((len(fitted), len(parts)))
    for j, rows in enumerate(parts):
        outputs = stack.forward(fitted, torch.from_numpy(data.x[rows])).double().numpy()
        if problem.schema.task == "regression":
            outputs = outputs[:, :, 0] * data.scale + data.mean
        found[:, j] = [score(problem.schema.task, one, problem.y[rows])[problem.metric] for one in outputs]
    return found


def fresh_losses(
    problem: Problem, recipe: Recipe, candidates: Sequence[Candidate], seeds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Train every candidate on fresh cuts of the rows to learn from.

    Returns:
        Losses on selection rows (seeds, candidates), and on both halves of the test rows (seeds, candidates, 2).
    """
    select, test = [], []
    for seed in seeds:
        data = problem.seed_data(seed)
        fitted = train(data, recipe, candidates, seed)
        found = losses(problem, data, fitted, data.cut.select, *test_halves(problem))
        select.append(found[:, 0])
        test.append(found[:, 1:])
    return np.stack(select), np.stack(test)


def test_halves(problem: Problem) -> list[np.ndarray]:
    """Halve the test rows at random, groups whole."""
    rows = problem.cutter.test
    units, inverse = np.unique(problem.cutter.units[rows], return_inverse=True)
    half = np.random.default_rng(2).permutation(len(units)) % 2
    return [rows[half[inverse] == i] for i in range(2)]


def tpe(problem: Problem, recipe: Recipe, seconds: float) -> tuple[Candidate, int]:
    """Let Optuna's TPE choose rates and learning rate by the selection loss of one network each, for so long.

    All networks are fitted, stopped and selected on the rows of the study's first seed: as people do, and the fairer
    choice, for the noise between cuts is larger than that between rates.

    Returns:
        The best candidate, and how many networks were trained.
    """
    data = problem.seed_data(0)

    def objective(trial: optuna.Trial) -> float:
        candidate = Candidate(
            trial.suggest_float("p_input", *INPUT_RANGE),
            trial.suggest_float("p_hidden", *HIDDEN_RANGE),
            trial.suggest_float("lr", *LR_RANGE, log=True),
        )
        fitted = train(data, recipe, [candidate], 0)
        return float(losses(problem, data, fitted, data.cut.select)[0, 0])

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    search.optimize(objective, timeout=seconds)
    return Candidate(**search.best_params), len(search.trials)
