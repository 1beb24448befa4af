"""The work before the first draw, done once: calls of modules that ended by then return what they returned before."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from dropscope.ensemble.forwards import replaced
from dropscope.ensemble.inputs import tensors_in
from dropscope.ensemble.source import Layout, Source, layout_of
from dropscope.ensemble.tracing import Key, Trace

__all__ = ["Prefix", "Step", "steps_of"]


@dataclass(frozen=True, eq=False)
class Step:
    """A call of a module that ends before the first draw.

    Attributes:
        chained: whether only the next step, in the same nn.Sequential, gets its output.
        rewritten: whether something later writes into its output.
        layouts: where the rows lie in each tensor of the output; None: the tensor belongs to the batch as a whole.
        folds: whether that is known of all of them.
        axes: how many each of them has.
    """

    chained: bool
    rewritten: bool
    layouts: tuple[Layout | None, ...]
    folds: bool
    axes: tuple[int, ...]


class Prefix:
    """What the steps before the first draw gave for a batch.

    Args:
        steps: the calls, by module and number of the call within a pass.
        outputs: what they gave, if that has been recorded.
    """

    def __init__(self, steps: Mapping[Key, Step], outputs: dict[Key, Any] | None = None) -> None:
        self.steps = steps
        self.outputs: dict[Key, Any] = outputs or {}
        self.times = 1  # for how many passes at once `given` holds the outputs
        self.given = self.outputs

    @contextmanager
    def recording(self, source: Source) -> Iterator[None]:
        """Keep what the steps give in the block, which runs one pass.

        A model may take another way for this batch than for the rows that were tried out: where a step is not called,
        or not before the first draw, or squeezes the axis of a single row away, nothing is reused.
        """
        self.calls: dict[nn.Module, int] = {}
        early: set[Key] = set()
        with ExitStack() as stack:
            for module in dict.fromkeys(module for module, _ in self.steps):
                stack.enter_context(module.register_forward_hook(partial(self._keep, source, early)))
            yield
        if early != self.steps.keys():
            self.steps, self.outputs = {}, {}
        self.times, self.given = 1, self.outputs

    @contextmanager
    def replaying(self, times: int) -> Iterator[None]:
        """Give what was kept, so many times over, in the place of the steps' calls."""
        if times != self.times and self.steps:
            self.times, self.given = times, {key: self._repeated(key, times) for key in self.outputs}
        self.calls = {}
        modules = dict.fromkeys(module for module, _ in self.steps)
        with replaced({module: partial(self._replay, module, module.forward) for module in modules}):
            yield

    def forget(self) -> None:
        """Let go of the repeated outputs."""
        self.times, self.given = 1, self.outputs

    def _keep(self, source: Source, early: set[Key], module: nn.Module, _: Any, output: Any) -> None:
        key = self._key(module)
        step = self.steps.get(key)
        if step is None or source.drawn:
            return
        if not step.chained and step.axes != tuple(tensor.dim() for tensor in tensors_in(output)):
            return
        early.add(key)
        if not step.chained:
            self.outputs[key] = _copied(output) if step.rewritten else output

    def _replay(self, module: nn.Module, own: Any, *args: Any, **kwargs: Any) -> Any:
        key = self._key(module)
        step = self.steps.get(key)
        if step is None:
            return own(*args, **kwargs)
        if step.chained:
            return args[0]
        return _copied(self.given[key]) if step.rewritten else self.given[key]

    def _key(self, module: nn.Module) -> Key:
        number = self.calls.get(module, 0)
        self.calls[module] = number + 1
        return module, number

    def _repeated(self, key: Key, times: int) -> Any:
        leaves, structure = tree_flatten(self.outputs[key])
        layouts = iter(self.steps[key].layouts)
        repeated = [_repeat(leaf, next(layouts), times) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        return tree_unflatten(repeated, structure)


def steps_of(fewer: Trace, more: Trace, n_fewer: int, n_more: int) -> dict[Key, Step]:
    """Read the steps from two traces of one pass, over different numbers of rows."""
    steps = {}
    for key in [key for key in more.kept if key in fewer.kept]:
        one, other = fewer.kept[key], more.kept[key]
        pairs = list(zip(one.shapes, other.shapes, strict=False))
        layouts = tuple(layout_of(*pair, n_fewer, n_more) for pair in pairs)
        known = all(layout or a == b for layout, (a, b) in zip(layouts, pairs, strict=True))
        folds, axes = known and len(one.shapes) == len(other.shapes), tuple(map(len, other.shapes))
        steps[key] = Step(other.chained, other.rewritten, layouts, folds, axes)
    return steps


def _repeat(tensor: Tensor, layout: Layout | None, times: int) -> Tensor:
    return tensor if layout is None else torch.cat([tensor] * times, layout[0])


def _copied(output: Any) -> Any:
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, output)
