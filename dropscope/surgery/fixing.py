"""Fixed masks: every dropout site of a model goes on dropping what it dropped first."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dropscope.sites import find
from dropscope.sites.streams import Streams

__all__ = ["freeze"]


@contextmanager
def freeze(model: nn.Module) -> Iterator[nn.Module]:
    """Keep every dropout site's first mask until the end of the `with` block.

    Each site starts every call from the random numbers of the first call in which it drew any: inputs of one shape
    get one mask, also where a site is called several times in one pass. Between such calls the streams of random
    numbers are as if the site had drawn nothing. The block runs without torch.compile.

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
    paths = [site.path for site in find(model)]
    with ExitStack() as stack:
        stack.enter_context(torch.compiler.set_stance("force_eager"))  # compiled code calls no hooks
        for site in find(model):
            if not any(_is_inside(site.path, other) for other in paths):
                hooks = _SameNumbers()
                stack.enter_context(site.module.register_forward_pre_hook(hooks.before, with_kwargs=True))
                stack.enter_context(site.module.register_forward_hook(hooks.after, always_call=True))
        yield model


class _SameNumbers:
    """Hooks that start each call of a module from the random numbers of the first call in which it drew any."""

    def __init__(self) -> None:
        self.first: list[Tensor] | None = None

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.streams = Streams(module, (args, kwargs))
        self.outside = self.streams.states
        if self.first is not None:
            self.streams.states = self.first

    def after(self, *_: Any) -> None:
        if self.first is not None:
            self.streams.states = self.outside
        elif any(not torch.equal(a, b) for a, b in zip(self.streams.states, self.outside, strict=True)):
            self.first = self.outside


def _is_inside(path: str, other: str) -> bool:
    """Say whether a path lies inside another: the outer site's hooks hold for what it calls."""
    return path != other and (other == "" or path.startswith(other + "."))
