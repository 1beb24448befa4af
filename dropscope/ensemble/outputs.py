"""What a model gives, read as numbers: one tensor of it, transformed, with a row per sample and finite."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Output", "Reader", "Transform", "check_axis", "check_finite"]

Output = str | int | Callable[[Any], Any] | None
Transform = str | Callable[[Tensor], Tensor] | None
# How far probabilities of one row may be from summing to one.
ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


def check_axis(class_axis: int, shape: Sequence[int]) -> None:
    """Refuse what is no axis of outputs of this shape."""
    if not -len(shape) <= class_axis < len(shape):
        raise ValueError(f"`class_axis` must be an axis of outputs of shape {tuple(shape)}, got {class_axis}.")


@dataclass(frozen=True)
class Reader:
    """How to read what the model gives.

    Attributes:
        output: key or number of the tensor among several, or a function that picks it, or picks the pair of a mean and
            the variance of the noise; None: the only one, or the `logits`.
        transform: None, "softmax", "sigmoid" or a function, applied to every pass.
        class_axis: axis of the classes.
    """

    output: Output = None
    transform: Transform = None
    class_axis: int = -1

    def __post_init__(self) -> None:
        if not (self.transform is None or callable(self.transform) or self.transform in ("softmax", "sigmoid")):
            raise ValueError(f"`transform` must be None, 'softmax', 'sigmoid' or a function, got {self.transform!r}.")

    def picked(self, raw: Any) -> tuple[Tensor, Tensor | None]:
        """Pick the output and, where there is one, the variance of the noise."""
        chosen = self._chosen(raw)
        is_pair = callable(self.output) and isinstance(chosen, tuple) and len(chosen) == 2
        values, noise = chosen if is_pair else (chosen, None)
        for part in (values, noise) if is_pair else (values,):
            if not (isinstance(part, Tensor) and part.is_floating_point()):
                raise TypeError(
                    "the model's output must be a real floating-point tensor, got "
                    f"{part.dtype if isinstance(part, Tensor) else type(part).__name__}: pick one by `output`, such as "
                    "output=0, output='logits', or a function of what the model gives."
                )
        return values, noise

    def read(self, raw: Any) -> tuple[Tensor, Tensor | None]:
        """Pick the output and transform it."""
        values, noise = self.picked(raw)
        return self.transformed(values), noise

    def transformed(self, values: Tensor) -> Tensor:
        """Transform the output of one or several passes; half types, and what is no floating point, become float32."""
        values = _averageable(values)
        if self.transform == "softmax":
            check_axis(self.class_axis, values.shape)
            if values.size(self.class_axis) == 1:
                raise ValueError("transform='softmax' needs two classes or more, got one: use 'sigmoid' for one logit.")
            values = values.softmax(self.class_axis)
        elif self.transform == "sigmoid":
            values = values.sigmoid()
        elif callable(self.transform):
            values = _averageable(self.transform(values))
        return values

    def probabilities(self, values: Tensor, dtype: torch.dtype) -> Tensor | None:
        """Give the values, if they are probabilities, with the classes on the last axis; else None.

        Args:
            values: outputs, transformed.
            dtype: type in which the model gave them, which tells how far they are rounded.
        """
        if getattr(self.transform, "link", self.transform) == "sigmoid":  # a fitted temperature has a link
            return torch.stack([1 - values, values], -1)
        if values.dim() < 2 or values.numel() == 0:
            return None
        check_axis(self.class_axis, values.shape)
        if values.shape[self.class_axis] < 2:
            return None
        off = (values.sum(self.class_axis) - 1).abs().max()
        if values.min() < 0 or off > max(ROUNDING[dtype], ROUNDING[values.dtype]):
            return None
        return values.movedim(self.class_axis, -1)

    def _chosen(self, raw: Any) -> Any:
        if callable(self.output):
            return self.output(raw)
        if self.output is None:
            return raw["logits"] if isinstance(raw, Mapping) and "logits" in raw else getattr(raw, "logits", raw)
        if isinstance(raw, Tensor):
            raise ValueError(f"`output` must be None for a model that gives one tensor, got {self.output!r}.")
        try:
            is_field = isinstance(self.output, str) and not isinstance(raw, Mapping)
            return getattr(raw, str(self.output)) if is_field else raw[self.output]
        except (AttributeError, LookupError) as error:
            raise ValueError(
                f"`output` must pick one of what the model gives, a {type(raw).__name__}, got {self.output!r}."
            ) from error


def check_finite(values: Tensor, passes: Sequence[int], first_row: int, *, least: float = -torch.inf) -> None:
    """Refuse values, of shape (passes, rows, ...), that are nan, infinite or too small, and name the first.

    Raises:
        ValueError: one is not finite, or below `least`.
    """
    right = values.isfinite()
    if least > -torch.inf:
        right &= values >= least
    if right.all():
        return
    bad = (~right).nonzero()[0].tolist()
    row = f"row {first_row + bad[1]}" if len(bad) > 1 else "the batch"
    what = "finite outputs" if least == -torch.inf else f"finite variances of at least {least:g}"
    raise ValueError(
        f"the model must give {what}, got {values[tuple(bad)].item()} for {row} of `x` in pass {passes[bad[0]]}."
    )


def _averageable(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
