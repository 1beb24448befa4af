"""Compiled code runs as it was written for as long as anybody asks: its compiled form calls no hooks and no modes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch

__all__ = ["uncompiled"]


class _Stance:
    """Torch's stance is one for all threads: it is taken by the first that asks and given back by the last."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.askers = 0
        self.taken: Any = None


_stance = _Stance()


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled code as it was written until the end of the block, in any number of threads."""
    with _stance.lock:
        _stance.askers += 1
        # Without dynamo nothing is compiled, and importing it takes seconds.
        if _stance.taken is None and "torch._dynamo" in sys.modules:
            _stance.taken = torch.compiler.set_stance("force_eager")
            _stance.taken.__enter__()

    try:
        yield
    finally:
        with _stance.lock:
            _stance.askers -= 1
            if _stance.askers == 0 and _stance.taken is not None:
                _stance.taken.__exit__(None, None, None)
                _stance.taken = None
