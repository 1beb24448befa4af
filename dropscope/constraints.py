"""Constraints on weights that go with dropout: max-norm, once or after every step of an optimizer."""

import math
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["MaxNorm", "max_norm_"]

Target = nn.Module | Tensor | Iterable[Tensor]

# Their weights are (groups · inputs, units, ...): the units of each group come second.
TRANSPOSED = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
NORMALISATIONS = nn.LayerNorm | nn.RMSNorm  # their scales may have several axes


@torch.no_grad()
def max_norm_(target: Target, c: float, *, dim: int | tuple[int, ...] = 0) -> None:
    """Shrink, in place, the incoming weights of each unit to a Euclidean norm of at most `c`.

    `w_u ← w_u · min(1, c / ‖w_u‖)` for each unit `u`: a row of a linear layer or embedding, a filter of a
    convolution, a row of each gate of a recurrent layer. Weights within `c` keep every bit, a second call changes
    nothing, and tied weights are treated once. Parameters with one axis (biases) are left alone, and those of a module
    that are frozen or scales of a normalisation. Other arrays that are no incoming weights are not known as such:
    for embeddings of words or positions and `bias_k`, `bias_v` of nn.MultiheadAttention name the target without them.

    Args:
        target: a module, whose trained parameters are all constrained; or a parameter; or several.
        c: largest norm, above 0; Srivastava et al. find 3 to 4 to work for many networks.
        dim: axis of the units in every parameter, or several axes that number them, such as (0, 2) of many weights
            (models, inputs, units); that of transposed convolutions in a module is known.

    Raises:
        TypeError: `target` holds what is no tensor of floating-point numbers.
        ValueError: `c` is not a positive number, or `dim` is no axis of a weight or leaves no axis of inputs.

    Example:
        >>> weight = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
        >>> max_norm_(weight, 1.0)
        >>> weight
        tensor([[0.6000, 0.8000],
                [0.3000, 0.4000]])

    Reference:
        Srivastava et al., 2014, JMLR 15(56):1929-1958, section 5.1.
    """
    _check_c(c)
    for weight, axes in _weights(target, dim):
        _shrink_(weight, c, axes)


class MaxNorm:
    """Apply `max_norm_` after every step of an optimizer, until removed.

    It keeps no state: after loading a checkpoint make it anew. It works as a context manager too.

    Args:
        optimizer: the optimizer whose steps it follows.
        c: largest norm of the incoming weights of a unit, above 0.
        target: what is constrained: a module, a parameter or several; None: every parameter of the optimizer
            that is trained, its embeddings too.
        dim: axis of the units in every parameter, or several axes that number them.

    Raises:
        TypeError: `target` holds what is no tensor of floating-point numbers.
        ValueError: `c` is not a positive number.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=100.0)
        >>> with MaxNorm(optimizer, 3.0, target=model):
        ...     model(torch.ones(1, 2)).sum().backward()
        ...     optimizer.step()
        >>> bool((model.weight.norm(dim=1) <= 3).all())
        True

    Reference:
        Srivastava et al., 2014, JMLR 15(56):1929-1958, section 5.1.
    """

    def __init__(
        self, optimizer: Optimizer, c: float, *, target: Target | None = None, dim: int | tuple[int, ...] = 0
    ) -> None:
        _check_c(c)
        self.c, self.dim = c, dim
        self._target = target if target is None or isinstance(target, nn.Module) else _checked_tensors(target)
        self._handle = optimizer.register_step_post_hook(self._after_step)

    def remove(self) -> None:
        """Stop constraining; the weights stay as they are."""
        self._handle.remove()

    def __enter__(self) -> "MaxNorm":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        target = self._target
        if target is None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            target = [parameter for parameter in parameters if parameter.requires_grad]
        max_norm_(target, self.c, dim=self.dim)


def _check_c(c: float) -> None:
    if not 0 < c < math.inf:
        raise ValueError(f"`c` must be a positive number, got {c!r}.")


def _weights(target: Target, dim: int | tuple[int, ...]) -> Iterator[tuple[Tensor, tuple[int, ...]]]:
    """Give each distinct weight with two or more axes, and the axes that count its units."""
    found: list[tuple[Tensor, nn.Module | None]] = []
    if isinstance(target, nn.Module):
        for module in target.modules():
            if isinstance(module, NORMALISATIONS):
                continue
            own = dict(module.named_parameters(recurse=False))
            own.pop("log_variance", None)  # of the variational layers: no weight
            trained = [weight for weight in own.values() if weight.requires_grad and weight.ndim >= 2]
            found += [(weight, module) for weight in _checked_tensors(trained)]
    else:
        found += [(weight, None) for weight in _checked_tensors(target)]

    distinct = {id(weight): (weight, owner) for weight, owner in found if weight.ndim >= 2}
    for weight, owner in distinct.values():
        if isinstance(owner, TRANSPOSED):
            yield weight.unflatten(0, (owner.groups, -1)), (0, 2)
        else:
            given = dim if isinstance(dim, tuple) else (dim,)
            if not all(-weight.ndim <= axis < weight.ndim for axis in given):
                raise ValueError(f"`dim` must be an axis of every weight, got {dim} for weights {tuple(weight.shape)}.")
            axes = {axis % weight.ndim for axis in given}
            if len(axes) == weight.ndim:
                raise ValueError(f"`dim` must leave an axis of inputs, got {dim} for weights {tuple(weight.shape)}.")
            yield weight, tuple(axes)


def _checked_tensors(target: Tensor | Iterable[Tensor]) -> list[Tensor]:
    tensors = [target] if isinstance(target, Tensor) else list(target)
    for tensor in tensors:
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"`target` must be a module, or parameters of floating-point numbers, got {kind}.")
    return tensors


def _shrink_(weight: Tensor, c: float, axes: tuple[int, ...]) -> None:
    # The squares of half types overflow, and sums of many float32 squares err by more than a weight is rounded.
    wide = torch.float32 if weight.device.type == "mps" else torch.float64  # which mps has not
    others = [axis for axis in range(weight.ndim) if axis not in axes]
    norm = weight.to(wide, copy=True).square_().sum(others, keepdim=True).sqrt_()

    # Rounding must not carry a norm past c again, or a second call would change it.
    size = weight.numel() // max(norm.numel(), 1)
    margin = torch.finfo(weight.dtype).eps + (size + 4) * torch.finfo(torch.float64).eps
    weight.copy_(weight.to(wide, copy=True).mul_(torch.where(norm > c, c * (1 - margin) / norm, 1.0)))
