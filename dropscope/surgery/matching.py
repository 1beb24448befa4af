"""Choose modules of a model by class or by a function, and check those that a function makes."""

from collections.abc import Callable
from types import UnionType
from typing import Any

from torch import nn

__all__ = ["Match", "checked_module", "matching"]

Match = type[nn.Module] | tuple[type[nn.Module], ...] | UnionType | Callable[[nn.Module], bool]


def matching(
    model: nn.Module, match: Match, argument: str, where: Callable[[str], bool] | None = None
) -> list[nn.Module]:
    """List the modules that match; to find none is an error, for nothing would be changed."""

    def fits(module: nn.Module) -> bool:
        return isinstance(module, match) if isinstance(match, type | tuple | UnionType) else match(module)

    found = [module for path, module in model.named_modules() if fits(module) and (where is None or where(path))]
    if not found:
        chosen = "" if where is None else " at a path that `where` chooses"
        raise ValueError(f"`{argument}` must match a module of the model{chosen}, got {match!r}, which matches none.")
    return found


def checked_module(module: Any, argument: str) -> nn.Module:
    """Give the module itself, or refuse what is none."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"`{argument}` must give an nn.Module, got {type(module).__name__}.")
    return module
