"""What all dropout layers share: `p`, which can change at any time, and where their randomness comes from."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from dropscope.masks import check_p, ticket

__all__ = ["DropoutLayer"]


class DropoutLayer(nn.Module):
    """The base of every dropout layer: a checked `p` that can be set at any time, and a source of randomness.

    A subclass calls its pure function with `self.rate` and `self.source`, and lists further arguments in `shown()`.

    Args:
        p: probability of dropping, in [0, 1].
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number, or `generator` not a torch.Generator.
        ValueError: `p` is not a probability.

    Example:
        >>> isinstance(DropoutLayer(0.5), nn.Module)
        True
    """

    below_one = False  # whether p = 1 is refused, where the variance p / q must be finite
    learned = False  # whether p is a parameter, which only a surgeon who names it may overwrite

    def __init__(self, p: float = 0.5, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.p = p
        self.generator = generator

    @property
    def p(self) -> float:
        """Probability of dropping."""
        return self._p

    @p.setter
    def p(self, value: float) -> None:
        # Eager code reads the float. Compiled code reads the tensor, whose value is no part of the graph; it is not
        # a buffer because `.half()` would round it.
        self._p = check_p(value, type(self).__name__, below_one=self.below_one)
        with torch.inference_mode(False):  # training saves it for backward
            self._p_tensor = torch.tensor(self._p, dtype=torch.float64, device="cpu")

    @property
    def rate(self) -> float | Tensor:
        """`p` for the forward pass: in compiled code a tensor, so that a new `p` needs no new graph."""
        return self._p_tensor if torch.compiler.is_compiling() else self._p

    @property
    def generator(self) -> torch.Generator | None:
        """The source of randomness; None: torch's own stream."""
        return self._generator

    @generator.setter
    def generator(self, value: torch.Generator | None) -> None:
        if value is not None and not isinstance(value, torch.Generator):
            name = type(self).__name__
            raise TypeError(f"{name}: `generator` must be a torch.Generator or None, got {value!r}.")
        self._generator = value
        self._ticket = None if value is None else ticket(value)

    @property
    def source(self) -> torch.Generator | None:
        """The source of randomness for the forward pass: in compiled code the ticket of the generator."""
        return cast(torch.Generator, self._ticket) if torch.compiler.is_compiling() else self._generator

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.generator = self._generator  # a copy has a generator of its own, and needs that one's ticket

    def shown(self) -> dict[str, Any]:
        """Name the arguments, other than `p`, that differ from their defaults."""
        return {}

    def extra_repr(self) -> str:
        """Show `p` and the arguments that differ from their defaults."""
        arguments = {"p": self.p, **self.shown()}
        shown = [f"{name}={value!r}" for name, value in arguments.items()]
        return ", ".join(shown + ["generator=..."] * (self.generator is not None))
