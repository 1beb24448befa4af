"""Regression: one network, its standard deviations, and intervals that hold what they promise."""

from typing import Any, Literal, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import check_array
from torch import Tensor

from dropscope.estimators.base import DropoutEstimator, Rows
from dropscope.estimators.conformal import conformal_quantile
from dropscope.estimators.cutting import Cut, cut_rows
from dropscope.estimators.network import outputs, passes

__all__ = ["DropoutRegressor"]


class DropoutRegressor(RegressorMixin, DropoutEstimator):
    """A ReLU network with dropout that predicts numbers, with standard deviations and intervals.

    `predict` is the network without dropout (weight scaling). Its variance is `total = var over masks + noise`, the
    first from `n_samples` masks that are the same for all rows; `noise = max(0, mean (y - prediction)² - mean var over
    masks)` over the validation rows, so that the total is right there on average. An interval is `prediction ± c std`
    with the conformal quantile c of `|y - prediction| / std` over the calibration rows, which decided nothing else:
    a new row lies in it with probability of at least 1 - alpha, and at most 1/(n + 1) more.

    Args:
        p: probability of dropping a hidden unit; or a pair, of dropping an input column and a hidden unit; or "auto",
            for what `study.run` advises on the training rows: its best guess where it cannot tell; with a warning,
            the rates that come closest where every network loses to the constant, and none where training diverged.
        width: units in each hidden layer.
        depth: hidden layers.
        activation: relu, gelu, tanh or silu.
        lr: learning rate.
        weight_decay: weight decay, as the optimizer understands it.
        optimizer: adamw, adam or sgd (with momentum 0.9).
        batch_size: rows per update, at most all of them.
        max_iter: most epochs; an epoch is one pass over the rows to fit, and at least 10 updates.
        early_stopping: whether the validation rows end training and choose the epoch; otherwise it is the last.
        n_iter_no_change: epochs without a lower validation loss after which training ends.
        validation_fraction: share of the rows that choose the epoch and measure the noise.
        calibration_fraction: share of the rows that calibrate intervals; 0 leaves them to training.
        n_samples: passes, each with its own masks.
        study_options: options of `study.run` for `p="auto"`, such as {"seeds": 3}; a study trains ReLU networks and
            does not weigh rows.
        random_state: an int for the same numbers at every call; seeds the cut, the network, batches and masks.
        verbose: whether to print the validation loss of every epoch.

    Attributes:
        p_ (tuple): the probabilities of dropping (input column, hidden unit).
        network_ (nn.Sequential): the network in float64, from encoded columns to standardised targets.
        encoder_: how columns become its inputs.
        fitted_ (stack.Fitted): its weights, the best epoch and the validation losses.
        noise_variance_ (ndarray): variance of the noise of each output.
        loss_curve_ (list): training loss of each epoch; n_iter_ (int): epochs run.
        study_ (study.StudyResult): the study, if `p="auto"`.
        n_features_in_ (int): columns seen by `fit`; feature_names_in_ (ndarray): their names, if they are strings.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> y = x[:, 0] * x[:, 1]
        >>> model = DropoutRegressor(width=16, max_iter=5, random_state=0).fit(x, y)
        >>> mean, std = model.predict(x, return_std=True)
        >>> model.predict_interval(x, alpha=0.2).shape
        (200, 2)

    Reference:
        Gal & Ghahramani, 2016, arXiv:1506.02142; Lei et al., 2018, arXiv:1604.04173.
    """

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on for one pass over these rows, all of them; the first rows ever seen give the scales for good.

        Standard deviations and intervals need rows that training has not seen: only `fit` gives them.

        Args:
            X: rows as for `fit`.
            y: their targets.
            sample_weight: how much each row counts.

        Returns:
            The estimator itself.
        """
        return self._fit_more(X, y, sample_weight)

    def predict(self, X: Any, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict the mean, and how far the truth is from it.

        Args:
            X: rows as for `fit`.
            return_std: whether to return standard deviations too: of the model and the noise together.

        Returns:
            The mean, shaped as `y` was; with `return_std` a pair (mean, std).

        Raises:
            NotFittedError: nothing was fitted; or standard deviations are asked for, and only `partial_fit` was called.
        """
        x = self._new_inputs(X)
        mean = self._shaped(self._mean(x))
        return (mean, self._shaped(self._std(x))) if return_std else mean

    def predict_interval(self, X: Any, alpha: float = 0.1) -> np.ndarray:
        """Predict intervals that the truth lies in with probability of at least 1 - alpha.

        Args:
            X: rows as for `fit`.
            alpha: share of new rows that may lie outside; each output by itself.

        Returns:
            Lower and upper ends, (rows, 2); (rows, outputs, 2) if `y` had two axes.

        Raises:
            ValueError: `alpha` is not in (0, 1), or too small for the number of calibration rows n: below 1/(n + 1).
            NotFittedError: `fit` was not called, or without calibration rows.
        """
        x = self._new_inputs(X)
        scores, weights = self._held_out("calibration_scores_"), self._held_out("calibration_weights_")
        mean, half = self._mean(x), conformal_quantile(scores, weights, alpha) * self._std(x)
        return np.stack([self._shaped(mean - half), self._shaped(mean + half)], axis=-1)

    def _mean(self, x: Tensor) -> np.ndarray:
        return outputs(self.network_, x).numpy() * self._scale + self._shift

    def _model_variance(self, x: Tensor) -> np.ndarray:
        """Variance of each output over the masks."""
        if not any(self.p_):
            return np.zeros((len(x), self._outputs))
        return passes(self.network_, x, self.n_samples, self._mask_seed).variance.numpy() * self._scale**2

    def _std(self, x: Tensor) -> np.ndarray:
        variance = self._model_variance(x) + self._held_out("noise_variance_")
        # A network that is exactly right has no variance, and a score is divided by this.
        return np.maximum(np.sqrt(variance), np.finfo(float).eps * self._scale)

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        return values[:, 0] if self._flat else values

    def _measure(self, validation: Rows, calibration: Rows) -> None:
        x = self._inputs(validation.table)
        excess = np.square(validation.y - self._mean(x)) - self._model_variance(x)
        self.noise_variance_ = np.maximum(0.0, np.average(excess, axis=0, weights=validation.weights))
        if len(calibration):
            x = self._inputs(calibration.table)
            self.calibration_scores_ = np.abs(calibration.y - self._mean(x)) / self._std(x)
            self.calibration_weights_ = calibration.weights

    @property
    def _task(self) -> Literal["regression"]:
        return "regression"

    @property
    def _outputs(self) -> int:
        return len(self._scale)

    def _cut(self, rows: Rows) -> Cut:
        return cut_rows(len(rows), self.validation_fraction, self.calibration_fraction, self._random)

    def _read_targets(self, y: Any, counting: np.ndarray, *, reset: bool) -> np.ndarray:
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        values = y[counting].reshape(len(counting), -1)
        if reset:
            self._flat = y.ndim == 1
        elif values.shape[1] != self._outputs:
            raise ValueError(f"`y` must have as many outputs as before ({self._outputs}), got {values.shape[1]}.")
        return values

    def _learn_scales(self, rows: Rows) -> None:
        super()._learn_scales(rows)
        self._shift = np.average(rows.y, axis=0, weights=rows.weights)
        scale = np.sqrt(np.average(np.square(rows.y - self._shift), axis=0, weights=rows.weights))
        self._scale = np.where(scale > 0, scale, 1.0)

    def _scaled(self, y: np.ndarray) -> np.ndarray:
        return ((y - self._shift) / self._scale).astype(np.float32)

    def _study_targets(self, y: np.ndarray) -> Any:
        if y.shape[1] > 1:
            raise ValueError(f"`p` must be a number or a pair for more than one output, got 'auto' for {y.shape[1]}.")
        return y[:, 0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
