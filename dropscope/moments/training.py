"""Which modules must be in training mode, and no others, so that dropout functions are told to drop."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd

from dropscope.layers import DropoutLayer
from dropscope.moments.calls import Call
from dropscope.moments.noise import unsupported
from dropscope.moments.probes import TORCHS_AND_OURS, has_probe, probed
from dropscope.moments.taps import Interception, Taps
from dropscope.sites.modes import modes
from dropscope.sites.randomness import Watch, restored

__all__ = ["DRAWS", "dropping"]

DRAWS = "draws random numbers by other means than dropout layers and functions, which cannot be followed"


def dropping(call: Call) -> dict[nn.Module, bool | None]:
    """Say of each module whether it must be in training mode.

    These are torch's own dropout layers, and the modules that were seen to call a dropout function in training mode;
    all others, batch normalisation above all, stay in eval.

    Raises:
        ValueError: batch normalisation has no running statistics.
        UnsupportedModule: a module draws random numbers in training mode by other means than dropout functions.
    """
    for path, part in call.model.named_modules():
        if isinstance(part, _BatchNorm) and part.running_mean is None:
            raise ValueError(
                f"`model` must treat each row of `x` by itself: {type(part).__name__} at '{path}' normalises by the "
                "batch, for it has no running statistics."
            )
    owners = _owners(call.row(0))
    return {part: isinstance(part, _DropoutNd) or part in owners or _is_kernel(part) for part in call.model.modules()}


def _owners(call: Call) -> set[nn.Module]:
    """Find the modules that call a dropout function themselves, in a run in which they are in training mode."""
    paths = {part: path for path, part in call.model.named_modules() if _may_call(part)}
    owners: set[nn.Module] = set()
    running: list[tuple[nn.Module, Watch]] = []
    streams = call.streams

    def enter(module: nn.Module, _: Any) -> None:
        running.append((module, Watch(streams)))

    def check(module: nn.Module, *_: Any) -> None:
        if running[-1][1].moved or _draws_unseen(module):
            raise unsupported(module, paths[module], DRAWS)

    with ExitStack() as stack:
        watch = stack.enter_context(restored(streams))
        for part in paths:
            if not isinstance(part, torch.jit.ScriptModule):  # which take no hooks
                stack.enter_context(part.register_forward_pre_hook(enter))
                stack.enter_context(part.register_forward_hook(check))
                stack.enter_context(part.register_forward_hook(lambda *_: _discard_last(running), always_call=True))
        stack.enter_context(modes({part: part in paths for part in call.model.modules()}))
        stack.enter_context(probed(call.model, Taps()))
        stack.enter_context(Interception(Taps(), lambda: owners.update(part for part, _ in running[-1:])))
        call.run()
        if watch.moved:
            raise unsupported(call.model, "", DRAWS)
    return owners


def _may_call(part: nn.Module) -> bool:
    if "forward" in vars(part):  # which may be anything
        return True
    return not (type(part).__module__.startswith(TORCHS_AND_OURS) or isinstance(part, _NormBase) or has_probe(part))


def _draws_unseen(part: nn.Module) -> bool:
    """Say whether it is a recurrent network with dropout: on GPUs its kernels draw from streams of their own."""
    if not isinstance(part, nn.RNNBase) or isinstance(part, DropoutLayer):
        return False
    return part.num_layers > 1 and part.dropout > 0


def _is_kernel(part: nn.Module) -> bool:
    """Say whether it is a recurrent network without dropout: on GPUs it has derivatives only in training mode."""
    return isinstance(part, nn.RNNBase) and not isinstance(part, DropoutLayer) and part.dropout == 0


def _discard_last(running: list[Any]) -> None:
    running.pop()
