"""The loss of every row, and the loss of every model's batch with its gradient, written by hand."""

import torch
from torch import Tensor
from torch.nn import functional

from dropscope.stack.shape import Shape

__all__ = ["BatchLoss", "row_losses"]


def row_losses(z: Tensor, y: Tensor, shape: Shape, smoothing: float = 0.0) -> Tensor:
    """The loss of every row (models, rows).

    Args:
        z: outputs (models, rows, outputs, perhaps padded).
        y: labels (models, rows), or targets padded like the outputs.
        shape: what the models share.
        smoothing: the share of the target that all classes get alike.
    """
    if shape.task == "regression":
        squares = (z - y).square()  # the padding is zero in both
        return squares.squeeze(2) if shape.outputs == 1 else squares.sum(2).div_(shape.outputs)
    logs = functional.log_softmax(z[..., : shape.outputs], 2)
    losses = -logs.gather(2, y.unsqueeze(2)).squeeze(2)
    return losses * (1 - smoothing) - logs.mean(2) * smoothing if smoothing else losses


class BatchLoss:
    """The training loss of a stack.

    Args:
        shape: what the models share.
        weights: what each row of the table counts (models, rows of the table), or None if all count the same.
        smoothing: the share of a label that all classes get alike.
    """

    def __init__(self, shape: Shape, weights: Tensor | None = None, smoothing: float = 0.0) -> None:
        self.shape = shape
        self.weights = weights
        self.smoothing = smoothing

    def select(self, models: Tensor) -> "BatchLoss":
        """Go on with some of the models."""
        weights = None if self.weights is None else self.weights.index_select(0, models)
        return BatchLoss(self.shape, weights, self.smoothing)

    def __call__(self, z: Tensor, y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the losses (models,) and their gradient, shaped like the outputs.

        Args:
            z: outputs (models, batch, outputs, perhaps padded).
            y: labels of the whole table (rows,), or targets padded like the outputs.
            rows: indices of the batches (models, batch).
        """
        targets = y.index_select(0, rows.view(-1)).view(*rows.shape, *y.shape[1:])
        losses, gradient = row_losses(z, targets, self.shape, self.smoothing), self._gradient(z, targets)
        if self.weights is not None:
            weights = self.weights.gather(1, rows)
            losses, gradient = losses * weights, gradient.mul_(weights.unsqueeze(2))
        return losses.mean(1), gradient

    def _gradient(self, z: Tensor, y: Tensor) -> Tensor:
        """The gradient of the unweighted loss; it is zero at padded outputs."""
        batch = z.shape[1]
        if self.shape.task == "regression":
            return (z - y).mul_(2 / (batch * self.shape.outputs))
        g = torch.zeros_like(z)
        classes = g[..., : self.shape.outputs]
        classes.copy_(functional.softmax(z[..., : self.shape.outputs], 2))
        classes.scatter_add_(2, y.unsqueeze(2), torch.full_like(y, self.smoothing - 1, dtype=z.dtype).unsqueeze(2))
        if self.smoothing:
            classes.sub_(self.smoothing / self.shape.outputs)
        return g.div_(batch)
