"""How much memory one model of a stack takes, so that a study can bound the number trained at once."""

from itertools import pairwise

import torch

from dropscope.stack.layout import padded
from dropscope.stack.noise import AHEAD
from dropscope.stack.record import TILE
from dropscope.stack.shape import Shape

__all__ = ["memory_per_model"]

COPIES = 7  # of the parameters: themselves, gradients, two moments, the best epoch, and two while models leave


def memory_per_model(shape: Shape, batch_size: int = 100, dtype: torch.dtype = torch.float32) -> int:
    """Estimate the bytes that one model adds to a stack in training, its row indices and sample weights
    aside.

    Parameters with gradients, moments and best weights, activations and scratch of one batch and one tile of stop
    rows, and the masks drawn ahead.

    Args:
        shape: the shape of the models.
        batch_size: rows per step.
        dtype: the dtype of the inputs.

    Returns:
        Bytes per model.

    Example:
        >>> memory_per_model(Shape((0, 1), 1, width=128, depth=3, task="regression")) < 3_000_000
        True
    """
    sizes = [padded(size, dtype) for size in shape.sizes]
    parameters = sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))
    slopes = 0 if shape.activation == "relu" else shape.depth + 1
    activations = batch_size * (sum(sizes) + (2 + slopes) * sizes[1]) + TILE * (sizes[0] + 2 * sizes[1])
    masks = 2 * AHEAD * batch_size * (sizes[0] + shape.depth * sizes[1])
    return (COPIES * parameters + activations) * dtype.itemsize + masks
