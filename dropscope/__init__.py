"""dropscope: the dropout workbench for PyTorch.

Each part is loaded on first use, so that `import dropscope` (and `dropscope --help`) does not import torch.
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"
__all__ = [
    "constraints",
    "data",
    "ensemble",
    "errors",
    "estimators",
    "experiments",
    "functional",
    "integrations",
    "layers",
    "masks",
    "moments",
    "report",
    "schedules",
    "sites",
    "spectrum",
    "stack",
    "study",
    "surgery",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"dropscope.{name}")
    raise AttributeError(f"module 'dropscope' has no attribute {name!r}; its parts are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
