"""What a dropout site is, and how to find those of a model."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from dropscope.layers import DropoutLayer
from dropscope.sites.streams import Streams

__all__ = ["Site", "find", "rate_names"]

# Other packages, and models that define their own: told by the end of the class name and by the attribute that holds
# the probability. torchvision's StochasticDepth and DropBlock2d, MONAI's and timm's DropPath and DropBlock2d, fifty
# classes named SomethingDropPath or SomethingDropout in transformers, fastai's RNNDropout and WeightDropout.
OTHER_KINDS = re.compile(r"(Dropout|DropPath|DropBlock|DropConnect|StochasticDepth)(\dd)?$")
OTHER_NAMES = ("p", "drop_prob", "prob", "weight_p", "embed_p")


@dataclass(frozen=True)
class Site:
    """One place of a model where something is dropped.

    Attributes:
        path: dotted name of the module, "" for the model itself; a second rate of a module, as a recurrent layer's
            `p_hidden`, has the name of the attribute added.
        kind: name of its class.
        p: probability of dropping at the time when the site was found.
        active_in_train: whether it drops after `model.train()`.
        active_in_eval: whether it drops after `model.eval()`.
        calls: how often the example inputs ran it; None: no inputs were given.
        module: the module.
        name: the attribute of the module that holds `p`.
    """

    path: str
    kind: str
    p: float
    active_in_train: bool
    active_in_eval: bool
    calls: int | None = None
    module: nn.Module = field(repr=False, kw_only=True)
    name: str = field(repr=False, kw_only=True)


def find(model: nn.Module, *example_inputs: Any) -> list[Site]:
    """List the dropout modules of a model, and the modules with dropout inside.

    Found are torch.nn's dropout modules, dropscope's layers, nn.LSTM, GRU and RNN with more than one layer,
    nn.MultiheadAttention, and drop path, stochastic depth and drop block of other packages, all of them also where
    `p` is 0. A module that stands in several places is listed once, under its first path.

    The model's own `train` and `eval` are called only where a class overrides them; every mode is put back.

    Args:
        model: any module.
        example_inputs: arguments to call the model with, once, in training mode, without gradients and without
            torch.compile; its modes, its buffers and all random streams are put back. Without them nothing is run.

    Returns:
        The sites in the order in which the modules were registered; with `example_inputs` in the order of their
        first call, and those that were never called last.

    Example:
        >>> find(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2)))
        [Site(path='1', kind='Dropout', p=0.2, active_in_train=True, active_in_eval=False, calls=None)]
    """
    places = [(path, module) for path, module in model.named_modules() if rate_names(module)]
    in_train, in_eval = _training_flags(model, True), _training_flags(model, False)
    calls = _count_calls(model, [module for _, module in places], example_inputs) if example_inputs else {}

    first_call = {module: position for position, module in enumerate(calls)}
    places.sort(key=lambda place: first_call.get(place[1], len(calls)))
    sites = []
    for path, module in places:
        ran = calls.get(module, 0) if example_inputs else None
        for position, name in enumerate(rate_names(module)):
            p = float(getattr(module, name) or 0.0)  # some packages write None for 0
            active = p > 0 and in_train[module], p > 0 and in_eval[module]
            own_path = path if position == 0 else f"{path}.{name}".lstrip(".")
            sites.append(Site(own_path, type(module).__name__, p, *active, ran, module=module, name=name))
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


def _holds_rate(module: nn.Module, name: str) -> bool:
    value = getattr(module, name, "absent")
    return value is None or (isinstance(value, Real) and not isinstance(value, bool))


def _training_flags(model: nn.Module, mode: bool) -> dict[nn.Module, bool]:
    """Say which modules are in training mode after `model.train(mode)`."""
    overridden = any(
        type(module).train is not nn.Module.train or type(module).eval is not nn.Module.eval
        for module in model.modules()
    )
    if not overridden:
        return dict.fromkeys(model.modules(), mode)
    with _modes_restored(model):
        _ = model.train() if mode else model.eval()
        return {module: module.training for module in model.modules()}


@contextmanager
def _modes_restored(model: nn.Module) -> Iterator[None]:
    flags = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        model.train(flags[model])  # an overridden `train` may do more than set flags
        for module, flag in flags.items():
            module.training = flag


def _count_calls(model: nn.Module, watched: Sequence[nn.Module], inputs: Sequence[Any]) -> dict[nn.Module, int]:
    """Run the model once, and say how often it called each module, in the order of the first calls."""
    counts: dict[nn.Module, int] = {}

    def count(module: nn.Module, _: Any) -> None:
        counts[module] = counts.get(module, 0) + 1

    with ExitStack() as stack:
        stack.enter_context(_modes_restored(model))
        stack.enter_context(Streams(model, inputs).restored())
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.compiler.set_stance("force_eager"))  # compiled code calls no hooks
        for module in watched:
            stack.enter_context(module.register_forward_pre_hook(count))
        model.train()
        # Batch statistics are gathered in copies of the buffers.
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        torch.func.functional_call(model, buffers, tuple(inputs))
    return counts
