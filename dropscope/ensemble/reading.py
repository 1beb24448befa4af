"""Whether a module drops in code of its own: told by what its methods name, for no site stands for a function call."""

import inspect
import re
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any

from torch import nn

__all__ = ["drops_in_own_code", "normalises_in_own_code"]

DROPPING = re.compile("drop|bernoulli|zoneout|stochastic_depth", re.IGNORECASE)
NORMALISING = re.compile("(batch|instance)_norm$")
# Methods that may name dropout without dropping.
SILENT = {"__init__", "__repr__", "extra_repr", "train", "eval", "reset_parameters"}


def drops_in_own_code(module: nn.Module) -> bool:
    """Say whether the module's class reads `training` and names something that drops, apart from its children.

    So it is with `F.dropout(x, p, self.training)`, and with attention that is given `dropout=0.0` in eval.

    Example:
        >>> drops_in_own_code(nn.Sequential(nn.Dropout()))
        False
    """
    names = _names(type(module).__mro__)
    return "training" in names and any(DROPPING.search(name) for name in names - module._modules.keys())


def normalises_in_own_code(module: nn.Module) -> bool:
    """Say whether the module's class names functional batch or instance norm."""
    return any(NORMALISING.search(name) for name in _names(type(module).__mro__))


@lru_cache(maxsize=1024)
def _names(owners: tuple[type, ...]) -> frozenset[str]:
    """Everything that the methods of classes name: attributes, functions and keywords; torch's own are known."""
    names: set[str] = set()
    for owner in owners:
        if not owner.__module__.startswith("torch.nn.") and owner is not object:
            for name, member in vars(owner).items():
                if name not in SILENT:
                    names.update(*map(_named, _codes(member)))
    return frozenset(names)


def _codes(member: Any) -> Iterator[CodeType]:
    """The code of a method, a property or a decorated function."""
    for function in (member, *(getattr(member, name, None) for name in ("__func__", "fget"))):
        code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
        if isinstance(code, CodeType):
            yield code


def _named(code: CodeType) -> set[str]:
    """The names in a piece of code and in the functions inside it; the keywords of its calls as `name=`."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _named(constant)
        keywords = constant if isinstance(constant, tuple) else (constant,)
        names.update(f"{item}=" for item in keywords if isinstance(item, str) and item.isidentifier())
    return names
