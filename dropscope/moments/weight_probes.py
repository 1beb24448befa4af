"""Probes of layers whose weights are random: dropped, or drawn from a normal law."""

from typing import Any

import torch
from torch import Tensor, nn

from dropscope import layers
from dropscope.functional.weights import random_weight_moments, widened
from dropscope.layers.parameters import call_with, linear_map, read
from dropscope.layers.variational import VariationalLayer
from dropscope.moments.noise import bernoulli_noise
from dropscope.moments.taps import Arguments, Taps

__all__ = ["connections", "gaussian_weights", "weights"]


def weights(module: layers.WeightDrop, given: Arguments, output: Any, taps: Taps) -> Any:
    """Run any module again with noise on its weights, one draw for all rows."""
    noise = bernoulli_noise(module.p, module.per)
    means = {name: read(module.module, name) for name in module.names}
    distinct = {id(mean): mean for mean in means.values()}
    noisy = {key: taps.noisy(mean, noise) for key, mean in distinct.items()}
    args, kwargs = given["called"]
    return call_with(module.module, lambda: {name: noisy[id(mean)] for name, mean in means.items()}, args, kwargs)


def connections(module: layers.DropConnect, given: Arguments, output: Any, taps: Taps) -> Any:
    """One mask of the weights serves a whole row: all its time steps or places."""
    inner, x = module.module, given["x"]
    if isinstance(inner, nn.RNNBase) or module.p == 1:
        return weights(module, given, output, taps)
    rows = 1 if taps.is_single else len(x)
    if isinstance(inner, nn.Linear) and x.dim() == 2 and len(x) == rows and module.per is None:
        mean, variance = module.moments(x)  # one place in each row: its outputs have independent noise
        return taps.shifted(mean, variance.sqrt(), variance.shape)

    noise, weight = bernoulli_noise(module.p, module.per), read(inner, "weight")
    amplitude = noise.amplitude(weight).detach()
    epsilon = taps.leaf((rows, *noise.draws(weight)), 0, amplitude)
    apply = linear_map(inner)

    def moved(row: Tensor, drawn: Tensor) -> Tensor:
        return apply(widened(row).unsqueeze(0), amplitude * drawn, None).squeeze(0)

    return output + torch.vmap(moved)(x, epsilon.expand(len(x), *epsilon.shape[1:])).to(output.dtype)


def gaussian_weights(module: VariationalLayer, given: Arguments, output: Any, taps: Taps) -> Tensor:
    """Outputs are drawn, each by itself."""
    variances = widened(module.log_variance).exp()
    mean, variance = random_weight_moments(given["x"], module.weight, variances, module.bias, linear=module._linear)
    return taps.shifted(mean, variance.sqrt(), variance.shape)
