"""The bundled tables: bike-share demand (shipped here) and three that scikit-learn ships.

Bike-share: 8,645 hours of 2011 from Capital Bikeshare, Washington D.C., as in the PyPI package ISLP 0.6.0
(`ISLP/data/Bikeshare.csv`, unchanged but for gzip). Source: Hadi Fanaee-T and Joao Gama, "Event labeling combining
ensemble detectors and background knowledge", Progress in Artificial Intelligence (2013),
doi:10.1007/s13748-013-0040-3; UCI Machine Learning Repository, doi:10.24432/C5W894, licence CC BY 4.0.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from dropscope.errors import closest, need

__all__ = ["Bundled", "bundled", "names"]


@dataclass(frozen=True, eq=False)
class Bundled:
    """A table with its target, the study options that suit it, and where it comes from."""

    name: str
    table: Any
    target: str
    options: dict[str, Any] = field(default_factory=dict)
    source: str = ""


def _bikeshare() -> Bundled:
    polars = need("polars", "study")
    text = gzip.decompress(files("dropscope.data").joinpath("bikeshare.csv.gz").read_bytes())
    options = {
        "task": "regression",
        # Their sum is the target.
        "drop": ("casual", "registered"),
        "categorical": ("season", "mnth", "hr", "weekday", "weathersit"),
        # Neighbouring hours of one day are nearly copies of each other: whole days are cut.
        "group_column": "day",
    }
    source = "Capital Bikeshare 2011, Fanaee-T & Gama 2013, CC BY 4.0, from ISLP 0.6.0"
    return Bundled("bikeshare", polars.read_csv(text, infer_schema_length=None), "bikers", options, source)


def _from_sklearn(name: str, task: str, source: str) -> Bundled:
    polars = need("polars", "study")
    bunch = getattr(need("sklearn.datasets", "study"), f"load_{name}")()
    columns = [str(column).replace(" ", "_") for column in bunch.feature_names]
    table = polars.DataFrame({column: bunch.data[:, j] for j, column in enumerate(columns)})
    labels = bunch.target if task == "regression" else [str(bunch.target_names[i]) for i in bunch.target]
    return Bundled(name, table.with_columns(target=polars.Series(labels)), "target", {"task": task}, source)


_LOADERS: dict[str, Callable[[], Bundled]] = {
    "bikeshare": _bikeshare,
    "breast_cancer": lambda: _from_sklearn("breast_cancer", "classification", "UCI WDBC, via scikit-learn"),
    "diabetes": lambda: _from_sklearn("diabetes", "regression", "Efron et al. 2004, via scikit-learn"),
    "digits": lambda: _from_sklearn("digits", "classification", "UCI optical digits, via scikit-learn"),
}


def names() -> list[str]:
    """List the names of the bundled tables.

    Returns:
        The names, sorted.

    Example:
        >>> names()
        ['bikeshare', 'breast_cancer', 'diabetes', 'digits']
    """
    return sorted(_LOADERS)


def bundled(name: str) -> Bundled:
    """Load one bundled table.

    Args:
        name: one of `names()`.

    Returns:
        The table with its target, its study options and its source.

    Raises:
        ValueError: there is no bundled table of that name.

    Example:
        >>> bundled("bikeshare").table.shape
        (8645, 15)
    """
    if name not in _LOADERS:
        raise ValueError(f"`name` must be a bundled table, got {name!r}: {closest(name, names())}")
    return _LOADERS[name]()
