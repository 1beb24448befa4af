"""The loss of every row, and the loss of every model's batch with its gradient, written by hand."""

import torch
from torch import Tensor
from torch.nn import functional

from dropscope.stack.shape import Shape
from dropscope.stack.weighting import RowWeights

__all__ = ["BatchLoss", "row_losses"]


def row_losses(z: Tensor, y: Tensor, shape: Shape, smoothing: float = 0.0) -> Tensor:
    """The loss of every row (models, rows).

    Args:
        z: outputs (models, rows, outputs, perhaps padded).
        y: labels (models, rows), or targets padded like the outputs.
        shape: what the models share.
        smoothing: the share of a label that all its values get alike.
    """
    if shape.task == "classification":
        return cross_entropies(z[..., : shape.outputs], y, smoothing)
    losses = output_losses(z, y, shape, smoothing)  # the padding is zero
    return losses.squeeze(2) if shape.outputs == 1 else losses.sum(2).div_(shape.outputs)


def cross_entropies(z: Tensor, y: Tensor, smoothing: float) -> Tensor:
    """The cross-entropy of every row, of logits and labels."""
    logs = functional.log_softmax(z, 2)
    losses = -logs.gather(2, y.unsqueeze(2)).squeeze(2)
    return losses * (1 - smoothing) - logs.mean(2) * smoothing if smoothing else losses


def output_losses(z: Tensor, y: Tensor, shape: Shape, smoothing: float) -> Tensor:
    """The loss of every single output, shaped like the outputs."""
    if shape.task == "multilabel":
        losses = (1 - smoothed(y, smoothing)) * z - functional.logsigmoid(z)
        losses[..., shape.outputs :] = 0
        return losses
    if shape.quantile is None:
        return (z - y).square()
    above = y - z
    return torch.maximum(above * shape.quantile, above * (shape.quantile - 1))


def output_gradient(z: Tensor, y: Tensor, shape: Shape, smoothing: float) -> Tensor:
    """The gradient of the mean loss of a batch, where every output has a loss of its own."""
    count = z.shape[1] * shape.outputs
    if shape.task == "multilabel":
        # torch's own sigmoid rounds differently at the end of a piece of memory, its logarithm does not.
        slopes = functional.logsigmoid(z).exp_().sub_(smoothed(y, smoothing))
        slopes[..., shape.outputs :] = 0
        return slopes.div_(count)
    if shape.quantile is None:
        return (z - y).mul_(2 / count)
    below, above = (z < y).to(z), (z > y).to(z)
    return above.mul_(1 - shape.quantile).sub_(below, alpha=shape.quantile).div_(count)


def class_gradient(z: Tensor, y: Tensor, shape: Shape, smoothing: float) -> Tensor:
    """The gradient of the mean cross-entropy of a batch; it is zero at padded outputs."""
    g = torch.zeros_like(z)
    classes = g[..., : shape.outputs]
    classes.copy_(functional.softmax(z[..., : shape.outputs], 2))
    classes.scatter_add_(2, y.unsqueeze(2), torch.full_like(y, smoothing - 1, dtype=z.dtype).unsqueeze(2))
    if smoothing:
        classes.sub_(smoothing / shape.outputs)
    return g.div_(z.shape[1])


def smoothed(y: Tensor, smoothing: float) -> Tensor:
    """Move labels of 0 and 1 towards one half."""
    return y * (1 - smoothing) + smoothing / 2 if smoothing else y


class BatchLoss:
    """The training loss of a stack.

    Args:
        shape: what the models share.
        weights: what each row of the table counts for each model, or None if all count the same.
        smoothing: the share of a label that all its values get alike.
    """

    def __init__(self, shape: Shape, weights: RowWeights | None = None, smoothing: float = 0.0) -> None:
        self.shape = shape
        self.weights = weights
        self.smoothing = smoothing

    def select(self, models: Tensor) -> "BatchLoss":
        """Go on with some of the models."""
        return BatchLoss(self.shape, self.weights and self.weights.select(models), self.smoothing)

    def __call__(self, z: Tensor, y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the losses (models,) and their gradient, shaped like the outputs.

        Args:
            z: outputs (models, batch, outputs, perhaps padded).
            y: labels of the whole table (rows,), or targets padded like the outputs.
            rows: indices of the batches (models, batch).
        """
        targets = y.index_select(0, rows.view(-1)).view(*rows.shape, *y.shape[1:])
        losses = row_losses(z, targets, self.shape, self.smoothing)
        derive = class_gradient if self.shape.task == "classification" else output_gradient
        gradient = derive(z, targets, self.shape, self.smoothing)
        if self.weights is not None:
            weights = self.weights.at(rows)
            losses, gradient = losses * weights, gradient.mul_(weights.unsqueeze(2))
        return losses.mean(1), gradient
