"""Models as a user names them on the command line: a file of torch or ONNX, or `module:attribute`."""

import importlib
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import torch
from torch import nn
from torch.nn import functional

from dropscope import layers
from dropscope.cli.programs import load_exported, load_onnx
from dropscope.errors import closest

__all__ = ["Model", "load_model"]

# Where the classes of modules live that may be read from a file: none of them runs code of the file.
TRUSTED = (f"{nn.modules.__name__}.", f"{layers.__name__}.")
# Functions that modules of torch keep as attributes.
FUNCTIONS = (functional.relu, functional.gelu)

# First byte of what pickle and joblib write.
PICKLED = b"\x80"

INSTEAD = "name it as `module:attribute`, such as `mymodels:network`, where mymodels.py in this folder builds it"


@dataclass(frozen=True, eq=False)
class Model:
    """A model, and what it is given.

    Attributes:
        f: a torch module, a callable, or a fitted estimator.
        name: what the user called it.
        dtype: of the numbers that it is given.
        width: number of columns that it takes, None where it does not say.
        columns: names of the columns that it was fitted on, None where it does not say.
        tensors: whether it takes tensors alone, so that every column must hold numbers.
    """

    f: Any
    name: str
    dtype: torch.dtype = torch.float32
    width: int | None = None
    columns: tuple[str, ...] | None = None
    tensors: bool = True


def load_model(text: str) -> Model:
    """Load a model.

    Args:
        text: a `.pt` or `.pth` file that holds a whole module, a `.pt2` file of torch.export, an `.onnx` file, or
            `module:attribute`, importable from the current folder: a module, a callable, or a fitted estimator.

    Returns:
        The model.

    Raises:
        ValueError: there is no such model, or it cannot be loaded without running code of the file.
        MissingExtra: onnxruntime is not installed.
    """
    path = Path(text)
    loaders: dict[str, Callable[[Path], Model]] = {".pt": _module, ".pth": _module, ".pt2": _exported, ".onnx": _onnx}
    loader = loaders.get(path.suffix.lower())

    if loader is None and ":" in text:
        return _imported(text)
    if loader is None:
        kinds = ", ".join(loaders)
        raise ValueError(
            f"`MODEL` must be a file that ends in {kinds}, or `module:attribute`, got {text!r}: {INSTEAD}."
        )
    if not path.is_file():
        raise ValueError(f"`MODEL` must be an existing file, got {text}: there is no such file.")
    return loader(path)


def _module(path: Path) -> Model:
    """A whole module that torch.save wrote, of classes whose code is not in the file."""
    trusted: list[Any] = [*_trusted_classes(nn.Module), *FUNCTIONS]
    try:
        with torch.serialization.safe_globals(trusted), warnings.catch_warnings(action="ignore"):
            kept = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # which one depends on where the bytes go wrong
        raise ValueError(_why_not(path, trusted)) from error

    if isinstance(kept, nn.Module):
        return Model(kept, path.stem)
    what = "weights alone (a state_dict)" if isinstance(kept, dict) else f"a {type(kept).__name__}"
    raise ValueError(f"{path.name} holds {what}, not a module: {INSTEAD} and loads them.")


def _trusted_classes(root: type[nn.Module]) -> set[type]:
    """Subclasses of the modules that torch and dropscope define themselves."""
    found: set[type] = set()
    for child in root.__subclasses__():
        found |= {child} if child.__module__.startswith(TRUSTED) else set()
        found |= _trusted_classes(child)
    return found


def _why_not(path: Path, trusted: list[Any]) -> str:
    """Name the classes of a file that are not trusted, as far as it can be read at all."""
    if _holds(path, "constants.pkl"):
        return f"{path.name} is a TorchScript program: {INSTEAD} with `torch.jit.load`."
    try:
        with torch.serialization.safe_globals(trusted):
            foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:
        foreign = []
    if not foreign and path.read_bytes()[:1] == PICKLED:
        return f"{path.name} is a pickle, which runs code when it is read: {INSTEAD} with `joblib.load`."
    if not foreign:
        return f"{path.name} is not a module that torch.save wrote: {INSTEAD}."
    named = ", ".join(f"`{one}`" for one in sorted(foreign)[:3])
    return f"{path.name} holds {named}, and only modules of torch.nn and dropscope are read from a file: {INSTEAD}."


def _holds(path: Path, name: str) -> bool:
    """Whether a file is an archive with an entry of this name."""
    if not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        return any(entry.rpartition("/")[2] == name for entry in archive.namelist())


def _exported(path: Path) -> Model:
    program = load_exported(path)
    return Model(program, path.stem, dtype=program.dtype, width=program.width)


def _onnx(path: Path) -> Model:
    program = load_onnx(path)
    return Model(program, path.stem, dtype=program.dtype, width=program.width)


def _imported(text: str) -> Model:
    """An attribute of a module that the current folder or the environment holds."""
    module_name, _, attribute = text.partition(":")
    if module_name.endswith(".py"):
        dotted = module_name.removesuffix(".py").replace("/", ".")
        raise ValueError(f"`MODEL` must name a module, not its file, got {text!r}: write `{dotted}:{attribute}`.")
    if not (module_name and attribute):
        raise ValueError(f"`MODEL` must name a module and an attribute of it, got {text!r}: write `module:attribute`.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise ValueError(f"`{module_name}` cannot be imported: {type(error).__name__}: {error}") from error

    for name in attribute.split("."):
        if not hasattr(found, name):
            public = [one for one in dir(found) if not one.startswith("_")]
            raise ValueError(f"`{module_name}` has no attribute `{attribute}`: {closest(name, public)}")
        found = getattr(found, name)
    return _as_model(found, text)


def _as_model(found: Any, text: str) -> Model:
    if isinstance(found, type):
        raise ValueError(f"`{text}` must be a model, got the class {found.__name__}: name an instance of it.")
    if isinstance(found, nn.Module):
        return Model(found, text)
    if callable(found):
        return Model(found, text, tensors=False)
    if hasattr(found, "predict"):
        columns = getattr(found, "feature_names_in_", None)
        width = getattr(found, "n_features_in_", None)
        names = None if columns is None else tuple(map(str, columns))
        return Model(found, text, torch.float64, width, names, tensors=False)
    raise ValueError(f"`{text}` must be a callable, a module or a fitted estimator, got {type(found).__name__}.")
