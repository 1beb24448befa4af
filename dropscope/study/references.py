"""Reference models on the same rows: without them nobody can tell whether a network is any good."""

import warnings
from typing import Any

import numpy as np

from dropscope.errors import need
from dropscope.study.metrics import Scores
from dropscope.study.problem import Problem, SeedData
from dropscope.study.targets import Target

__all__ = ["NAMES", "boosting_inputs", "references"]

NAMES = ("constant", "linear", "boosting")
LABELS = {
    "regression": ("mean of the target", "ridge regression", "histogram gradient boosting"),
    "classification": ("class shares", "logistic regression", "histogram gradient boosting"),
    "quantile": ("quantile of the target", "linear quantile regression", "histogram gradient boosting"),
}
MOST_LEVELS = 255  # of a category in gradient boosting
MOST_LINEAR = 2000  # fit rows of a linear quantile regression, whose time grows with their square


def references(problem: Problem, data: list[SeedData]) -> list[dict[str, Any]]:
    """Fit the reference models on every seed's fit rows, one for each target, and score them where networks are scored.

    Args:
        problem: the problem.
        data: the data of each seed.

    Returns:
        One row a model: `name`, `label`, and lists over seeds of scores, `select` and `test`; with several targets,
        `by_target` holds such lists of scores by name.
    """
    rows, target, overall = [], problem.target, problem.scorer.overall
    for name, label in zip(NAMES, LABELS["quantile" if target.quantile is not None else target.task], strict=True):
        scores = [_fit_and_score(name, problem, one) for one in data]
        by_target = {part: [one[part] for one in scores] for part in ("select", "test")}
        row: dict[str, Any] = {"name": name, "label": label}
        row |= {part: [overall(one) for one in found] for part, found in by_target.items()}
        rows.append({**row, "by_target": by_target} if target.several else row)
    return rows


def _fit_and_score(name: str, problem: Problem, data: SeedData) -> dict[str, dict[str, Scores]]:
    x, coded = boosting_inputs(problem, data) if name == "boosting" else (data.x, [])
    fit, target = data.cut.fit, problem.target
    weights = None if data.weights is None else data.weights[fit]
    models = []
    for y in problem.y[fit].reshape(len(fit), -1).T:
        # Groups or time may leave one class to fit: there is nothing else to learn.
        model = _model("constant" if len(np.unique(y)) < 2 else name, target, coded)
        models.append(model.fit(x[fit], y, sample_weight=weights))
    scores = {}
    for part, rows in (("select", data.cut.select), ("test", problem.cutter.test)):
        predicted = [_predict(model, x[rows], target) for model in models]
        outputs = np.column_stack(predicted) if target.several else predicted[0]
        scores[part] = problem.scorer.each(outputs, rows, data.weights)
    return scores


def boosting_inputs(problem: Problem, data: SeedData) -> tuple[np.ndarray, list[int]]:
    """Write the table for gradient boosting, which takes missing values and categories as they are.

    A category of more than 255 levels keeps the most frequent, and the rest become one; those that targets encode are
    the columns that networks see.

    Args:
        problem: the problem.
        data: the data of one seed.

    Returns:
        Shape (rows, columns), and which of the columns are categories.
    """
    schema, columns = problem.schema, np.array(data.encoder.columns)
    parts, coded = [problem.raw[:, : len(schema.numeric)]], []
    for index, (name, span) in enumerate(schema.spans.items()):
        if name in schema.by_target:
            parts.append(data.x[:, columns == index])
        elif name in schema.levels:
            coded.append(sum(part.shape[1] for part in parts))
            parts.append(np.minimum(problem.raw[:, span], MOST_LEVELS - 1))
        elif name not in schema.numeric:
            parts.append(problem.raw[:, span])
    return np.column_stack(parts), coded


def _model(name: str, target: Target, coded: list[int]) -> Any:
    regression, quantile = target.task == "regression", target.quantile
    if name == "constant":
        dummy = need("sklearn.dummy", "study")
        if quantile is not None:
            return dummy.DummyRegressor(strategy="quantile", quantile=quantile)
        return dummy.DummyRegressor() if regression else dummy.DummyClassifier(strategy="prior")
    if name == "linear":
        linear = need("sklearn.linear_model", "study")
        if quantile is not None:
            return _LinearQuantile(linear, quantile)
        return linear.RidgeCV(np.logspace(-3, 4, 15)) if regression else _Logistic(linear)
    ensemble = need("sklearn.ensemble", "study")
    # Its own early stopping would cut rows at random, across groups and time.
    options = {"categorical_features": coded or None, "early_stopping": False, "random_state": 0}
    if quantile is not None:
        return ensemble.HistGradientBoostingRegressor(loss="quantile", quantile=quantile, **options)
    boosting = ensemble.HistGradientBoostingRegressor if regression else ensemble.HistGradientBoostingClassifier
    return boosting(**options)


class _Logistic:
    """Logistic regression with the usual penalty, silent about a slow solver: it is only a reference line."""

    def __init__(self, linear: Any) -> None:
        self.model = linear.LogisticRegression(max_iter=200)

    def fit(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.model.fit(x, y, sample_weight=sample_weight)


class _LinearQuantile:
    """Quantile regression of standardised targets with a small penalty, on so many rows as it can take."""

    def __init__(self, linear: Any, quantile: float) -> None:
        self.model = linear.QuantileRegressor(quantile=quantile, alpha=1e-3)

    def fit(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Any:
        self.mean, self.scale = y.mean(), y.std()
        taken = np.random.default_rng(0).permutation(len(y))[:MOST_LINEAR]
        weights = None if sample_weight is None else sample_weight[taken]
        self.model.fit(x[taken], (y[taken] - self.mean) / self.scale, sample_weight=weights)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.predict(x)) * self.scale + self.mean


def _predict(model: Any, x: np.ndarray, target: Target) -> np.ndarray:
    """Values; logarithms of chances, one column a class; or the logits of one label."""
    if target.task == "regression":
        return np.asarray(model.predict(x))
    # A class that no fit row has gets the chance that one row in a million would.
    chances = np.full((len(x), len(target.classes) or 2), 1e-6)
    chances[:, model.classes_] = np.maximum(model.predict_proba(x), 1e-6)
    logs = np.log(chances)
    return logs if target.classes else logs[:, 1] - logs[:, 0]
