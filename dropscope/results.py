"""What results share: they say themselves in words, and give plain numbers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import is_dataclass
from math import isfinite
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

__all__ = ["Result"]


class Result(ABC):
    """The base of results, which are frozen dataclasses: `describe`, also by `print`, and `to_dict`.

    Example:
        >>> from dropscope.ensemble.calibration import VarianceScale
        >>> found = VarianceScale(scale=2.0, noise=0.5, nll=1.0, nll_before=1.5, n_rows=10)
        >>> str(found) == found.describe(), found.to_dict()["scale"]
        (True, 2.0)
    """

    left_out: ClassVar[tuple[str, ...]] = ()  # attributes that `to_dict` does not give

    @abstractmethod
    def describe(self) -> str:
        """Say the result in words."""

    def __str__(self) -> str:
        return self.describe()

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON: what is not finite, which JSON has no word for, is None."""
        return {name: _plain(value) for name, value in vars(self).items() if name not in self.left_out}


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
