"""What a dropout site is, and how to find those of a model."""

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy

from dropscope.layers import DropoutLayer
from dropscope.sites.eagerness import uncompiled
from dropscope.sites.modes import modes, modes_after
from dropscope.sites.streams import Streams

__all__ = ["Site", "find", "listed", "rate_names"]

# Other packages, and models that define their own: told by the end of the class name and by the attribute that holds
# the probability. torchvision's StochasticDepth and DropBlock2d, MONAI's and timm's DropPath and DropBlock2d, fifty
# classes named SomethingDropPath or SomethingDropout in transformers, fastai's RNNDropout and WeightDropout.
OTHER_KINDS = re.compile(r"(Dropout|DropPath|DropBlock|DropConnect|StochasticDepth)(\dd)?$")
KNOWN = ("torch.nn.modules.", "dropscope.layers.")
OTHER_NAMES = ("p", "drop_prob", "prob", "weight_p", "embed_p")


@dataclass(frozen=True)
class Site:
    """One place of a model where something is dropped.

    Attributes:
        path: dotted name of the module, "" for the model itself; a second rate of a module, as a recurrent layer's
            `p_hidden`, has the name of the attribute added.
        kind: name of its class.
        p: probability of dropping at the time when the site was found.
        active_in_train: whether it drops after `model.train()`; None: not known.
        active_in_eval: whether it drops after `model.eval()`; None: not known.
        calls: how often the example inputs ran it; None: no inputs were given.
        module: the module.
        name: the attribute of the module that holds `p`.
    """

    path: str
    kind: str
    p: float
    active_in_train: bool | None
    active_in_eval: bool | None
    calls: int | None = None
    module: nn.Module = field(repr=False, kw_only=True)
    name: str = field(repr=False, kw_only=True)


def find(model: nn.Module, *example_inputs: Any, **example_kwargs: Any) -> list[Site]:
    """List the dropout modules of a model, and the modules with dropout inside.

    Found are torch.nn's dropout modules, dropscope's layers, nn.LSTM, GRU and RNN with more than one layer,
    nn.MultiheadAttention, and drop path, stochastic depth and drop block of other packages, all of them also where
    `p` is 0. A module that stands in several places is listed once, under its first path.

    The model's own `train` and `eval` are never called. Where a class overrides them, they are tried on a copy whose
    tensors have no values; where they take other arguments than nn.Module's, or fail there, the two `active` are None.

    Args:
        model: any module.
        example_inputs: arguments to call the model with, once, in training mode and without torch.compile. It gets
            copies of its parameters and buffers; its modes and all random streams are put back. Without any nothing
            is run.
        example_kwargs: its keyword arguments.

    Returns:
        The sites in the order in which the modules were registered; with example inputs in the order of their
        first call, and those that were never called last.

    Raises:
        ValueError: example inputs are given for a model with lazy modules that have not run yet.

    Example:
        >>> find(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2)))
        [Site(path='1', kind='Dropout', p=0.2, active_in_train=True, active_in_eval=False, calls=None)]
    """
    sites = listed(model, probe=True)
    if not example_inputs and not example_kwargs:
        return sites

    calls = _count_calls(model, [site.module for site in sites], example_inputs, example_kwargs)
    first_call = {module: position for position, module in enumerate(calls)}
    sites.sort(key=lambda site: first_call.get(site.module, len(calls)))
    return [replace(site, calls=calls.get(site.module, 0)) for site in sites]


def listed(model: nn.Module, *, probe: bool = False) -> list[Site]:
    """List the sites in the order of registration; without `probe` no class's own `train` is tried."""
    in_train, in_eval = (modes_after(model, mode, probe=probe) for mode in (True, False))
    sites = []
    for path, module in model.named_modules():
        for position, name in enumerate(rate_names(module)):
            p = float(getattr(module, name) or 0.0)  # some packages write None for 0
            active = p > 0 and in_train[module], p > 0 and _after_eval(module, in_eval[module])
            own_path = path if position == 0 else f"{path}.{name}".lstrip(".")
            sites.append(Site(own_path, type(module).__name__, p, *active, module=module, name=name))
    return sites


def rate_names(module: nn.Module) -> list[str]:
    """Name the attributes in which a module, apart from its children, holds probabilities of dropping."""
    if isinstance(module, DropoutLayer):
        return ["p", *getattr(module, "own_rates", ())]
    if isinstance(module, _DropoutNd):
        return ["p"]
    if isinstance(module, nn.MultiheadAttention):
        return ["dropout"]
    if isinstance(module, nn.RNNBase):
        return ["dropout"] if module.num_layers > 1 else []  # it drops between layers only
    if any(OTHER_KINDS.search(kind.__name__) for kind in type(module).__mro__):
        return [name for name in OTHER_NAMES if _holds_rate(module, name)][:1]
    return []


def _after_eval(module: nn.Module, training: bool | None) -> bool | None:
    """Say whether a module drops after `eval()`: one of ours may be asked to, and a subclass may do what it likes."""
    if getattr(module, "inference", None) == "moments" and isinstance(module, DropoutLayer):
        return True
    base: Any = next((kind for kind in type(module).__mro__ if kind.__module__.startswith(KNOWN)), nn.Module)
    written_anew = base is not nn.Module and type(module).forward is not base.forward
    return None if written_anew else training


def _holds_rate(module: nn.Module, name: str) -> bool:
    value = getattr(module, name, "absent")
    return value is None or (isinstance(value, Real) and not isinstance(value, bool))


def _count_calls(
    model: nn.Module, watched: Sequence[nn.Module], inputs: Sequence[Any], named_inputs: Mapping[str, Any]
) -> dict[nn.Module, int]:
    """Run the model once, and say how often it called each module, in the order of the first calls."""
    tensors = dict(chain(model.named_parameters(), model.named_buffers()))
    if any(is_lazy(tensor) for tensor in tensors.values()):
        raise ValueError("`model` must have run once before example inputs are given: it has lazy modules.")
    counts: dict[nn.Module, int] = {}

    def count(module: nn.Module, _: Any) -> None:
        counts[module] = counts.get(module, 0) + 1

    with ExitStack() as stack:
        stack.enter_context(modes(modes_after(model, True, probe=True)))
        stack.enter_context(Streams(model, (inputs, named_inputs)).restored())
        stack.enter_context(uncompiled())
        for module in dict.fromkeys(watched):
            stack.enter_context(module.register_forward_pre_hook(count))
        # Batch statistics are gathered, and embeddings with `max_norm` renormalised, in copies.
        copies = {name: _copied(tensor) for name, tensor in tensors.items()}
        torch.func.functional_call(model, copies, tuple(inputs), dict(named_inputs))
    return counts


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)
