"""The exact mean and variance where dropout stands only before the final linear layer."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dropscope import moments
from dropscope.ensemble.forwards import of_its_class
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

    @property
    def site(self) -> nn.Module:
        """The layer that drops."""
        return self.linear if self.dropout is None else self.dropout

    def moments(self, features: Tensor) -> moments.Moments:
        """Give the exact moments of the output for what the dropout, or the layer that drops, gets."""
        with of_its_class(self.site):  # laws are known of classes
            return moments.last_layer(features, self.linear, self.dropout)


def exact_moments(model: nn.Module, last: Last, reader: Reader, call: Call) -> tuple[Tensor, Tensor]:
    """Run the model once, in eval, and give the exact mean and variance of its output over all masks."""
    seen: list[moments.Moments] = []

    def see(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(last.moments(inputs[0]))  # now, for the model may write into its features once it has used them

    with modes(dict.fromkeys(model.modules(), False)):
        handle = last.site.register_forward_pre_hook(see)
        try:
            output, _ = reader.picked(call(model))
        finally:
            handle.remove()
    return seen[-1].mean.view(output.shape), seen[-1].variance.view(output.shape)
