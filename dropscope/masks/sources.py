"""Where random numbers come from: torch's own stream, a generator, one seed per sample, or the stream of a rank."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, distributed
from torch.compiler import is_compiling

from dropscope.masks import counter
from dropscope.masks.replay import refuse_in_backward
from dropscope.masks.tickets import next_word

__all__ = ["is_batched", "is_recorded", "is_traced", "outside_of_vmap", "seeded", "stream", "traced_seed", "word"]

PLAIN = (Tensor, torch.nn.Parameter)
DISTRIBUTED = distributed.is_available()


def is_recorded() -> bool:
    """Say whether whatever runs now is being recorded or transformed: by torch.compile, export, make_fx or vmap."""
    return (
        is_compiling()  # first: the compiler must not look at the others
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._is_tracing()
    )


def is_traced(x: Tensor) -> bool:
    """Say whether operations on `x` are being recorded or transformed instead of simply run.

    True under torch.compile, export, make_fx and jit.trace, inside vmap and the other function transforms, and for
    subclasses of Tensor.

    Args:
        x: the tensor that is about to be used.

    Returns:
        Whether to avoid code that depends on values or on how tensors lie in memory.

    Example:
        >>> is_traced(torch.ones(2))
        False
    """
    return is_recorded() or type(x) not in PLAIN


def is_batched() -> bool:
    """Say whether gradients come in a batch: by `is_grads_batched`, which has a vmap of its own, or by torch.vmap."""
    return (
        torch._C._dispatch_tls_is_dispatch_key_included("VmapMode")
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


@contextmanager
def outside_of_vmap() -> Iterator[None]:
    """Draw in the block what a whole batch of gradients shares."""
    key = cast(torch._C.DispatchKey, torch._C._parse_dispatch_key("VmapMode"))
    with torch._C._DisableFuncTorch(), torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
        yield


def rank() -> int:
    """The rank of this process among those that train together; 0 where there is one."""
    return distributed.get_rank() if DISTRIBUTED and distributed.is_initialized() else 0


def stream(generator: torch.Generator | None, device: torch.device) -> torch.Generator | None:
    """Find the generator for one draw in code that simply runs; None: torch's own stream.

    Ranks of a distributed run are often seeded alike. So that they draw different masks, each rank but the first
    seeds a generator of its own from a word of torch's stream and its rank: `torch.manual_seed` and activation
    checkpointing govern it as ever. A generator that was given is used as it is.
    """
    if generator is not None:
        refuse_in_backward()
        return generator
    return seeded(word(None), device) if rank() > 0 else None


def seeded(word: int, device: torch.device) -> torch.Generator:
    """Make a generator whose numbers are a function of the word: on the CPU, where torch takes 32 bits, of those."""
    return torch.Generator("cpu" if device.type == "meta" else device).manual_seed(word)


def word(generator: torch.Generator | None) -> int:
    """Take one word of 64 bits from the generator, or from torch's own stream and the rank."""
    if generator is not None:
        refuse_in_backward()
    return int(_fresh(generator, "cpu" if generator is None else generator.device))


def traced_seed(source: torch.Generator | Tensor | None, device: torch.device) -> Tensor | None:
    """Find the seed of one draw in code that is recorded, for `counter`; None: draw from torch directly.

    Args:
        source: a generator, in compiled code its ticket; None: torch's own stream.
        device: where the numbers will be used.

    Returns:
        A 0-dimensional int64 tensor, or None where torch's own functions do.
    """
    if isinstance(source, Tensor):
        return next_word(source).to(device)
    if source is None and rank() > 0:
        return _fresh(None, device)
    return None


def _fresh(generator: torch.Generator | None, device: torch.device | str) -> Tensor:
    options: dict[str, Any] = {} if generator is None else {"generator": generator}  # Dynamo knows no generator=None
    drawn = torch.randint(-(2**63), 2**63 - 1, (), device=device, **options)
    if generator is None and rank() > 0:
        return counter.mixed(drawn + rank())
    return drawn
