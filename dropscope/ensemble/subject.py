"""A model whose dropout is switched on, as something that can be run pass by pass."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from torch import nn

from dropscope.ensemble.inputs import Call
from dropscope.ensemble.outputs import Reader
from dropscope.ensemble.source import Source

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
