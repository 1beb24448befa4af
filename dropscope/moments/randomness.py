"""All streams of random numbers that a model may draw from: whether one has moved, and putting them back."""

import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dropscope.moments.calls import Call
from dropscope.sites.streams import Streams

__all__ = ["Randomness"]


class Randomness:
    """Torch's streams, those of Python and numpy, and the generators of layers."""

    def __init__(self, call: Call) -> None:
        self.streams = Streams(call.model, (call.args, call.kwargs))

    def state(self) -> list[Any]:
        """Give what is equal only as long as nothing is drawn."""
        of_torch = [state.numpy().tobytes() for state in self.streams.states]
        return [*of_torch, random.getstate(), pickle.dumps(np.random.get_state())]  # noqa: NPY002  models draw from it

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Put all streams back at the end of the block."""
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        try:
            with self.streams.restored():
                yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
