"""The errors worth catching.

    DropscopeError
    ├── BadTable           a table that cannot be studied as it is (also a ValueError)
    ├── StoreConflict      a store that belongs to another study, another version or another running process
    ├── NoDropoutFound     a model in which nothing is dropped (also a ValueError)
    ├── UnsupportedModule  a part of a network for which no rule is known
    ├── MissingData        a data set that is not shipped cannot be had (also an OSError)
    └── MissingExtra       an optional dependency is not installed (also an ImportError)

Wrong arguments are plain `ValueError` and `TypeError`.
"""

import importlib
from types import ModuleType

__all__ = [
    "BadTable",
    "DropscopeError",
    "MissingData",
    "MissingExtra",
    "NoDropoutFound",
    "StoreConflict",
    "UnsupportedModule",
    "closest",
    "need",
]


class DropscopeError(Exception):
    """Base of every error that dropscope raises on purpose and that a caller may want to catch."""


class BadTable(DropscopeError, ValueError):
    """The table or target cannot be studied as given; the message says what must change."""


class StoreConflict(DropscopeError):
    """The store on disk belongs to another study, another version, or a study that is still running."""


class NoDropoutFound(DropscopeError, ValueError):
    """Nothing in a model drops; the message lists what was searched."""


class UnsupportedModule(DropscopeError):
    """A part of a network for which a method has no rule; the message names it, where it stands, and what to do."""


class MissingData(DropscopeError, OSError):
    """A data set that is not shipped is neither at hand nor to be fetched, or holds other numbers than published."""


class MissingExtra(DropscopeError, ImportError):
    """A part needs a package of an optional extra that is not installed."""


def need(module: str, extra: str) -> ModuleType:
    """Import `module`, or say in one line which extra of dropscope brings it.

    Args:
        module: dotted name of the module to import.
        extra: name of the extra that installs it.

    Returns:
        The imported module.

    Raises:
        MissingExtra: the module is not installed.

    Example:
        >>> need("json", "study").__name__
        'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"this part needs `{module.partition('.')[0]}`, which is not installed: "
            f"run `pip install 'dropscope[{extra}]'`."
        ) from error


def closest(name: str, valid: list[str]) -> str:
    """Say which names are valid and suggest the closest one.

    Args:
        name: what the user wrote.
        valid: every name that would have been accepted.

    Returns:
        A sentence to append to an error message.

    Example:
        >>> closest("pricee", ["price", "area"])
        'did you mean `price`? Valid names: price, area.'
    """
    import difflib

    near = difflib.get_close_matches(str(name), valid, n=1)
    hint = f"did you mean `{near[0]}`? " if near else ""
    shown = valid if len(valid) <= 30 else [*valid[:30], f"and {len(valid) - 30} more"]
    return f"{hint}Valid names: {', '.join(shown)}."
