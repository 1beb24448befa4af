"""What goes into a stack and what comes out: the shape all models share, one model's settings, one trained model."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

__all__ = ["Activation", "Fitted", "Member", "Shape", "as_rates"]

Task = Literal["regression", "classification", "multilabel"]
Initialisation = Literal["he", "glorot"]
Activation = Literal["relu", "gelu", "tanh", "silu"]


@dataclass(frozen=True)
class Shape:
    """What all models of a stack share: their inputs, layers and task.

    Inverted dropout acts on the inputs (one draw per row and table column) and after every hidden activation. Biases
    start from zero, weights from the law of the initialisation:

        he: N(0, 2 / inputs of the layer),    glorot: U(-a, a) with a = sqrt(6 / (inputs + outputs of the layer)).

    Args:
        columns: for every encoded input column, the index of the table column it belongs to; encoded columns of one
            table column are dropped together.
        outputs: the numbers to predict in regression, the number of classes in classification, that of labels in
            multilabel.
        width: units in each hidden layer.
        depth: hidden layers.
        task: regression minimises the squared error, averaged over rows and outputs, classification the
            cross-entropy of integer labels, multilabel the binary cross-entropy of several labels of 0 or 1, averaged
            over rows and labels.
        initialisation: the law that weights are drawn from.
        activation: of the hidden layers.
        quantile: in regression, the quantile to predict: minimises the pinball loss max(q e, (q - 1) e) of the errors
            e = target - output in place of their squares.

    Raises:
        ValueError: a size is below one, a name is unknown, or the table columns are not numbered 0, 1, 2, ... without
            a gap.

    Example:
        >>> Shape(columns=(0, 1, 1), outputs=1, width=32, depth=2, task="regression").sizes
        (3, 32, 32, 1)

    Reference:
        He, Zhang, Ren, Sun (2015), arXiv:1502.01852; Glorot, Bengio (2010), AISTATS, PMLR 9:249-256; Koenker, Bassett
        (1978), doi:10.2307/1913643 (quantiles).
    """

    columns: tuple[int, ...]
    outputs: int
    width: int
    depth: int
    task: Task
    initialisation: Initialisation = "he"
    activation: Activation = "relu"
    quantile: float | None = None

    def __post_init__(self) -> None:
        if sorted(set(self.columns)) != list(range(len(set(self.columns)))) or not self.columns:
            raise ValueError(f"`columns` must use every index 0, 1, 2, ... without a gap, got {self.columns}.")
        for name, known in {"task": Task, "initialisation": Initialisation, "activation": Activation}.items():
            if getattr(self, name) not in get_args(known):
                raise ValueError(f"`{name}` must be {' or '.join(get_args(known))}, got {getattr(self, name)!r}.")
        fewest = {"width": 1, "depth": 1, "outputs": 2 if self.task == "classification" else 1}
        for name, least in fewest.items():
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, got {getattr(self, name)}.")
        if self.quantile is not None and not 0 < self.quantile < 1:
            raise ValueError(f"`quantile` must be in (0, 1), got {self.quantile}.")
        if self.quantile is not None and self.task != "regression":
            raise ValueError(f"`quantile` is predicted in regression alone, got the task {self.task}.")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Features before and after every layer: inputs, widths, outputs."""
        return (len(self.columns), *[self.width] * self.depth, self.outputs)

    @property
    def groups(self) -> int:
        """The number of table columns: the draws per row of the input's mask."""
        return max(self.columns) + 1


def as_rates(p_hidden: float | tuple[float, ...], depth: int = 1) -> tuple[float, ...]:
    """Write the rates of hidden layers as one each; a single number stands for all of them."""
    return p_hidden if isinstance(p_hidden, tuple) else (p_hidden,) * depth


@dataclass(frozen=True, eq=False)
class Member:
    """One model of a stack: its rates, its optimizer's settings, its seeds and its rows.

    Args:
        p_input: probability of dropping a table column, in [0, 1).
        p_hidden: probability of dropping a hidden unit, in [0, 1): one for all hidden layers, or one for each.
        lr: learning rate.
        weight_decay: weight decay, as the optimizer understands it.
        seed: of the initialisation and the order of batches; members that differ only in dropout stay paired.
        mask_seed: of the masks.
        fit: indices (int64) of the rows to train on.
        stop: indices (int64) of the rows that choose the best epoch.
        weights: how much each row of the table counts (rows,), at least 0; by default all count the same. The
            training loss of a batch is sum(w l) / batch size with w scaled to a mean of one over `fit`, the stop loss
            sum(w l) / sum(w). A row of weight 0 is left out of the batches.
        start: the trained model whose weights and biases to begin with, instead of drawn ones; the order of batches
            is that of `seed` all the same.

    Raises:
        ValueError: a number outside its range, or no rows.
    """

    p_input: float
    p_hidden: float | tuple[float, ...]
    lr: float
    weight_decay: float
    seed: int
    mask_seed: int
    fit: Tensor
    stop: Tensor
    weights: Tensor | None = None
    start: "Fitted | None" = None

    def __post_init__(self) -> None:
        for name, rates in (("p_input", (self.p_input,)), ("p_hidden", as_rates(self.p_hidden))):
            if not rates or not all(0 <= p < 1 for p in rates):
                raise ValueError(f"`{name}` must be in [0, 1), got {getattr(self, name)}.")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"`lr` must be positive and finite, got {self.lr}.")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"`weight_decay` must be at least 0 and finite, got {self.weight_decay}.")
        for name in ("fit", "stop"):
            if getattr(self, name).dim() != 1 or not len(getattr(self, name)):
                raise ValueError(f"`{name}` must be a list of at least one row index, got {getattr(self, name)}.")
        if self.weights is not None and not (self.weights.isfinite() & (self.weights >= 0)).all():
            raise ValueError(f"`weights` must be at least 0 and finite, got {self.weights}.")


@dataclass(frozen=True, eq=False)
class Fitted:
    """One trained model: its weights at the best epoch, or at the last if asked for, and how it got there.

    Args:
        weights: one tensor (inputs, outputs) per layer.
        biases: one tensor (outputs,) per layer.
        best_epoch: the epoch of lowest stop loss, counted from 1 and the earliest among equals, whichever epoch's
            weights were kept; 0 if there was none, and the best weights are then the initial ones.
        epochs: epochs run.
        extended: the best epoch lay in the last 10 % of the budget, so that training went on.
        fit_curve: the training loss per epoch, with dropout, averaged over the epoch's batches.
        stop_curve: the loss on the stop rows per epoch, without dropout.
        diverged: a loss was not finite; training ended there and the last entry of the curves may be inf or nan.
        activation: of the hidden layers.
        left_at: the epoch after which the model was taken out of training as beaten; None if it was not.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    best_epoch: int
    epochs: int
    extended: bool
    fit_curve: list[float]
    stop_curve: list[float]
    diverged: bool
    activation: Activation = "relu"
    left_at: int | None = None
