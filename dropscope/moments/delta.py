"""The delta method over the masks: how each output moves with every draw, from one forward pass."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd

from dropscope.errors import NoDropoutFound
from dropscope.moments.calls import Call
from dropscope.moments.noise import unsupported
from dropscope.moments.probes import probed
from dropscope.moments.taps import Interception, Tap, Taps
from dropscope.sites.modes import modes
from dropscope.sites.streams import Streams

__all__ = ["Linearised", "dropping", "linearised"]

KNOWN = ("torch.nn.", "dropscope.layers.")  # their modules call no dropout function but in ways that are known


@dataclass(frozen=True, eq=False)
class Linearised:
    """A forward pass with every mask at its mean, and the noise it can be differentiated by.

    Attributes:
        output: the output, with its graph.
        taps: the noise of every site.
    """

    output: Tensor
    taps: list[Tap]

    def derivatives(self) -> Iterator[Tensor]:
        """Give, for one output after the other, its derivatives by the draws of its own row: (rows, draws)."""
        rows = len(self.output)
        noise = [tap.epsilon for tap in self.taps]
        for column in self.output.reshape(rows, -1).unbind(1):
            gradients = torch.autograd.grad(column.sum(), noise, retain_graph=True, materialize_grads=True)
            sorted_gradients = [tap.by_row(each, rows) for tap, each in zip(self.taps, gradients, strict=True)]
            yield torch.cat(sorted_gradients, 1)


def linearised(call: Call) -> Linearised:
    """Run a model in eval mode with every mask at its mean and noise, at zero, in the place of every draw.

    Args:
        call: the model with its inputs, rows on axis 0; its modules in the modes that `dropping` gives.

    Raises:
        UnsupportedModule: the model drops, or draws, in a way that cannot be followed.
        ValueError: the rows are not treated each by itself.
        NoDropoutFound: nothing drops.
    """
    first = Taps()
    alone = _tapped(call.first_row(), first)
    taps = Taps(first.shapes if call.rows > 1 else None)
    output = _tapped(call, taps)
    if not taps.taps or not output.requires_grad:
        raise NoDropoutFound("`model` must have dropout on the way to its output: found none that ran.")
    _check_rows(call, output, alone)
    return Linearised(output, taps.taps)


def dropping(call: Call) -> dict[nn.Module, bool | None]:
    """Say which modules must be in training mode so that dropout functions are told to drop.

    These are torch's own dropout layers, and the modules that were seen to call such a function in training mode; all
    others, batch normalisation above all, stay in eval.

    Raises:
        ValueError: batch normalisation has no running statistics.
    """
    for path, part in call.model.named_modules():
        if isinstance(part, _BatchNorm) and part.running_mean is None:
            raise ValueError(
                f"`model` must treat each row of `x` by itself: {type(part).__name__} at '{path}' normalises by the "
                "batch, for it has no running statistics."
            )
    owners = _owners(call.first_row())
    return {part: isinstance(part, _DropoutNd) or part in owners for part in call.model.modules()}


def _owners(call: Call) -> set[nn.Module]:
    """Find the modules that call a dropout function themselves, in a run that changes nothing."""
    model = call.model
    candidates = {part for part in model.modules() if _may_call(part)}
    owners: set[nn.Module] = set()
    running: list[nn.Module] = []
    if not candidates:
        return owners

    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with ExitStack() as stack:
        for part in candidates:
            stack.enter_context(part.register_forward_pre_hook(lambda module, _: running.append(module)))
            stack.enter_context(part.register_forward_hook(lambda *_: _discard_last(running), always_call=True))
        stack.enter_context(modes({part: part in candidates for part in model.modules()}))
        stack.enter_context(Streams(model, call.inputs).restored())
        stack.enter_context(probed(model, Taps()))
        stack.enter_context(Interception(Taps(), lambda: owners.update(running[-1:])))
        call(lambda *args, **kwargs: functional_call(model, buffers, args, kwargs))
    return owners


def _may_call(part: nn.Module) -> bool:
    return not type(part).__module__.startswith(KNOWN) and not isinstance(part, _NormBase)


def _discard_last(running: list[nn.Module]) -> None:
    running.pop()


def _tapped(call: Call, taps: Taps) -> Tensor:
    streams = Streams(call.model, call.inputs)
    before = streams.states
    with streams.restored(), probed(call.model, taps), Interception(taps):
        output = call()
        drew = not all(map(torch.equal, before, streams.states))
    if drew:
        raise unsupported(call.model, "", "draws random numbers outside of the dropout that is known")
    return output


def _check_rows(call: Call, output: Tensor, alone: Tensor) -> None:
    """Refuse a model that mixes rows: the gradient of one would have to be taken apart."""
    tolerance = torch.finfo(output.dtype).eps ** 0.5
    scale = float(output.detach().abs().amax()) if output.numel() else 0.0
    if output.shape != (call.rows, *alone.shape[1:]) or len(alone) != 1:
        why = f"got outputs of shape {tuple(output.shape)} for {call.rows} rows, {tuple(alone.shape)} for one"
    elif (output[:1] - alone).detach().abs().amax() > tolerance * scale:
        why = "got another output for the first row alone, as with batch statistics"
    else:
        return
    raise ValueError(f"`model` must treat each row of `x`, on axis 0, by itself: {why}.")
