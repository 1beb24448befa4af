"""One pass of a model, watched: which calls end before the first draw, how much they hold, and which one is last."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dropscope import layers
from dropscope.ensemble.inputs import tensors_in, version
from dropscope.ensemble.source import Source

__all__ = ["Key", "State", "Trace", "traced"]

Key = tuple[nn.Module, int]  # a module, and which of its calls within a pass


class State:
    """What a call got or gave, as it was then: a tensor that is written into stays the tensor that it is.

    Args:
        value: what it got or gave.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
        self.version = version(value) if isinstance(value, Tensor) else 0

    def same(self, other: "State") -> bool:
        """Say whether these are one tensor, or views of all of it in its order, with nothing written in between."""
        one, two = self.value, other.value
        if not (isinstance(one, Tensor) and isinstance(two, Tensor) and self.version == other.version):
            return False
        whole = one.numel() == two.numel() and one.is_contiguous() and two.is_contiguous()
        return one is two or (whole and one.data_ptr() == two.data_ptr() and one.dtype == two.dtype)


@dataclass(eq=False)
class Ended:
    """A call that ended before the first draw.

    Attributes:
        output: what it gave; None where only the next call got it.
        depth: how many calls it ran inside.
        chained: whether only the next call, in the same nn.Sequential, gets its output.
    """

    output: Any
    depth: int
    chained: bool = False

    def __post_init__(self) -> None:
        self.tensors = tensors_in(self.output)
        self.shapes = [tensor.shape for tensor in self.tensors]
        self.versions = [version(tensor) for tensor in self.tensors]

    @property
    def rewritten(self) -> bool:
        """Whether something has written into the output since."""
        return self.versions != [version(tensor) for tensor in self.tensors]


class Trace:
    """What the hooks saw.

    Args:
        source: of the masks, which knows whether anything has been drawn.
        droppers: the modules that are switched on.
    """

    def __init__(self, source: Source, droppers: Collection[nn.Module]) -> None:
        self.source, self.droppers = source, droppers
        self.kept: dict[Key, Ended] = {}  # of calls inside one another the outermost
        self.bytes = 0  # that the largest call reads and writes
        self.dropped: tuple[nn.Module, State, State] | None = None  # the last module that dropped, what it got and gave
        self.last: tuple[nn.Module, State, State] | None = None  # the last linear layer, what it got and gave
        self._running: list[tuple[nn.Module, int]] = []  # modules, and how many calls had ended when they began
        self._calls: dict[nn.Module, int] = {}

    def begin(self, module: nn.Module, _: Any) -> None:
        """Note that a call begins."""
        self._running.append((module, len(self.kept)))

    def end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Note that a call ends."""
        _, before = self._running.pop()
        key = (module, self._calls.get(module, 0))
        self._calls[module] = key[1] + 1
        self.bytes = max(self.bytes, sum(tensor.nbytes for tensor in (*tensors_in(output), *tensors_in(inputs))))
        if module in self.droppers and inputs:
            self.dropped = module, State(inputs[0]), State(output)
        if isinstance(module, nn.Linear | layers.DropConnect) and inputs:
            self.last = module, State(inputs[0]), State(output)
        if self._running and not self.source.drawn:
            self._keep(key, before, output)

    def _keep(self, key: Key, before: int, output: Any) -> None:
        for inner in list(self.kept)[before:]:
            del self.kept[inner]
        parent, first = self._running[-1]
        in_a_chain = getattr(parent.forward, "__func__", None) is nn.Sequential.forward
        previous = next(reversed(self.kept.values()), None)
        if in_a_chain and previous and len(self.kept) > first and previous.depth == len(self._running):
            self.kept[next(reversed(self.kept))] = Ended(None, previous.depth, chained=True)
        self.kept[key] = Ended(output, len(self._running))


@contextmanager
def traced(model: nn.Module, source: Source, droppers: Collection[nn.Module]) -> Iterator[Trace]:
    """Watch the calls of all modules in the block, which runs one pass."""
    trace, handles = Trace(source, droppers), []
    try:
        for module in model.modules():
            handles += [module.register_forward_pre_hook(trace.begin), module.register_forward_hook(trace.end)]
        yield trace
    finally:
        for handle in handles:
            handle.remove()
