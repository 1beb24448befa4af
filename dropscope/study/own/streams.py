"""Streams of random numbers of a trial's own, so that one kind of draw never shifts another."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dropscope.sites.randomness import Watch, reseeded, restored
from dropscope.sites.streams import Streams
from dropscope.study.trial import digest

__all__ = ["Stream", "seed_for"]

END = object()


def seed_for(role: str, seed: int) -> int:
    """Derive a seed for one role in a trial, far from those of other roles and trials."""
    return int(digest([role, seed])[:15], 16)


class Stream:
    """A stream that stands in for all global ones while it plays, and goes on where it was when it plays again.

    Torch's (on every device that counts), Python's and numpy's streams, and those that layers own, are put back
    whenever it pauses: nothing that is drawn outside moves it, and it moves nothing outside.

    Args:
        seed: where it begins.
        streams: torch's streams, and the generators of the layers.
    """

    def __init__(self, seed: int, streams: Streams) -> None:
        self.streams = streams
        with reseeded(streams, seed, everywhere=True):
            self.now = Watch(streams)

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Let all that is drawn in the block come from this stream."""
        with restored(self.streams):
            self.streams.states = self.now.torchs
            random.setstate(self.now.pythons)
            np.random.set_state(self.now.numpys)  # noqa: NPY002 (augmentations of others draw from it)
            try:
                yield
            finally:
                self.now = Watch(self.streams)

    def drawing(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Go through batches whose order and augmentations come from this stream; it pauses between them."""
        with self.playing():
            iterator = iter(batches)
        while True:
            with self.playing():
                batch = next(iterator, END)
            if batch is END:
                return
            yield batch
