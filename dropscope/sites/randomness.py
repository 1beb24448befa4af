"""Random numbers that a model draws past its dropout: from torch's streams, Python's `random` or `numpy.random`."""

# ruff: noqa: NPY002 (the very stream that NPY002 warns of is what others use)

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from dropscope.sites.streams import Streams

__all__ = ["Watch", "reseeded", "restored"]


class Watch:
    """The states of all streams at one moment.

    Args:
        streams: torch's, and the generators of the layers.
    """

    def __init__(self, streams: Streams) -> None:
        self.streams, self.torchs = streams, streams.states
        self.pythons, self.numpys = random.getstate(), np.random.get_state()

    @property
    def moved(self) -> bool:
        """Whether anything has been drawn since."""
        pairs = zip(np.random.get_state(), self.numpys, strict=True)
        still = random.getstate() == self.pythons and all(np.array_equal(now, then) for now, then in pairs)
        return not (still and all(map(torch.equal, self.streams.states, self.torchs)))


@contextmanager
def restored(streams: Streams) -> Iterator[Watch]:
    """Put all streams back at the end of the block, which is told whether they have moved."""
    watch = Watch(streams)
    try:
        yield watch
    finally:
        streams.states = watch.torchs
        random.setstate(watch.pythons)
        np.random.set_state(watch.numpys)


@contextmanager
def reseeded(streams: Streams, seed: int, *, everywhere: bool) -> Iterator[None]:
    """Start torch's streams, and `everywhere` the others, from a seed in the block, and put them back at its end."""
    devices = ["cpu", *(device[0] if device else "mps" for _, device in streams.devices)]
    devices += [generator.device for generator in streams.generators]
    with restored(streams) if everywhere else streams.restored():
        streams.states = [torch.Generator(device).manual_seed(seed).get_state() for device in devices]
        if everywhere:
            random.seed(seed)
            np.random.seed(seed % 2**32)
        yield
