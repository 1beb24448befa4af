"""Read a module's named parameters, and call it with other tensors in their place, without touching them."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

__all__ = ["call_with", "read"]


def read(module: nn.Module, name: str) -> Tensor:
    """Give the parameter `name`, which may be dotted; where it has a parametrization, what that computes.

    Raises:
        ValueError: the module has no such parameter.
    """
    owner, own_name = _owner(module, name)
    return getattr(owner, own_name)


def call_with(
    module: nn.Module, tensors: Mapping[str, Tensor | None], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Call `module` as if the named parameters were the given tensors; the parameters themselves stay as they are."""
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
    if owner is None or not (own_name in owner._parameters or parametrize.is_parametrized(owner, own_name)):
        valid = ", ".join(known for known, _ in module.named_parameters(remove_duplicate=False))
        raise ValueError(
            f"`names` must name parameters of {type(module).__name__}, got {name!r}. It has: {valid}. "
            "Weights made by hooks, as by torch.nn.utils.weight_norm, cannot be dropped: "
            "use torch.nn.utils.parametrizations."
        )
    return owner, own_name


class _Constant(nn.Module):
    """Stands in for the parametrizations of a weight and computes nothing."""

    def __init__(self, value: Tensor | None) -> None:
        super().__init__()
        self.value = value

    def forward(self) -> Tensor | None:
        return self.value


@contextmanager
def _fixed(owner: nn.Module, name: str, value: Tensor | None) -> Iterator[None]:
    parametrizations = cast(nn.ModuleDict, owner.parametrizations)
    before = parametrizations[name]
    parametrizations[name] = _Constant(value)
    try:
        yield
    finally:
        parametrizations[name] = before
