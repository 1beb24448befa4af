"""Fixed masks: every dropout site of a model goes on dropping what it dropped first."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dropscope.sites.eagerness import uncompiled
from dropscope.sites.finding import listed
from dropscope.sites.streams import Streams

__all__ = ["freeze"]


@contextmanager
def freeze(model: nn.Module) -> Iterator[nn.Module]:
    """Keep every dropout site's first mask until the end of the `with` block.

    Each site starts every call from the random numbers of the first call in which it drew any: inputs of one shape
    get one mask, also where a site is called several times in one pass. Between such calls the streams of random
    numbers are as if the site had drawn nothing. The block runs without torch.compile.

    The backward pass of checkpointed code, which calls the sites again, belongs inside the block; a model that is
    copied inside it takes the hooks along.

    Args:
        model: any module, with dropout from dropscope, torch or elsewhere.

    Yields:
        The model.

    Example:
        >>> model, x = nn.Dropout(0.5), torch.ones(100)
        >>> with freeze(model):
        ...     torch.equal(model(x), model(x))
        True
        >>> torch.equal(model(x), model(x))
        False
    """
    running: list[nn.Module] = []
    with ExitStack() as stack:
        stack.enter_context(uncompiled())
        for module in {site.module: None for site in listed(model)}:
            hooks = _SameNumbers(running)
            stack.enter_context(module.register_forward_pre_hook(hooks.before, with_kwargs=True))
            stack.enter_context(module.register_forward_hook(hooks.after, always_call=True))
        yield model


class _SameNumbers:
    """Hooks that start each call of a module from the random numbers of the first call in which it drew any.

    A call inside that of another site is left to the outer one's hooks, which rewind it too.

    Args:
        running: the sites whose calls have not ended yet, shared by all hooks.
    """

    def __init__(self, running: list[nn.Module]) -> None:
        self.running = running
        self.first: list[Tensor] | None = None

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.running.append(module)
        if len(self.running) > 1:
            return
        self.streams = Streams(module, (args, kwargs))
        self.outside = self.streams.states
        if self.first is not None:
            self.streams.states = self.first

    def after(self, *_: Any) -> None:
        self.running.pop()
        if self.running:
            return
        if self.first is not None:
            self.streams.states = self.outside
        elif any(not torch.equal(a, b) for a, b in zip(self.streams.states, self.outside, strict=True)):
            self.first = self.outside
