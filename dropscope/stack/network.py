"""One training step of a stack, forward and backward written by hand on memory that is allocated once.

Per layer l, with keep-masks m and scales s = 1 / (1 - p) of each model:

    a_0 = s_0 m_0 x,    a_l = s_l m_l relu(a_{l-1} W_l + b_l),    z = a_depth W + b

A mask is a select, not a product: what is dropped is 0 even where the value is infinite. Both relu and mask have
derivative s where a_l > 0 and 0 elsewhere, so that the backward pass needs a_l alone. Of the other activations the
slopes are remembered, masked and scaled as the values are.
"""

import torch
from torch import Tensor

from dropscope.stack.activations import ACTIVATIONS
from dropscope.stack.layout import Parameters, affine
from dropscope.stack.losses import BatchLoss
from dropscope.stack.noise import Step
from dropscope.stack.shape import Shape

__all__ = ["Network"]

# threshold_backward(value, gate, t) is value where gate > t, else 0: one pass on CPU, where torch.where takes many.
select_ = torch.ops.aten.threshold_backward.grad_input


def drop_(values: Tensor, keep: Tensor, scale: Tensor) -> Tensor:
    """Set in place to zero what is not kept, and scale the rest."""
    return select_(values, keep, 0, grad_input=values).mul_(scale)


class Network:
    """A stack in training.

    Args:
        parameters: the stack's weights and biases, padded.
        shape: what the models share.
        loss: the training loss.
        batch_size: rows per step.
        scale_input: 1 / (1 - p) of the inputs, one per model (models, 1, 1).
        scale_hidden: 1 / (1 - p) of the hidden units, one tensor per layer.
    """

    def __init__(
        self,
        parameters: Parameters,
        shape: Shape,
        loss: BatchLoss,
        batch_size: int,
        scale_input: Tensor,
        scale_hidden: list[Tensor],
    ) -> None:
        self.shape = shape
        self.loss = loss
        self.batch_size = batch_size
        self.parameters = parameters
        self.gradients = parameters.zeros_like()
        self.scale_input, self.scale_hidden = scale_input, scale_hidden

        models, inputs, _ = parameters.weights[0].shape
        width = parameters.weights[0].shape[2]
        new = parameters.weights[0].new_empty
        self.activations = [new(models, batch_size, size) for size in (inputs, *[width] * shape.depth)]
        self.scratch = [new(models, batch_size, width) for _ in range(2)]
        smooth = shape.activation != "relu"
        self.slopes = [new(models, batch_size, width) if smooth else None for _ in range(shape.depth)]

    def select(self, models: Tensor) -> "Network":
        """Go on with some of the models."""
        return Network(
            self.parameters.select(models),
            self.shape,
            self.loss.select(models),
            self.batch_size,
            self.scale_input.index_select(0, models),
            [scale.index_select(0, models) for scale in self.scale_hidden],
        )

    def step(self, x: Tensor, y: Tensor, noise: Step) -> Tensor:
        """Fill the gradients of the mean loss of each model's batch.

        Args:
            x: all rows (rows, inputs), padded.
            y: their labels (rows,) or targets (rows, outputs), padded as the outputs are.
            noise: which rows and which units each model uses.

        Returns:
            The loss of each model, with dropout.
        """
        losses, gradient = self.loss(self._forward(x, noise), y, noise.rows)
        self._backward(gradient)
        return losses

    def _forward(self, x: Tensor, noise: Step) -> Tensor:
        a = self.activations[0]
        torch.index_select(x, 0, noise.rows.view(-1), out=a.view(-1, a.shape[2]))
        select_(a, noise.inputs, 0, grad_input=a).mul_(self.scale_input)

        activate = ACTIVATIONS[self.shape.activation]
        layers = zip(self.parameters.weights, self.parameters.biases, self.activations[1:], strict=False)
        drops = zip(noise.hidden, self.scale_hidden, self.slopes, strict=True)
        for (weight, bias, out), (keep, scale, slope) in zip(layers, drops, strict=True):
            activate(affine(a, weight, bias, out=out), slope)
            a = drop_(out, keep, scale)
            if slope is not None:
                drop_(slope, keep, scale)
        return affine(a, self.parameters.weights[-1], self.parameters.biases[-1])

    def _backward(self, g: Tensor) -> None:
        for layer in reversed(range(self.shape.depth + 1)):
            a, out = self.activations[layer], self.scratch[layer % 2]
            weight, bias = self.parameters.weights[layer], self.gradients.biases[layer]
            torch.sum(g, 1, keepdim=True, out=bias[..., : g.shape[2]])

            if weight.shape[1] == 1:
                torch.sum(torch.mul(a, g, out=out), 1, keepdim=True, out=self.gradients.weights[layer])
                torch.mul(g, weight, out=out)
            else:
                torch.bmm(a.transpose(1, 2), g, out=self.gradients.weights[layer])
                if layer > 0:
                    torch.bmm(g, weight.transpose(1, 2), out=out)
            if layer > 0:
                slope = self.slopes[layer - 1]  # None: a is positive where the unit was kept and active
                g = drop_(out, a, self.scale_hidden[layer - 1]) if slope is None else out.mul_(slope)
