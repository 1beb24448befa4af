"""Classification: one network, probabilities averaged over its masks, and sets of classes that hold the right one."""

from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from dropscope.estimators.base import DropoutEstimator, Rows
from dropscope.estimators.conformal import conformal_quantile
from dropscope.estimators.cutting import Cut, cut_rows
from dropscope.estimators.network import outputs, passes

__all__ = ["DropoutClassifier"]


class DropoutClassifier(ClassifierMixin, DropoutEstimator):
    """A ReLU network with dropout that predicts classes, their probabilities, and sets of classes.

    A probability is the mean of the softmax over `n_samples` masks, which are the same for all rows; `predict` is the
    likeliest class. A set holds every class of probability of at least 1 - c, with the conformal quantile c of
    `1 - probability of the right class` over the calibration rows, which decided nothing else: it holds the right one
    with probability of at least 1 - alpha.

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
        early_stopping: whether validation rows end training and choose the epoch; otherwise there are none.
        n_iter_no_change: epochs without a lower validation loss after which training ends.
        validation_fraction: share of the rows that choose the epoch.
        calibration_fraction: share of the rows that calibrate sets; 0 leaves them to training.
        n_samples: passes, each with its own masks.
        study_options: options of `study.run` for `p="auto"`, such as {"seeds": 3}; a study trains ReLU networks and
            does not weigh rows.
        random_state: an int for the same numbers at every call; seeds the cut, the network, batches and masks.
        verbose: whether to print the validation loss of every epoch.

    Attributes:
        classes_ (ndarray): the class labels.
        p_ (tuple): the probabilities of dropping (input column, hidden unit).
        network_ (nn.Sequential): the network in float64, from encoded columns to one logit a class.
        encoder_: how columns become its inputs.
        fitted_ (stack.Fitted): its weights, the best epoch and the validation losses.
        loss_curve_ (list): training loss of each epoch; n_iter_ (int): epochs run.
        study_ (study.StudyResult): the study, if `p="auto"`.
        n_features_in_ (int): columns seen by `fit`; feature_names_in_ (ndarray): their names, if they are strings.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> y = np.where(x[:, 0] * x[:, 1] > 0, "same", "other")
        >>> model = DropoutClassifier(width=16, max_iter=5, random_state=0).fit(x, y)
        >>> model.predict_proba(x).shape, model.predict_set(x, alpha=0.2).shape
        ((200, 2), (200, 2))

    Reference:
        Gal & Ghahramani, 2016, arXiv:1506.02142; Sadinle, Lei & Wasserman, 2019, arXiv:1609.00451.
    """

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train on for one pass over these rows, all of them; the first rows ever seen give the scales for good.

        Sets of classes need rows that training has not seen: only `fit` gives them.

        Args:
            X: rows as for `fit`.
            y: their classes.
            classes: every class there will ever be; needed at the first call.
            sample_weight: how much each row counts.

        Returns:
            The estimator itself.

        Raises:
            ValueError: `classes` is missing, or not those of before.
        """
        if not hasattr(self, "fitted_"):
            if classes is None:
                raise ValueError("`classes` must be given at the first call of `partial_fit`: every class there is.")
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"`classes` must be those of before, {self.classes_}, got {np.unique(classes)}.")
        return self._fit_more(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Predict the likeliest class.

        Args:
            X: rows as for `fit`.

        Returns:
            Class labels (rows,).

        Raises:
            NotFittedError: nothing was fitted.
        """
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of every class, averaged over the masks.

        Args:
            X: rows as for `fit`.

        Returns:
            Probabilities (rows, classes), in the order of `classes_`.

        Raises:
            NotFittedError: nothing was fitted.
        """
        return self._probabilities(self._new_inputs(X))

    def predict_set(self, X: Any, alpha: float = 0.1) -> np.ndarray:
        """Predict sets of classes that the right one is in with probability of at least 1 - alpha.

        Args:
            X: rows as for `fit`.
            alpha: share of new rows whose class may be missing.

        Returns:
            Whether a class is in the set (rows, classes), in the order of `classes_`; a set may be empty.

        Raises:
            ValueError: `alpha` is not in (0, 1), or too small for the number of calibration rows n: below 1/(n + 1).
            NotFittedError: `fit` was not called, or without calibration rows.
        """
        x = self._new_inputs(X)
        scores, weights = self._held_out("calibration_scores_"), self._held_out("calibration_weights_")
        return 1 - self._probabilities(x) <= conformal_quantile(scores, weights, alpha)

    def _probabilities(self, x: Tensor) -> np.ndarray:
        """Mean of the softmax over the masks."""
        if not any(self.p_):
            return torch.softmax(outputs(self.network_, x), dim=1).numpy()
        return passes(self.network_, x, self.n_samples, self._mask_seed, transform="softmax").mean.numpy()

    def _measure(self, validation: Rows, calibration: Rows) -> None:
        if len(calibration):
            right = np.take_along_axis(self._probabilities(self._inputs(calibration.table)), calibration.y[:, None], 1)
            self.calibration_scores_ = 1 - right
            self.calibration_weights_ = calibration.weights

    @property
    def _task(self) -> Literal["classification"]:
        return "classification"

    @property
    def _outputs(self) -> int:
        return len(self.classes_)

    def _cut(self, rows: Rows) -> Cut:
        validation = self.validation_fraction if self.early_stopping else 0.0
        return cut_rows(len(rows), validation, self.calibration_fraction, self._random, rows.y)

    def _read_targets(self, y: Any, counting: np.ndarray, *, reset: bool) -> np.ndarray:
        y = check_array(_plain(y), ensure_2d=False, dtype=None, input_name="y", estimator=self)
        y = column_or_1d(y, warn=True)[counting]
        try:
            check_classification_targets(y)
            classes = np.unique(y)
        except TypeError as error:
            raise ValueError("`y` must hold labels of one kind, and none that is missing.") from error
        if not hasattr(self, "classes_"):
            self.classes_ = classes
        if len(self.classes_) < 2:
            raise ValueError(f"`y` must hold two classes or more, got one class: `{self.classes_[0]}`.")
        unknown = np.setdiff1d(classes, self.classes_)
        if len(unknown):
            raise ValueError(f"`y` must hold the classes {self.classes_} alone, got `{unknown[0]}`.")
        return np.searchsorted(self.classes_, y)

    def _scaled(self, y: np.ndarray) -> np.ndarray:
        return y

    def _study_targets(self, y: np.ndarray) -> Any:
        return self.classes_[y]


def _plain(y: Any) -> Any:
    """Give labels of a nullable type of pandas in the type they stand for, not as floats."""
    kind = getattr(getattr(y, "dtype", None), "numpy_dtype", None)
    return y if kind is None or y.isna().any() else y.to_numpy(dtype=kind)
