"""Hooks that tap the dropout layers whose draws no function of torch makes in sight."""

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.rnn import PackedSequence

from dropscope import layers
from dropscope.functional.weights import widened
from dropscope.layers.recurrent import VariationalBase
from dropscope.layers.variational import VariationalLayer
from dropscope.moments.block_probe import drop_block
from dropscope.moments.noise import LAWS, bernoulli_noise, kinds, noise_of, unsupported
from dropscope.moments.recurrent_probes import between_layers, tied_over_time
from dropscope.moments.taps import Arguments, Taps
from dropscope.moments.weight_probes import connections, gaussian_weights, weights
from dropscope.sites.finding import listed

__all__ = ["TORCHS_AND_OURS", "has_probe", "probed"]

TORCHS_AND_OURS = ("torch.nn.", "dropscope.layers.")  # their modules drop in no other ways than those that are known
WHOLE = (nn.MultiheadAttention, layers.MultiheadAttention, layers.LayerDrop)  # whose probes need more than a call
Probe = Callable[[Any, Arguments, Any, Taps], Any]  # (module, arguments, its output in eval, taps) -> output


def probed(model: nn.Module, taps: Taps) -> ExitStack:
    """Hook the dropout layers of a model, all but torch's own elementwise ones, until the stack is closed.

    Args:
        model: any module; the layers must be in eval mode when they run.
        taps: where noise is added.

    Raises:
        UnsupportedModule: when the model runs a layer that drops in a way that cannot be tapped.
    """
    sites = {site.module for site in listed(model) if site.p > 0 and has_probe(site.module)}
    stack = ExitStack()
    for path, module in model.named_modules():
        if module in sites or (isinstance(module, VariationalLayer) and has_probe(module)):
            for target, hook in _hooks(module, path, taps):
                stack.enter_context(hook(target))
    return stack


def has_probe(module: nn.Module) -> bool:
    """Say whether a module's own dropout, if it has any, is tapped here: that of torch's layers, which call functions,
    of unknown ones, and of those with a `forward` of their own is not.
    """
    if isinstance(module, _DropoutNd):
        return False
    ours = type(module).__module__.startswith(TORCHS_AND_OURS) and "forward" not in vars(module)
    return ours or any(kind in WHOLE or kind in PROBES or kind in LAWS for kind in kinds(module))


def _hooks(module: nn.Module, path: str, taps: Taps) -> list[tuple[nn.Module, Callable[[nn.Module], Any]]]:
    """Say which modules to hook for one layer, and how."""
    if isinstance(module, layers.ConcreteDropout):  # it drops first and computes then
        before = partial(_before, path=path, taps=taps)
        return [(module, lambda target: target.register_forward_pre_hook(before))]

    parts, probe = [module], next((PROBES[kind] for kind in kinds(module) if kind in PROBES), _product)
    if isinstance(module, layers.LayerDrop):
        parts, probe = list(dict.fromkeys(module.layers)), partial(_skipped, p=module.p)
    elif isinstance(module, nn.MultiheadAttention):
        ours = isinstance(module, layers.MultiheadAttention)
        probe = partial(_multihead, twin=module if ours else layers.MultiheadAttention.from_torch(module))
    after = partial(_after, probe=probe, path=path, taps=taps)
    return [(part, lambda target: target.register_forward_hook(after, with_kwargs=True)) for part in parts]


def _before(module: nn.Module, args: tuple[Any, ...], *, path: str, taps: Taps) -> tuple[Any, ...]:
    return taps.noisy(args[0], noise_of(module, args[0], path)), *args[1:]


def _after(
    module: nn.Module, args: tuple[Any, ...], kwargs: Arguments, output: Any, *, probe: Probe, path: str, taps: Taps
) -> Any:
    given = inspect.signature(module.forward).bind(*args, **kwargs).arguments
    if any(isinstance(value, PackedSequence) for value in given.values()):
        raise unsupported(module, path, "cannot be tapped on packed sequences: pad them")
    called = {"path": path, "called": (args, kwargs), "x": next(iter(given.values()))}
    return probe(module, {**called, **given}, output, taps)


def _product(module: nn.Module, given: Arguments, output: Any, taps: Taps) -> Tensor:
    return taps.noisy(given["x"], noise_of(module, given["x"], given["path"]))


def _skipped(layer: nn.Module, given: Arguments, output: Any, taps: Taps, p: float) -> Tensor:
    """A layer that is left out with probability `p`, for the whole batch."""
    after = output[0] if isinstance(output, tuple) else output
    step = after - given["x"]
    return taps.shifted(given["x"] + (1 - p) * step, (p * (1 - p)) ** 0.5 * widened(step), (1,) * step.dim())


def _branch(module: layers.StochasticDepth, given: Arguments, output: Tensor, taps: Taps) -> Tensor:
    x = given["x"]
    return x + taps.noisy(output - x, bernoulli_noise(module.p, (0,)))


def _zoneout(module: layers.Zoneout, given: Arguments, output: Tensor, taps: Taps) -> Tensor:
    step = widened(given["new"] - given["old"])
    return taps.shifted(output, (module.p * (1 - module.p)) ** 0.5 * step, step.shape)


def _words(module: layers.EmbeddingDropout, given: Arguments, output: Tensor, taps: Taps) -> Tensor:
    """A word is dropped wherever it stands: one draw for each row and word."""
    noise, ids = bernoulli_noise(module.p), given["ids"]
    words, places = ids.unique(return_inverse=True)
    amplitude = noise.amplitude(output).detach()
    rows = 1 if taps.is_single else len(ids)
    epsilon = taps.leaf((rows, len(words)), 0, amplitude).gather(1, places.reshape(rows, -1)).view(ids.shape)
    return noise.mean(output) + (amplitude * epsilon.unsqueeze(-1)).to(output.dtype)


def _multihead(
    module: nn.MultiheadAttention, given: Arguments, output: Any, taps: Taps, twin: nn.Module
) -> tuple[Tensor, Any]:
    """Run the attention a second time with its weights in sight; those that are returned stay as they were."""
    names = inspect.signature(twin.forward).parameters
    with taps.attending(module.dropout):
        y, _ = twin.forward(**{**{name: given[name] for name in names if name in given}, "need_weights": False})
    return y, output[1]


def _attention(module: layers.ScaledDotProductAttention, given: Arguments, output: Tensor, taps: Taps) -> Tensor:
    names = inspect.signature(module.forward).parameters
    with taps.attending(module.p):
        return module.forward(**{name: given[name] for name in names if name in given})


PROBES: dict[type[nn.Module], Probe] = {
    layers.StochasticDepth: _branch,
    layers.Zoneout: _zoneout,
    layers.EmbeddingDropout: _words,
    layers.DropBlock1d: drop_block,
    layers.DropBlock2d: drop_block,
    layers.DropBlock3d: drop_block,
    layers.WeightDrop: weights,
    layers.DropConnect: connections,
    VariationalLayer: gaussian_weights,
    layers.ScaledDotProductAttention: _attention,
    VariationalBase: tied_over_time,
    nn.RNN: between_layers,
    nn.LSTM: between_layers,
    nn.GRU: between_layers,
}
