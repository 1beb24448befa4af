"""A model whose dropout is switched on, as something that can be run pass by pass."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from dropscope.ensemble.forwards import drawing
from dropscope.ensemble.inputs import Call
from dropscope.ensemble.outputs import Reader
from dropscope.ensemble.source import Source
from dropscope.ensemble.switching import switched
from dropscope.sites.eagerness import uncompiled

__all__ = ["Subject"]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model that is switched on, and how its passes are run.

    Attributes:
        model: the model.
        droppers: its modules that drop.
        source: of their masks.
        reader: of its outputs.
    """

    model: nn.Module
    droppers: Sequence[nn.Module]
    source: Source
    reader: Reader

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Switch the model on, and let it draw from the source, until the end of the block; other threads wait."""
        # Outside of inference mode, whose tensors do not tell that they have been written into.
        quiet = torch.inference_mode(False), torch.no_grad(), uncompiled()
        on = switched(self.model, self.droppers), drawing(self.droppers, self.source)
        with ExitStack() as stack:
            for context in (_lock_of(self.model), *quiet, *on):
                stack.enter_context(context)
            yield

    def run(self, call: Call, passes: Sequence[int], first_row: int = 0, *, seeded: bool = False) -> Any:
        """Run passes over a batch in which its rows stand once for each of them.

        Args:
            call: the batch, repeated.
            passes: their numbers.
            first_row: number of the batch's first row.
            seeded: whether the model draws random numbers of its own, whose streams are then seeded.
        """
        running = self.source.running(passes, first_row, call.n_rows // len(passes))
        with running, self.source.seeded(call) if seeded else nullcontext():
            return call(self.model)


_locks: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_one_by_one = Lock()


def _lock_of(model: nn.Module) -> Any:
    """The lock of a model, whose modes and forward methods serve one prediction at a time."""
    with _one_by_one:
        return _locks.setdefault(model, RLock())
