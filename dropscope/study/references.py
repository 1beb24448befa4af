"""Reference models on the same rows: without them nobody can tell whether a network is any good."""

import warnings
from typing import Any

import numpy as np

from dropscope.errors import need
from dropscope.study.metrics import score
from dropscope.study.problem import Problem, SeedData

__all__ = ["NAMES", "references"]

NAMES = ("constant", "linear", "boosting")
LABELS = {
    "regression": ("mean of the target", "ridge regression", "histogram gradient boosting"),
    "classification": ("class shares", "logistic regression", "histogram gradient boosting"),
}


def references(problem: Problem, data: list[SeedData]) -> list[dict[str, Any]]:
    """Fit the reference models on every seed's fit rows, and score them where the networks are scored.

    Args:
        problem: the problem.
        data: the data of each seed.

    Returns:
        One row a model: `name`, `label`, and lists over seeds of scores, `select` and `test`.
    """
    rows = []
    for name, label in zip(NAMES, LABELS[problem.schema.task], strict=True):
        scores = [_fit_and_score(name, problem, one) for one in data]
        select, test = zip(*scores, strict=True)
        rows.append({"name": name, "label": label, "select": list(select), "test": list(test)})
    return rows


def _fit_and_score(name: str, problem: Problem, data: SeedData) -> list[dict[str, float]]:
    x = problem.raw if name == "boosting" else data.x
    if len(np.unique(problem.y[data.cut.fit])) < 2:
        name = "constant"  # groups or time may leave one class to fit: there is nothing else to learn
    model = _model(name, problem).fit(x[data.cut.fit], problem.y[data.cut.fit])
    parts = data.cut.select, problem.cutter.test
    return [score(problem.schema.task, _predict(model, x[rows], problem.outputs), problem.y[rows]) for rows in parts]


def _model(name: str, problem: Problem) -> Any:
    regression = problem.schema.task == "regression"
    if name == "constant":
        dummy = need("sklearn.dummy", "study")
        return dummy.DummyRegressor() if regression else dummy.DummyClassifier(strategy="prior")
    if name == "linear":
        linear = need("sklearn.linear_model", "study")
        penalties = np.logspace(-3, 4, 15)
        return linear.RidgeCV(penalties) if regression else _Logistic(linear)
    ensemble = need("sklearn.ensemble", "study")
    boosting = ensemble.HistGradientBoostingRegressor if regression else ensemble.HistGradientBoostingClassifier
    first = len(problem.schema.numeric)
    # It takes at most 255 levels as categories; more are read as numbers, which still beats leaving them out.
    coded = [first + j for j, levels in enumerate(problem.schema.levels.values()) if len(levels) < 255]
    # Its own early stopping would cut rows at random, across groups and time.
    return boosting(categorical_features=coded or None, early_stopping=False, random_state=0)


class _Logistic:
    """Logistic regression with the usual penalty, silent about a slow solver: it is only a reference line."""

    def __init__(self, linear: Any) -> None:
        self.model = linear.LogisticRegression(max_iter=200)

    def fit(self, x: np.ndarray, y: np.ndarray) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.model.fit(x, y)


def _predict(model: Any, x: np.ndarray, outputs: int) -> np.ndarray:
    if not hasattr(model, "predict_proba"):
        return np.asarray(model.predict(x))
    # A class that no fit row has gets the chance that one row in a million would.
    chances = np.full((len(x), outputs), 1e-6)
    chances[:, model.classes_] = np.maximum(model.predict_proba(x), 1e-6)
    return np.log(chances)
