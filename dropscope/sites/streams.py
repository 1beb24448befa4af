"""The streams of random numbers that a module may draw from, which can be read and set."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

__all__ = ["Streams"]


class Streams:
    """Torch's own stream on every device that a call touches, and the generators of the layers inside.

    Args:
        module: the module that is called.
        inputs: the arguments of the call, whose devices count.

    Example:
        >>> streams = Streams(nn.Dropout(), ())
        >>> with streams.restored():
        ...     a = torch.rand(2)
        >>> torch.equal(torch.rand(2), a)
        True
    """

    def __init__(self, module: nn.Module, inputs: Any) -> None:
        tensors = chain(tree_leaves(inputs), module.parameters(), module.buffers())
        devices = {tensor.device for tensor in tensors if isinstance(tensor, Tensor)}
        # Torch's module for each kind of device, and the arguments that name the device to it: mps has only one.
        self.devices = [
            (torch.get_device_module(device), () if device.type == "mps" else (device,))
            for device in devices
            if device.type not in ("cpu", "meta")
        ]
        held = [value for part in module.modules() for value in vars(part).values()]
        self.generators = list(dict.fromkeys(value for value in held if isinstance(value, torch.Generator)))

    @property
    def states(self) -> list[Tensor]:
        """The states of all streams now."""
        return [
            torch.get_rng_state(),
            *(kind.get_rng_state(*device) for kind, device in self.devices),
            *(generator.get_state() for generator in self.generators),
        ]

    @states.setter
    def states(self, states: list[Tensor]) -> None:
        remaining = iter(states)
        torch.set_rng_state(next(remaining))
        for kind, device in self.devices:
            kind.set_rng_state(next(remaining), *device)
        for generator in self.generators:
            generator.set_state(next(remaining))

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Put all streams back at the end of the `with` block."""
        before = self.states
        try:
            yield
        finally:
            self.states = before
