"""Hooks that tap the dropout layers whose draws no function of torch makes in sight."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.rnn import PackedSequence

from dropscope import functional, layers
from dropscope.functional.weights import random_weight_moments, widened
from dropscope.layers.parameters import linear_map, read
from dropscope.layers.recurrent import VariationalBase
from dropscope.layers.variational import VariationalLayer
from dropscope.moments.noise import bernoulli_noise, noise_of, unsupported
from dropscope.moments.taps import Taps
from dropscope.sites.finding import listed

__all__ = ["probed"]

Arguments = Mapping[str, Any]
Probe = Callable[[Any, Arguments, Any, Taps], Any]  # (module, arguments, its output in eval, taps) -> output


def probed(model: nn.Module, taps: Taps) -> ExitStack:
    """Hook the dropout layers of a model, all but torch's own elementwise ones, until the stack is closed.

    Args:
        model: any module; the layers must be in eval mode when they run.
        taps: where noise is added.

    Raises:
        UnsupportedModule: when the model runs a layer that drops in a way that cannot be tapped.
    """
    sites = {site.module for site in listed(model) if site.p > 0 and not isinstance(site.module, _DropoutNd)}
    stack = ExitStack()
    for path, module in model.named_modules():
        if module in sites or isinstance(module, VariationalLayer):
            for target, hook in _hooks(module, path, taps):
                stack.enter_context(hook(target))
    return stack


def _hooks(module: nn.Module, path: str, taps: Taps) -> list[tuple[nn.Module, Callable[[nn.Module], Any]]]:
    """Say which modules to hook for one layer, and how."""
    if isinstance(module, layers.ConcreteDropout):  # it drops first and computes then
        before = partial(_before, path=path, taps=taps)
        return [(module, lambda target: target.register_forward_pre_hook(before))]

    parts, probe = [module], next((PROBES[kind] for kind in type(module).__mro__ if kind in PROBES), _product)
    if isinstance(module, layers.LayerDrop):
        parts, probe = list(module.layers), partial(_skipped, p=module.p)
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
    return probe(module, {"path": path, "x": next(iter(given.values())), **given}, output, taps)


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
    epsilon = taps.leaf((len(ids), len(words)), 0, amplitude).gather(1, places.flatten(1)).view(ids.shape)
    return noise.mean(output) + (amplitude * epsilon.unsqueeze(-1)).to(output.dtype)


def _connections(module: layers.DropConnect, given: Arguments, output: Any, taps: Taps) -> Tensor:
    """One mask of the weights serves a whole row: all its time steps or places."""
    inner, x = module.module, given["x"]
    if isinstance(inner, nn.RNNBase) or module.p == 1:
        raise unsupported(module, given["path"], f"around {type(inner).__name__} with p={module.p} cannot be tapped")
    noise, weight = bernoulli_noise(module.p, module.per), read(inner, "weight")
    if isinstance(inner, nn.Linear) and x.dim() == 2 and module.per is None:
        mean, variance = module.moments(x)  # one place in each row: its outputs have independent noise
        return taps.shifted(mean, variance.sqrt(), variance.shape)

    shape = (len(x), *noise.draws(weight))
    amplitude = noise.amplitude(weight).detach()
    epsilon = taps.leaf(shape, 0, amplitude)
    apply = linear_map(inner)
    moved = torch.vmap(lambda row, ε: apply(widened(row).unsqueeze(0), amplitude * ε, None).squeeze(0))(x, epsilon)
    return output + moved.to(output.dtype)


def _variational(module: VariationalLayer, given: Arguments, output: Tensor, taps: Taps) -> Tensor:
    variances = widened(module.log_variance).exp()
    mean, variance = random_weight_moments(given["x"], module.weight, variances, module.bias, linear=module._linear)
    return taps.shifted(mean, variance.sqrt(), variance.shape)


def _multihead(module: nn.MultiheadAttention, given: Arguments, output: Any, taps: Taps) -> tuple[Tensor, Any]:
    """Run the attention a second time with its weights in sight; those that are returned stay as they were."""
    ours = isinstance(module, layers.MultiheadAttention)
    twin = module if ours else layers.MultiheadAttention.from_torch(module)
    names = inspect.signature(twin.forward).parameters
    with taps.attending(module.dropout):
        y, _ = twin.forward(**{**{name: given[name] for name in names if name in given}, "need_weights": False})
    return y, output[1]


def _attention(module: layers.ScaledDotProductAttention, given: Arguments, output: Tensor, taps: Taps) -> Tensor:
    names = inspect.signature(module.forward).parameters
    with taps.attending(module.p):
        return module.forward(**{name: given[name] for name in names if name in given})


def _recurrent(module: nn.RNNBase, given: Arguments, output: Any, taps: Taps) -> tuple[Tensor, Any]:
    """Run layer after layer, with noise between them."""
    steps, hx = given["x"], given.get("hx")
    if steps.dim() != 3 or module.proj_size:
        raise unsupported(module, given["path"], "cannot be tapped without a batch axis, or with proj_size")
    steps = steps.transpose(0, 1) if module.batch_first else steps
    directions = 1 + module.bidirectional
    if hx is None:
        hx = steps.new_zeros(module.num_layers * directions, steps.shape[1], module.hidden_size)
    state = hx if isinstance(hx, tuple) else (hx,) * (2 if module.mode == "LSTM" else 1)

    ends = []
    for first in range(0, len(module.all_weights), directions):
        if first > 0:
            steps = taps.noisy(steps, bernoulli_noise(module.dropout))
        layer = slice(first, first + directions)
        steps, end = _one_layer(steps, tuple(part[layer] for part in state), module.all_weights[layer], module)
        ends.append(end)

    final = tuple(torch.cat(parts) for parts in zip(*ends, strict=True))
    return steps.transpose(0, 1) if module.batch_first else steps, final if module.mode == "LSTM" else final[0]


def _one_layer(x: Tensor, state: tuple[Tensor, ...], weights: Any, module: nn.RNNBase) -> tuple[Any, Any]:
    return functional.variational_rnn(
        x,
        state,
        weights,
        mode=module.mode,
        p_input=0.0,
        p_hidden=0.0,
        p_output=0.0,
        training=False,
        bidirectional=module.bidirectional,
    )


PROBES: dict[type[nn.Module], Probe] = {
    layers.StochasticDepth: _branch,
    layers.Zoneout: _zoneout,
    layers.EmbeddingDropout: _words,
    layers.DropConnect: _connections,
    VariationalLayer: _variational,
    nn.MultiheadAttention: _multihead,
    layers.ScaledDotProductAttention: _attention,
    VariationalBase: _product,  # which refuses it: its masks lie inside the recurrence
    nn.RNNBase: _recurrent,
}
