"""Generators in compiled code, which knows no generator: a ticket, a small tensor, stands for one.

An operator that changes the ticket takes one word from its generator. Because of that change it is never dropped,
merged with another draw, or moved past one: draws happen once and in the order of the program, and the numbers
are a pure function of the word, so that the backward pass may compute them again.
"""

import itertools
import threading
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from torch import Tensor

from dropscope.masks.replay import refuse_in_backward

__all__ = ["next_word", "ticket"]

_lock = threading.Lock()
_keys = itertools.count()
_generators: WeakValueDictionary[int, torch.Generator] = WeakValueDictionary()
_tickets: WeakKeyDictionary[torch.Generator, Tensor] = WeakKeyDictionary()


def ticket(generator: torch.Generator) -> Tensor:
    """Find the ticket of a generator: its key, and how many words it has given in compiled code.

    Args:
        generator: source of randomness; the caller keeps it alive.

    Returns:
        An int64 tensor with two elements, the same one at every call.

    Example:
        >>> generator = torch.Generator()
        >>> ticket(generator) is ticket(generator)
        True
    """
    with _lock:
        if generator not in _tickets:
            key = next(_keys)
            with torch.inference_mode(False):
                _tickets[generator] = torch.tensor([key, 0], device="cpu")
            _generators[key] = generator
        return _tickets[generator]


@torch.library.custom_op("dropscope::next_word", mutates_args={"ticket"})
def next_word(ticket: Tensor) -> Tensor:
    """Take one 64-bit word from the generator that the ticket stands for."""
    refuse_in_backward()
    generator = _generators.get(int(ticket[0]))
    if generator is None:
        raise RuntimeError("the generator that this code was compiled with no longer exists: keep it alive.")
    ticket[1] += 1
    return torch.randint(-(2**63), 2**63 - 1, (), device=generator.device, generator=generator).cpu()


@next_word.register_fake
def _(ticket: Tensor) -> Tensor:
    return ticket.new_empty(())
