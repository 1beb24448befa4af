"""Hidden activations in place, together with their slopes, which the backward pass needs.

torch's own gelu, silu and sigmoid round differently at the end of a piece of memory, so that a model's numbers would
depend on its neighbours. The results of exp, erf, tanh and arithmetic depend on the value alone.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["ACTIVATIONS"]


def relu_(h: Tensor, slope: Tensor | None = None) -> Tensor:
    """Return max(h, 0); its slope follows from the result and is never asked for."""
    return h.relu_()


def gelu_(h: Tensor, slope: Tensor | None = None) -> Tensor:
    """Return h F(h) with the normal distribution F; the slope is F(h) + h F'(h)."""
    share = (h * math.sqrt(0.5)).erf_().add_(1).mul_(0.5)
    if slope is not None:
        torch.square(h, out=slope).mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi)).mul_(h).add_(share)
    return h.mul_(share)


def tanh_(h: Tensor, slope: Tensor | None = None) -> Tensor:
    """Return tanh(h); the slope is 1 - tanh(h)^2."""
    h.tanh_()
    if slope is not None:
        torch.square(h, out=slope).neg_().add_(1)
    return h


def silu_(h: Tensor, slope: Tensor | None = None) -> Tensor:
    """Return h s(h) with the logistic function s; the slope is s(h) + h s(h) (1 - s(h))."""
    share = h.neg().exp_().add_(1).reciprocal_()
    if slope is not None:
        torch.mul(share, share, out=slope).sub_(share).neg_().mul_(h).add_(share)
    return h.mul_(share)


ACTIVATIONS: dict[str, Callable[..., Tensor]] = {"relu": relu_, "gelu": gelu_, "tanh": tanh_, "silu": silu_}
