"""How the parameters of many models lie in memory, so that a model's numbers do not depend on its neighbours.

Matrix kernels round differently when an operand does not start at a 64-byte boundary. Every feature axis is therefore
padded with zeros to a whole number of 64 bytes: each model of a stack then starts at such a boundary, wherever it
stands. Padded weights get zero gradients and stay zero. The weights of a single output are kept as a row (models, 1,
inputs) and applied by multiply-and-sum, which is faster than a padded product. A batched product of one matrix takes
yet another kernel: a stack never has fewer than two models.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from dropscope.constraints import max_norm_
from dropscope.stack.activations import ACTIVATIONS
from dropscope.stack.shape import Activation, Shape

__all__ = ["Parameters", "affine", "initial", "outputs", "pad_columns", "padded", "stacked"]

ALIGNMENT = 64  # bytes


@dataclass(eq=False)
class Parameters:
    """Weights and biases, one tensor each per layer: of a single model, or of a stack, padded."""

    weights: list[Tensor]
    biases: list[Tensor]

    def tensors(self) -> list[Tensor]:
        """All weights, then all biases."""
        return [*self.weights, *self.biases]

    def select(self, models: Tensor) -> "Parameters":
        """Copy some models of a stack."""
        return Parameters(
            [weight.index_select(0, models) for weight in self.weights],
            [bias.index_select(0, models) for bias in self.biases],
        )

    def zeros_like(self) -> "Parameters":
        """Zeros of the same shapes."""
        return Parameters([torch.zeros_like(w) for w in self.weights], [torch.zeros_like(b) for b in self.biases])

    def limit_(self, c: float) -> None:
        """Shrink the incoming weights of every hidden unit to a norm of at most `c`; padding stays zero."""
        for weight in self.weights[:-1]:
            max_norm_(weight, c, dim=(0, 2))

    def single(self, model: int, sizes: Sequence[int]) -> "Parameters":
        """Copy one model out of a stack, without the padding, on the CPU."""
        weights, biases = [], []
        for weight, bias, (inputs, outs) in zip(self.weights, self.biases, pairwise(sizes), strict=True):
            matrix = weight[model].T if weight.shape[1] == 1 else weight[model]
            weights.append(matrix[:inputs, :outs].contiguous().cpu().clone())
            biases.append(bias[model, 0, :outs].cpu().clone())
        return Parameters(weights, biases)


def padded(size: int, dtype: torch.dtype) -> int:
    """Round a number of features up to whole aligned blocks."""
    block = ALIGNMENT // dtype.itemsize
    return -(-size // block) * block


def pad_columns(x: Tensor) -> Tensor:
    """Append columns of zeros up to whole aligned blocks."""
    return torch.nn.functional.pad(x, (0, padded(x.shape[-1], x.dtype) - x.shape[-1]))


def initial(shape: Shape, generator: torch.Generator) -> Parameters:
    """Draw one model's weights and set its biases to zero, in float64 whatever it will be trained in."""
    draw = he if shape.initialisation == "he" else glorot
    layers = list(pairwise(shape.sizes))
    biases = [torch.zeros(outs, dtype=torch.float64) for _, outs in layers]
    return Parameters([draw(inputs, outs, generator) for inputs, outs in layers], biases)


def he(inputs: int, outs: int, generator: torch.Generator) -> Tensor:
    """Draw one layer's weights from He's normal law."""
    return torch.randn(inputs, outs, dtype=torch.float64, generator=generator) * math.sqrt(2 / inputs)


def glorot(inputs: int, outs: int, generator: torch.Generator) -> Tensor:
    """Draw one layer's weights from Glorot's uniform law."""
    uniform = torch.rand(inputs, outs, dtype=torch.float64, generator=generator)
    return (2 * uniform - 1) * math.sqrt(6 / (inputs + outs))


def stacked(models: Sequence[Parameters], dtype: torch.dtype, device: torch.device | str) -> Parameters:
    """Stack single models into one padded block per layer."""
    stack = Parameters([], [])
    for layer in range(len(models[0].weights)):
        weight = torch.stack([model.weights[layer] for model in models]).to(device, dtype)
        bias = torch.stack([model.biases[layer] for model in models]).to(device, dtype)
        if weight.shape[2] == 1 and layer == len(models[0].weights) - 1:
            weight = pad_columns(weight.transpose(1, 2))
        else:
            rows = padded(weight.shape[1], dtype) - weight.shape[1]
            weight = torch.nn.functional.pad(pad_columns(weight), (0, 0, 0, rows))
        stack.weights.append(weight.contiguous())
        stack.biases.append(pad_columns(bias).unsqueeze(1).contiguous())
    return stack


def affine(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    """Apply one layer of every model: (models, rows, inputs) to (models, rows, outputs)."""
    if weight.shape[1] == 1:
        return (x * weight).sum(2, keepdim=True).add_(bias[..., :1])
    return torch.baddbmm(bias, x, weight, out=out) if out is not None else torch.baddbmm(bias, x, weight)


def outputs(parameters: Parameters, x: Tensor, activation: Activation) -> Tensor:
    """Run every model without dropout on its own padded rows; the outputs stay padded too."""
    *hidden, last = zip(parameters.weights, parameters.biases, strict=True)
    for weight, bias in hidden:
        x = ACTIVATIONS[activation](affine(x, weight, bias))
    return affine(x, *last)
