"""Read a wrapped module's named parameters, and call it with other tensors in their place."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parametrize

__all__ = ["Wrapper", "call_with", "is_linear_map", "linear_map", "read"]

TORCHS = (nn.Linear.forward, nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward)
_lock = threading.RLock()  # held while a module computes with other tensors: overlapping calls would mix them up


class Wrapper(nn.Module):
    """A layer around `module`, whose parameters are found here too, and no other attributes.

    Parents read a child's weights, as nn.TransformerEncoderLayer does in eval. They get those of the module where the
    layer computes what the module does, and an error where they would compute past its dropout.
    """

    @property
    def is_transparent(self) -> bool:
        """Whether the layer computes exactly what its module does."""
        return not self.training

    def __getattr__(self, name: str) -> Any:
        """Find a parameter of the module that the layer itself has not."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module" or not _holds(self.module, name):
                raise
        if self.is_transparent:
            return getattr(self.module, name)
        raise AttributeError(
            f"`{name}` of {type(self).__name__} cannot be read where the layer drops: "
            f"call the layer, or read `module.{name}`, which is not dropped."
        )


def read(module: nn.Module, name: str) -> Tensor:
    """Give the parameter `name`, which may be dotted; where it has a parametrization, what that computes.

    Raises:
        ValueError: the module has no such parameter.
    """
    owner, own_name = _owner(module, name)
    return getattr(owner, own_name)


def is_linear_map(module: nn.Module) -> bool:
    """Say whether to call the module is to apply its `linear_map`: no `forward` of its own, and no hooks."""
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return getattr(module.forward, "__func__", None) in TORCHS and not any(hooks)


def linear_map(module: nn.Module) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """Give what a linear or convolutional module computes, as a function of input, weight and bias."""
    return F.linear if isinstance(module, nn.Linear) else cast(Any, module)._conv_forward


def call_with(
    module: nn.Module, draw: Callable[[], Mapping[str, Tensor]], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Call `module` as if the named parameters were the tensors that `draw` gives.

    During the call the module holds these tensors, after it its parameters again, whatever happens: threads that call
    with tensors of their own wait for one another. Compiled code holds nothing.
    """
    if is_compiling():
        return _call_with(module, draw(), args, kwargs)
    with _lock:
        return _call_with(module, draw(), args, kwargs)


def _call_with(
    module: nn.Module, tensors: Mapping[str, Tensor], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    plain: dict[str, Any] = {}
    with ExitStack() as stack:
        for name, tensor in tensors.items():
            owner, own_name = _owner(module, name)
            if parametrize.is_parametrized(owner, own_name):
                stack.enter_context(_fixed(owner, own_name, tensor))
            else:
                plain[name] = tensor
        return functional_call(module, plain, args, dict(kwargs), tie_weights=False)


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, own_name = name.rpartition(".")
    try:
        owner = module.get_submodule(path)
    except AttributeError:
        owner = None
    if owner is None or not _holds(owner, own_name):
        valid = ", ".join(known for known, _ in module.named_parameters(remove_duplicate=False))
        raise ValueError(
            f"`names` must name parameters of {type(module).__name__}, got {name!r}. It has: {valid}. "
            "Weights made by hooks, as by torch.nn.utils.weight_norm, cannot be dropped: "
            "use torch.nn.utils.parametrizations."
        )
    return owner, own_name


def _holds(owner: nn.Module, name: str) -> bool:
    return name in owner._parameters or parametrize.is_parametrized(owner, name)


class _Constant(nn.Module):
    """Stands in for the parametrizations of a weight and computes nothing."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self) -> Tensor:
        return self.value


@contextmanager
def _fixed(owner: nn.Module, name: str, value: Tensor) -> Iterator[None]:
    parametrizations = cast(nn.ModuleDict, owner.parametrizations)
    before = parametrizations[name]
    parametrizations[name] = _Constant(value)
    try:
        yield
    finally:
        parametrizations[name] = before
