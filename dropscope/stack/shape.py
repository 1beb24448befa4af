"""What goes into a stack and what comes out: the shape all models share, one model's settings, one trained model."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

__all__ = ["Fitted", "Member", "Shape"]


@dataclass(frozen=True)
class Shape:
    """What all models of a stack share: their inputs, layers and task.

    Inverted dropout acts on the inputs (one draw per row and table column) and after every hidden ReLU. Weights
    start from He's normal law, N(0, 2 / inputs of the layer), biases from zero.

    Args:
        columns: for every encoded input column, the index of the table column it belongs to; encoded columns of one
            table column are dropped together.
        outputs: 1 for regression, the number of classes for classification.
        width: ReLU units in each hidden layer.
        depth: hidden layers.
        task: regression minimises the mean squared error, classification the cross-entropy of integer labels.

    Raises:
        ValueError: a size is below one, or the table columns are not numbered 0, 1, 2, ... without a gap.

    Example:
        >>> Shape(columns=(0, 1, 1), outputs=1, width=32, depth=2, task="regression").sizes
        (3, 32, 32, 1)

    Reference:
        He, Zhang, Ren, Sun (2015), arXiv:1502.01852.
    """

    columns: tuple[int, ...]
    outputs: int
    width: int
    depth: int
    task: Literal["regression", "classification"]

    def __post_init__(self) -> None:
        if sorted(set(self.columns)) != list(range(len(set(self.columns)))) or not self.columns:
            raise ValueError(f"`columns` must use every index 0, 1, 2, ... without a gap, got {self.columns}.")
        if self.task not in ("regression", "classification"):
            raise ValueError(f"`task` must be regression or classification, got {self.task!r}.")
        fewest = {"width": 1, "depth": 1, "outputs": 1 if self.task == "regression" else 2}
        for name, least in fewest.items():
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, got {getattr(self, name)}.")
        if self.task == "regression" and self.outputs != 1:
            raise ValueError(f"`outputs` must be 1 for regression, got {self.outputs}.")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Features before and after every layer: inputs, widths, outputs."""
        return (len(self.columns), *[self.width] * self.depth, self.outputs)

    @property
    def groups(self) -> int:
        """The number of table columns: the draws per row of the input's mask."""
        return max(self.columns) + 1


@dataclass(frozen=True, eq=False)
class Member:
    """One model of a stack: its rates, its optimizer's settings, its seeds and its rows.

    Args:
        p_input: probability of dropping a table column, in [0, 1).
        p_hidden: probability of dropping a hidden unit, in [0, 1).
        lr: learning rate.
        weight_decay: weight decay, as the optimizer understands it.
        seed: of the initialisation and the order of batches; members that differ only in dropout stay paired.
        mask_seed: of the masks.
        fit: indices (int64) of the rows to train on.
        stop: indices (int64) of the rows that choose the best epoch.

    Raises:
        ValueError: a number outside its range, or no rows.
    """

    p_input: float
    p_hidden: float
    lr: float
    weight_decay: float
    seed: int
    mask_seed: int
    fit: Tensor
    stop: Tensor

    def __post_init__(self) -> None:
        for name in ("p_input", "p_hidden"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in [0, 1), got {getattr(self, name)}.")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"`lr` must be positive and finite, got {self.lr}.")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"`weight_decay` must be at least 0 and finite, got {self.weight_decay}.")
        for name in ("fit", "stop"):
            if getattr(self, name).dim() != 1 or not len(getattr(self, name)):
                raise ValueError(f"`{name}` must be a list of at least one row index, got {getattr(self, name)}.")


@dataclass(frozen=True, eq=False)
class Fitted:
    """One trained model: its weights at the best epoch and how it got there.

    Args:
        weights: one tensor (inputs, outputs) per layer.
        biases: one tensor (outputs,) per layer.
        best_epoch: the epoch of lowest stop loss, counted from 1 and the earliest among equals; 0 if there was none,
            and the weights are then the initial ones.
        epochs: epochs run.
        extended: the best epoch lay in the last 10 % of the budget, so that training went on.
        fit_curve: the training loss per epoch, with dropout, averaged over the epoch's batches.
        stop_curve: the loss on the stop rows per epoch, without dropout.
        diverged: a loss was not finite; training ended there and the last entry of the curves may be inf or nan.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    best_epoch: int
    epochs: int
    extended: bool
    fit_curve: list[float]
    stop_curve: list[float]
    diverged: bool
