"""Keep the advised network: refitted once, saved as plain weights beside its preprocessing, and loaded again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dropscope import stack
from dropscope.errors import BadTable
from dropscope.study.chunk import Chunk, Recipe, train
from dropscope.study.plan import study_steps
from dropscope.study.preprocess import Encoder
from dropscope.study.problem import Problem
from dropscope.study.rates import rate_of
from dropscope.study.result import StudyResult
from dropscope.study.table import to_frame
from dropscope.study.trial import Trial

__all__ = ["KeptModel", "load_model", "refit"]


def refit(result: StudyResult, problem: Problem, recipe: Recipe, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Train the advised arm once more, on all rows but stop and test rows, test once, and keep it.

    Args:
        result: the study with its advice.
        problem: the problem.
        recipe: what its trials share.
        folder: where `model.pt` and `model.json` go.

    Returns:
        What was trained and how it tests, and the files; nothing is kept where the advice is void.
    """
    arm = result.advised_arm
    if arm is None:
        for name in ("model.pt", "model.json"):
            (folder / name).unlink(missing_ok=True)  # of an earlier run: it is not what this study says
        return {}, []
    cut = problem.cutter.last()
    data = problem.encoded(cut)
    trial = Trial(arm.p_input, arm.p_hidden, arm.lr, seed=0)
    steps = study_steps(len(cut.fit), recipe.batch_size)
    chunk = Chunk(
        (trial,), (trial.key("refit"),), data, problem.scorer, problem.cutter.test,
        Recipe(**{**vars(recipe), "steps_per_epoch": steps}),
    )  # fmt: skip
    [fitted] = train(chunk)
    network = stack.to_sequential(fitted, recipe.shape, arm.p_input, arm.p_hidden)
    kept = KeptModel(network, data.encoder, data.mean, data.scale)
    outputs = kept.outputs(problem.raw[problem.cutter.test])
    by_target = problem.scorer.each(outputs, problem.cutter.test, data.weights)
    torch.save(network.state_dict(), folder / "model.pt")
    form = recipe.shape
    layers = {"width": form.width, "depth": form.depth, "outputs": form.outputs, "activation": form.activation}
    about = {
        **layers, "p_input": arm.p_input, "p_hidden": arm.p_hidden,
        "mean": np.asarray(data.mean).tolist(), "scale": np.asarray(data.scale).tolist(),
        "preprocessing": data.encoder.to_dict(),
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(about, indent=1))
    test = problem.scorer.overall(by_target)
    summary: dict[str, Any] = {"lr": arm.lr, "best_epoch": fitted.best_epoch, "rows": len(cut.fit), "test": test}
    if problem.target.several:
        summary["by_target"] = by_target
    return summary, [str(folder / "model.pt"), str(folder / "model.json")]


@dataclass(frozen=True, eq=False)
class KeptModel:
    """The advised network with its preprocessing: predicts in units of the target.

    `mean` and `scale` are one number each, or one for each of several targets.
    """

    network: torch.nn.Sequential
    encoder: Encoder
    mean: Any
    scale: Any

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the target columns."""
        return self.encoder.schema.target.names

    def outputs(self, raw: np.ndarray) -> np.ndarray:
        """Run the network on features as `Schema.raw` reads them.

        Args:
            raw: shape (rows, features).

        Returns:
            Shape (rows,) or (rows, targets), in units of the targets; or logits, shape (rows, classes) or
            (rows, labels).
        """
        with torch.no_grad():
            y = self.network.eval()(torch.from_numpy(self.encoder.transform(raw))).double().numpy()
        return self.encoder.schema.target.in_units(y, self.mean, self.scale)

    def predict(self, table: Any) -> np.ndarray:
        """Predict for a table with the columns of the study.

        Args:
            table: a path, a DataFrame, or an array as the study was given.

        Returns:
            Values in target units, or class names: shape (rows,), or (rows, targets) in the order of `targets`.

        Raises:
            BadTable: a column is absent.
        """
        schema = self.encoder.schema
        return schema.target.named(self.outputs(schema.raw(to_frame(table))))


def load_model(folder: str | Path) -> KeptModel:
    """Load the network that a study kept; weights only, nothing is executed.

    Args:
        folder: the study's `out`.

    Returns:
        The network with its preprocessing.

    Raises:
        BadTable: the folder holds no kept model.
    """
    folder = Path(folder)
    if not (folder / "model.json").exists():
        raise BadTable(f"`folder` must hold a kept model, got {folder}, where there is no model.json.")
    about = json.loads((folder / "model.json").read_text())
    encoder = Encoder.from_dict(about["preprocessing"])
    shape = stack.Shape(
        encoder.columns, about["outputs"], about["width"], about["depth"], encoder.schema.target.loss,
        activation=about.get("activation", "relu"),
    )  # fmt: skip
    state = torch.load(folder / "model.pt", weights_only=True)
    weights = [value.T for name, value in state.items() if name.endswith("weight")]
    biases = [value for name, value in state.items() if name.endswith("bias")]
    fitted = stack.Fitted(
        weights, biases, best_epoch=0, epochs=0, extended=False, fit_curve=[], stop_curve=[], diverged=False
    )
    network = stack.to_sequential(fitted, shape, about["p_input"], rate_of(about["p_hidden"]))
    return KeptModel(network, encoder, np.array(about["mean"]), np.array(about["scale"]))
