"""The exact mean and variance where dropout stands only before the final linear layer."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dropscope import moments
from dropscope.ensemble.inputs import Call
from dropscope.ensemble.outputs import Reader
from dropscope.sites.modes import modes

__all__ = ["Last", "exact_moments"]


@dataclass(frozen=True, eq=False)
class Last:
    """The last two layers of a model.

    Attributes:
        dropout: the site; None where the linear layer drops its own weights.
        linear: nn.Linear, or DropConnect around one.
    """

    dropout: nn.Module | None
    linear: Any

    def moments(self, features: Tensor) -> moments.Moments:
        """Give the exact moments of the output for what the dropout, or the layer that drops, gets."""
        return moments.last_layer(features, self.linear, self.dropout)


def exact_moments(model: nn.Module, last: Last, reader: Reader, call: Call) -> tuple[Tensor, Tensor]:
    """Run the model once, in eval, and give the exact mean and variance of its output over all masks."""
    seen: list[Tensor] = []
    watched = last.linear if last.dropout is None else last.dropout
    with modes(dict.fromkeys(model.modules(), False)):
        handle = watched.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            output, _ = reader.picked(call(model))
        finally:
            handle.remove()
    found = last.moments(seen[-1])
    return found.mean.view(output.shape), found.variance.view(output.shape)
