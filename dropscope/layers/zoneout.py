"""The layer that keeps old values of a recurrent state at random."""

from torch import Tensor

from dropscope import functional
from dropscope.layers.base import DropoutLayer

__all__ = ["Zoneout"]


class Zoneout(DropoutLayer):
    """Keep each unit's old value with probability `p` in training; in eval take the expectation of that.

    `y = old` where dropped, else `new`; in eval `y = p · old + q · new`, `q = 1 - p`. It is called between the steps
    of any recurrent cell, with the state after and before the step.

    Args:
        p: probability of keeping the old value, in [0, 1].
        generator: source of randomness; None: torch's own stream. Under activation checkpointing leave it None.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is not in [0, 1].

    Example:
        >>> import torch
        >>> cell, zone, h = torch.nn.GRUCell(3, 4), Zoneout(0.1), torch.zeros(2, 4)
        >>> for x in torch.ones(5, 2, 3):
        ...     h = zone(cell(x, h), h)
        >>> h.shape
        torch.Size([2, 4])

    Reference:
        Krueger et al., 2017, arXiv:1606.01305.
    """

    def forward(self, new: Tensor, old: Tensor) -> Tensor:
        """Give the state to go on with, from the state after the step and the one before it."""
        return functional.zoneout(new, old, self.rate, training=self.training, generator=self.source)
