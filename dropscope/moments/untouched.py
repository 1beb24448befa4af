"""A model that is as it was, whatever its forward passes store on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["untouched"]


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put back at the end of the block the attributes and buffers of all modules; no parameter takes gradients in it.

    What a pass stores, as a module's last features, would keep the graph of derivatives alive, or be the stand-in by
    which torch.fx traced it.
    """
    parts = [part for part in model.modules() if not isinstance(part, torch.jit.ScriptModule)]
    before = [(part, dict(vars(part)), dict(part._buffers)) for part in parts]
    learned = [
        parameter for parameter in model.parameters() if parameter.requires_grad and not parameter.is_inference()
    ]
    copies: dict[int, Tensor] = {}

    try:
        for part, _, buffers in before:
            for name, buffer in buffers.items():
                if buffer is not None:
                    part._buffers[name] = copies.setdefault(id(buffer), buffer.detach().clone())
        for parameter in learned:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
        for part, attributes, buffers in before:
            for name in vars(part).keys() - attributes.keys():
                del vars(part)[name]
            vars(part).update(attributes)
            part._buffers.clear()
            part._buffers.update(buffers)
