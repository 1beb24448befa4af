"""What is predicted: numbers, a quantile of them, classes, or several labels; how it is read, scaled and put back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dropscope.errors import need

__all__ = ["Target", "Task", "codes_of"]

Task = Literal["regression", "classification"]


@dataclass(frozen=True)
class Target:
    """The target columns of a table, and what they hold.

    `levels` are the values of each column in a classification: of one column its classes, of each of several columns
    two. `quantile` is what is predicted of numbers in place of their mean.
    """

    names: tuple[str, ...]
    task: Task
    levels: tuple[tuple[str, ...], ...] = ()
    quantile: float | None = None

    @property
    def several(self) -> bool:
        """Whether there is more than one column."""
        return len(self.names) > 1

    @property
    def title(self) -> str:
        """The names of the columns in one text."""
        return ", ".join(self.names)

    @property
    def loss(self) -> Literal["regression", "classification", "multilabel"]:
        """What the networks minimise, as the stack names it."""
        return "multilabel" if self.levels and self.several else self.task

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of a single column; none where there are numbers or several labels."""
        return self.levels[0] if self.loss == "classification" else ()

    @property
    def outputs(self) -> int:
        """Outputs of a network: one a column, or one logit a class."""
        return len(self.classes) or len(self.names)

    def read(self, frame: Any) -> np.ndarray:
        """Read the target columns.

        Args:
            frame: a polars DataFrame with them.

        Returns:
            Float64 values or int64 indices of levels, of shape (rows,), or (rows, columns) where there are several.
        """
        if self.task == "regression":
            columns = [frame[name].cast(need("polars", "study").Float64).to_numpy() for name in self.names]
        else:
            pairs = zip(self.names, self.levels, strict=True)
            columns = [codes_of(frame[name], levels) for name, levels in pairs]
        return np.column_stack(columns) if self.several else columns[0]

    def scaling(self, y: np.ndarray, weights: np.ndarray | None) -> tuple[Any, Any]:
        """Learn the scale of numbers from the rows that fit.

        Args:
            y: their targets, as `read` gives them.
            weights: what they count, None for all alike.

        Returns:
            Mean and standard deviation, one number each, or one for each of several columns; 0 and 1 for classes.
        """
        if self.task == "classification":
            return 0.0, 1.0
        mean = np.average(y, axis=0, weights=weights)
        scale = y.std(axis=0) if weights is None else np.average(np.square(y - mean), axis=0, weights=weights) ** 0.5
        scale = np.where(scale > 0, scale, 1.0)
        return (mean, scale) if self.several else (float(mean), float(scale))

    def learned(self, y: np.ndarray, mean: Any, scale: Any) -> np.ndarray:
        """Write targets as the networks learn them.

        Args:
            y: targets, as `read` gives them.
            mean: of `scaling`.
            scale: of `scaling`.

        Returns:
            Standardised numbers or labels of shape (rows, columns), float32; class indices as they are.
        """
        if self.loss == "classification":
            return y
        return ((y - mean) / scale).astype(np.float32).reshape(len(y), -1)

    def in_units(self, outputs: np.ndarray, mean: Any, scale: Any) -> np.ndarray:
        """Put outputs of networks into the units of their targets.

        Args:
            outputs: shape (..., outputs).
            mean: of `scaling`.
            scale: of `scaling`.

        Returns:
            Shape (...) for one column of numbers, (..., columns) for several; logits as they are.
        """
        if self.task == "classification":
            return outputs
        values = outputs.astype(float) * scale + mean
        return values if self.several else values[..., 0]

    def named(self, predicted: np.ndarray) -> np.ndarray:
        """Write predictions as the table writes its targets.

        Args:
            predicted: what `in_units` returns, of shape (rows,) or (rows, outputs).

        Returns:
            Numbers or names of classes, shape (rows,), or (rows, columns) where there are several.
        """
        if self.task == "regression":
            return predicted
        if self.classes:
            return np.array(self.classes)[predicted.argmax(1)]
        pairs = zip(self.levels, predicted.T, strict=True)
        return np.column_stack([np.array(levels)[(logits > 0).astype(int)] for levels, logits in pairs])

    def to_dict(self) -> dict[str, Any]:
        """Write the target as plain lists.

        Returns:
            What `from_dict` reads.
        """
        kept: dict[str, Any] = {
            "target": list(self.names) if self.several else self.names[0],
            "task": self.task,
            "classes": [list(levels) for levels in self.levels] if self.several else list(self.classes),
        }
        return kept if self.quantile is None else {**kept, "quantile": self.quantile}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> "Target":
        """Read a target that `to_dict` wrote.

        Args:
            kept: the dictionary.

        Returns:
            The target.
        """
        single = isinstance(kept["target"], str)
        names, levels = ([kept["target"]], [kept["classes"]]) if single else (kept["target"], kept["classes"])
        found = tuple(map(tuple, levels)) if kept["task"] == "classification" else ()
        return cls(tuple(names), kept["task"], found, kept.get("quantile"))


def codes_of(column: Any, levels: Sequence[str]) -> np.ndarray:
    """Read values as the index of their level.

    Args:
        column: a polars column.
        levels: its values as text.

    Returns:
        Shape (rows,), int64.
    """
    index = {level: code for code, level in enumerate(levels)}
    return np.array([index[str(value)] for value in column.to_list()])
