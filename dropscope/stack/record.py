"""What is remembered of every model while it trains: its curves, its best weights, and whether it goes on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dropscope.stack.layout import Parameters, outputs
from dropscope.stack.losses import row_losses
from dropscope.stack.shape import Activation, Fitted, Member, Shape
from dropscope.stack.weighting import row_weights

__all__ = ["Record", "StopLoss"]

TILE = 128  # stop rows evaluated at once; a fixed number, so that no sum depends on the other models' rows


@dataclass
class Record:
    """One model's history so far."""

    fit_curve: list[float] = field(default_factory=list)
    stop_curve: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    extended: bool = False
    diverged: bool = False
    left_at: int | None = None

    def add(self, fit: float, stop: float) -> bool:
        """Append an epoch and say whether it is the best so far."""
        self.fit_curve.append(fit)
        self.stop_curve.append(stop)
        self.diverged = not (math.isfinite(fit) and math.isfinite(stop))
        if self.diverged or stop >= self.best_loss:
            return False
        self.best_loss, self.best_epoch = stop, len(self.stop_curve)
        return True

    def goes_on(self, epochs: int, patience: int, extend: bool, beaten: bool = False) -> bool:
        """Decide whether there is another epoch; a best epoch in the last 10 % of the budget doubles it, once."""
        epoch = len(self.stop_curve)
        if self.diverged or epoch - self.best_epoch >= patience:
            return False
        if beaten:
            self.left_at = epoch
            return False
        if epoch == epochs:
            self.extended = extend and self.best_epoch > 0.9 * epochs
        return epoch < (2 * epochs if self.extended else epochs)

    def fitted(self, kept: Parameters, activation: Activation) -> Fitted:
        """Close the history with the weights to keep."""
        return Fitted(
            weights=kept.weights,
            biases=kept.biases,
            best_epoch=self.best_epoch,
            epochs=len(self.stop_curve),
            extended=self.extended,
            fit_curve=self.fit_curve,
            stop_curve=self.stop_curve,
            diverged=self.diverged,
            activation=activation,
            left_at=self.left_at,
        )


class StopLoss:
    """The (weighted) mean loss of every model on its own stop rows, without dropout."""

    def __init__(self, members: Sequence[Member], x: Tensor) -> None:
        self.count = torch.tensor([len(member.stop) for member in members])
        tiles = -(-int(self.count.max()) // TILE)
        padding = [member.stop[:1].expand(tiles * TILE - len(member.stop)) for member in members]
        rows = torch.stack([torch.cat([member.stop, more]) for member, more in zip(members, padding, strict=True)])
        self.rows = rows.to(x.device)
        self.count = self.count.to(x.device)
        weights = row_weights(members, [member.stop for member in members], x)
        self.weights = None if weights is None else weights.at(self.rows)

    def select(self, models: Tensor) -> None:
        """Keep only some models."""
        self.rows = self.rows.index_select(0, models)
        self.count = self.count.index_select(0, models)
        if self.weights is not None:
            self.weights = self.weights.index_select(0, models)

    def __call__(self, parameters: Parameters, x: Tensor, y: Tensor, shape: Shape) -> Tensor:
        """Return the losses (models,) in float64; a tile beyond a model's last row adds exactly zero."""
        total = torch.zeros(len(self.rows), dtype=torch.float64, device=x.device)
        for start in range(0, self.rows.shape[1], TILE):
            rows = self.rows[:, start : start + TILE]
            inputs = x.index_select(0, rows.reshape(-1)).view(*rows.shape, -1)
            losses = row_losses(outputs(parameters, inputs, shape.activation), y[rows], shape)
            if self.weights is not None:
                losses = losses * self.weights[:, start : start + TILE]
            own = torch.arange(start, start + TILE, device=x.device) < self.count.unsqueeze(1)
            total += torch.where(own, losses, 0).sum(1)
        return total / self.count
