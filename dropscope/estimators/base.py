"""What the regressor and the classifier share: rows are checked, cut and encoded, and one network learns from them."""

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted
from torch import Tensor

from dropscope import stack, study
from dropscope.estimators.cutting import Cut
from dropscope.estimators.features import learn_encoder, raw_features, read_table
from dropscope.estimators.network import assemble
from dropscope.estimators.settings import check_settings, rates_of
from dropscope.stack.shape import Activation
from dropscope.study.plan import epoch_steps

__all__ = ["DropoutEstimator", "Rows"]

HELD_OUT = ("noise_variance_", "calibration_scores_", "calibration_weights_")


@dataclass(frozen=True, eq=False)
class Rows:
    """Checked rows: features as they were read, targets (values or class indices), and weights above 0."""

    table: Any
    y: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def at(self, index: np.ndarray) -> "Rows":
        """Some of the rows."""
        return Rows(self.table[index], self.y[index], self.weights[index])


class DropoutEstimator(ABC, BaseEstimator):
    """Base of `DropoutRegressor` and `DropoutClassifier`, which describe the arguments."""

    study_: Any
    loss_curve_: list[float]

    def __init__(
        self,
        p: float | tuple[float, float] | str = 0.1,
        *,
        width: int = 128,
        depth: int = 2,
        activation: Activation = "relu",
        lr: float = 3e-3,
        weight_decay: float = 0.0,
        optimizer: str = "adamw",
        batch_size: int = 32,
        max_iter: int = 200,
        early_stopping: bool = True,
        n_iter_no_change: int = 30,
        validation_fraction: float = 0.1,
        calibration_fraction: float = 0.1,
        n_samples: int = 100,
        study_options: dict[str, Any] | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.p = p
        self.width = width
        self.depth = depth
        self.activation = activation
        self.lr = lr
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.calibration_fraction = calibration_fraction
        self.n_samples = n_samples
        self.study_options = study_options
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the network, and measure on rows that it has not seen how far it is from the truth.

        Args:
            X: an array of numbers (rows, columns), or a pandas or polars DataFrame, whose columns of text, categories
                and booleans become one-hot; missing values are allowed.
            y: the targets (rows,); for regression also (rows, outputs).
            sample_weight: how much each row counts (rows,), in training, stopping and calibration; a row of weight 0
                is left out.

        Returns:
            The estimator itself.

        Raises:
            ValueError: an argument is out of its range, or the data cannot be learned from; the message says why.
        """
        check_settings(self.get_params())
        for name in [name for name in vars(self) if name.endswith("_")]:  # what an earlier fit has learned
            delattr(self, name)
        rows = self._read(X, y, sample_weight, reset=True)
        if len(rows) < 2:
            raise ValueError(f"`X` must have two rows or more of positive weight, got n_samples={len(rows)}.")
        cut = self._cut(rows)
        if not len(cut.fit):
            raise ValueError(
                f"`X` must have more rows, got n_samples={len(rows)}: those held out leave none to train on; or lower "
                "`validation_fraction` and `calibration_fraction`."
            )
        self._learn_scales(rows.at(cut.fit))
        self.p_ = rates_of(self.p) or self._study(rows.at(np.union1d(cut.fit, cut.validation)))

        stop = cut.validation if len(cut.validation) else cut.fit
        schedule = {"patience": self.n_iter_no_change} if self.early_stopping else _to_the_end(self.max_iter)
        steps = epoch_steps(len(cut.fit), self.batch_size)
        self._train(rows, cut.fit, stop, epochs=self.max_iter, steps_per_epoch=steps, **schedule)
        self._measure(rows.at(cut.validation), rows.at(cut.calibration))
        return self

    def _fit_more(self, X: Any, y: Any, sample_weight: Any) -> Self:
        """Train for one pass over the rows; where nothing was fitted before, they give the scales."""
        check_settings(self.get_params())
        first = not hasattr(self, "fitted_")
        rates = rates_of(self.p) or getattr(self, "p_", None)
        if rates is None:
            raise ValueError("`p` must be a number or a pair for `partial_fit`: a study needs all rows at once.")
        rows = self._read(X, y, sample_weight, reset=first)
        if first:
            self._learn_scales(rows)
        self.p_ = rates
        for name in HELD_OUT:  # measured on another network, and perhaps on these rows
            self.__dict__.pop(name, None)
        every, steps = np.arange(len(rows)), -(-len(rows) // self.batch_size)
        start = None if first else self.fitted_
        self._train(rows, every, every, start, epochs=1, steps_per_epoch=steps, **_to_the_end(1))
        return self

    def _read(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> Rows:
        """Check rows to train on and leave out those of weight 0; `reset` begins anew."""
        if y is None:
            name = type(self).__name__
            raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
        table = read_table(self, X, reset=reset, encoder=None if reset else self.encoder_)
        weights = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
        check_consistent_length(table, y)
        counting = np.flatnonzero(weights)

        if reset:
            self._random = check_random_state(self.random_state)
            self._mask_seed = self._seed()
        return Rows(table[counting], self._read_targets(y, counting, reset=reset), weights[counting])

    def _seed(self) -> int:
        return int(self._random.randint(2**31 - 1))

    def _learn_scales(self, rows: Rows) -> None:
        self.encoder_ = learn_encoder(rows.table)

    def _study(self, rows: Rows) -> tuple[float, float]:
        """Let a study of these rows choose the rates, by its best guess where it cannot tell or nothing was learned."""
        asked = dict(self.study_options or {})
        if "max_seconds" not in asked:
            asked.setdefault("epochs", self.max_iter)
        options = {
            "task": self._task, "width": self.width, "depth": self.depth, "lr": self.lr, "optimizer": self.optimizer,
            "weight_decay": self.weight_decay, "batch_size": self.batch_size, "patience": self.n_iter_no_change,
            "study_seed": self._seed(), "allow_leak": True, "name": type(self).__name__, **asked,
        }  # fmt: skip
        self.study_ = study.run(rows.table, self._study_targets(rows.y), **options)
        advice = self.study_.advice
        if advice.kind == "void":
            warnings.warn(" ".join(advice.sentences), ConvergenceWarning, stacklevel=3)
        diverged = math.isnan(advice.p_input)
        return (0.0, 0.0) if diverged else (advice.p_input, advice.p_hidden)

    def _train(
        self, rows: Rows, fit: np.ndarray, stop: np.ndarray, start: stack.Fitted | None = None, **schedule: Any
    ) -> None:
        """Train the network on some of the rows, as a stack of one."""
        shape = stack.Shape(
            self.encoder_.columns, self._outputs, self.width, self.depth, self._task, activation=self.activation
        )
        member = stack.Member(
            *self.p_, self.lr, self.weight_decay, seed=self._seed(), mask_seed=self._seed(),
            fit=torch.from_numpy(fit), stop=torch.from_numpy(stop), weights=torch.from_numpy(rows.weights), start=start,
        )  # fmt: skip
        (fitted,) = stack.train(
            self._inputs(rows.table), torch.from_numpy(self._scaled(rows.y)), [member], shape,
            optimizer=self.optimizer, batch_size=min(self.batch_size, len(fit)), extend=False,
            on_epoch=_say if self.verbose else None, **schedule,
        )  # fmt: skip
        self._check_training(fitted)
        self.loss_curve_ = [*(self.loss_curve_ if start else ()), *fitted.fit_curve]
        self.n_iter_ = len(self.loss_curve_)
        self.fitted_, self.network_ = fitted, assemble(fitted, shape, *self.p_)

    def _check_training(self, fitted: stack.Fitted) -> None:
        """Say if training diverged; raise if nothing was learned before."""
        if fitted.diverged:
            message = f"training diverged in epoch {fitted.epochs}: lower `lr`."
            if not fitted.best_epoch or not self.early_stopping:
                raise ValueError(message)
            warnings.warn(f"{message} The network is that of epoch {fitted.best_epoch}.", ConvergenceWarning, 4)

    def _inputs(self, table: Any) -> Tensor:
        with np.errstate(over="ignore"):
            encoded = self.encoder_.transform(raw_features(table, self.encoder_.schema))
        if not np.isfinite(encoded).all():
            raise ValueError("`X` must be within 1e38 standard deviations of the rows that were fitted: it overflows.")
        return torch.from_numpy(np.ascontiguousarray(encoded))  # products of another layout are rounded otherwise

    def _new_inputs(self, X: Any) -> Tensor:
        """Check and encode rows to predict for."""
        check_is_fitted(self)
        return self._inputs(read_table(self, X, reset=False, encoder=self.encoder_))

    def _held_out(self, name: str) -> Any:
        """Get what only `fit` measures, on rows that it holds out."""
        if not hasattr(self, name):
            raise NotFittedError(
                "this needs rows that training has not seen, and none were held out: call `fit`, not `partial_fit`; "
                "for intervals and sets let `calibration_fraction` be above 0, and the rows so many that it is one."
            )
        return getattr(self, name)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @property
    @abstractmethod
    def _task(self) -> Literal["regression", "classification"]: ...

    @property
    @abstractmethod
    def _outputs(self) -> int:
        """Outputs of the network."""

    @abstractmethod
    def _cut(self, rows: Rows) -> Cut:
        """Cut the rows."""

    @abstractmethod
    def _read_targets(self, y: Any, counting: np.ndarray, *, reset: bool) -> np.ndarray:
        """Check targets and take those that count."""

    @abstractmethod
    def _scaled(self, y: np.ndarray) -> np.ndarray:
        """Targets as the network learns them."""

    @abstractmethod
    def _study_targets(self, y: np.ndarray) -> Any:
        """Targets as a study reads them."""

    @abstractmethod
    def _measure(self, validation: Rows, calibration: Rows) -> None:
        """Measure on rows held out how far the network is from the truth."""


def _to_the_end(epochs: int) -> dict[str, Any]:
    """A schedule on which the stop rows decide nothing."""
    return {"patience": epochs, "keep": "last"}


def _say(epoch: int, _: int, loss: float) -> None:
    print(f"epoch {epoch}: lowest validation loss so far {loss:.4g}")
