"""Which modules `model.train()` and `model.eval()` leave in training mode, found without calling them on the model."""

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

__all__ = ["modes", "modes_after"]


def modes_after(model: nn.Module, mode: bool, *, probe: bool) -> dict[nn.Module, bool | None]:
    """Say which modules are in training mode after `model.train(mode)`; None: not known.

    Where a class overrides `train` or `eval` this is tried on a copy of the model without values: what they do
    besides, as merging weights, never reaches the model.

    Args:
        model: any module.
        mode: True for `train()`, False for `eval()`.
        probe: whether to try overrides; without it their models' modes are not known.

    Returns:
        The mode of each module.
    """
    parts = list(model.modules())
    if not any(_overrides(part) for part in parts):
        return dict.fromkeys(parts, mode)
    if not probe or not all(_takes_a_mode(part) for part in parts):
        return dict.fromkeys(parts)

    try:
        twin = _without_values(model)
        pairs = list(zip(parts, twin.modules(), strict=True))
        _ = twin.train() if mode else twin.eval()
    except Exception:  # it does there what needs values, or cannot be copied
        return dict.fromkeys(parts)
    return {part: part_of_twin.training for part, part_of_twin in pairs}


@contextmanager
def modes(flags: dict[nn.Module, bool | None]) -> Iterator[None]:
    """Set the modes of modules until the end of the `with` block, by the flags alone; None counts as training."""
    before = {module: module.training for module in flags}
    try:
        for module, flag in flags.items():
            module.training = flag is not False
        yield
    finally:
        for module, flag in before.items():
            module.training = flag


def _overrides(module: nn.Module) -> bool:
    return type(module).train is not nn.Module.train or type(module).eval is not nn.Module.eval


def _takes_a_mode(module: nn.Module) -> bool:
    """Say whether `train` and `eval` are those of nn.Module by their arguments: others may start a training."""
    try:
        mode = inspect.signature(module.train).bind(True).arguments
        return list(mode) == ["mode"] and not inspect.signature(module.eval).bind().arguments
    except TypeError:
        return False


def _without_values(model: nn.Module) -> nn.Module:
    """Copy a model, its parameters and buffers on the meta device, where they take no memory."""
    values = [tensor for tensor in chain(model.parameters(), model.buffers()) if not is_lazy(tensor)]
    return copy.deepcopy(model, {id(tensor): _without_value(tensor) for tensor in values})


def _without_value(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
