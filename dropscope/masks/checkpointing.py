"""Draw again what was drawn before: for activation checkpointing, which rewinds only torch's own stream."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType

import torch

from dropscope.masks import rows
from dropscope.masks.replay import replaying

__all__ = ["rewinding"]


def rewinding(
    *generators: torch.Generator,
) -> Callable[[], tuple[AbstractContextManager[None], AbstractContextManager[None]]]:
    """Make checkpointed layers that draw from these generators, or inside `per_sample`, draw the same again.

    Args:
        generators: every generator that the checkpointed layers draw from.

    Returns:
        The `context_fn` of `torch.utils.checkpoint.checkpoint(..., use_reentrant=False)`.

    Example:
        >>> from torch.utils.checkpoint import checkpoint
        >>> generator = torch.Generator()
        >>> x, layer = torch.ones(3, requires_grad=True), torch.nn.Tanh()
        >>> y = checkpoint(layer, x, use_reentrant=False, context_fn=rewinding(generator))
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        first = _Remember(generators)
        return first, _Rewind(first)

    return contexts


class _Remember:
    """Remember where the generators and the seeds of the samples stand when the block begins."""

    def __init__(self, generators: tuple[torch.Generator, ...]) -> None:
        self.generators = generators

    def __enter__(self) -> None:
        self.states = [generator.get_state() for generator in self.generators]
        seeds = rows.current()
        self.rows = None if seeds is None else (seeds.seeds, seeds.draws)

    def __exit__(self, *_: object) -> None:
        pass


class _Rewind:
    """Go back to where `first` began for the block, which may be entered again, and return to the present after it."""

    def __init__(self, first: _Remember) -> None:
        self.first = first

    def __enter__(self) -> None:
        self.stack = ExitStack()
        self.stack.callback(replaying.reset, replaying.set(True))
        if self.first.rows is not None or rows.current() is not None:
            then = None if self.first.rows is None else rows.Rows(*self.first.rows)
            self.stack.enter_context(rows.using(then))
        for generator, state in zip(self.first.generators, self.first.states, strict=True):
            self.stack.callback(generator.set_state, generator.get_state())
            generator.set_state(state)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.__exit__(kind, error, trace)
