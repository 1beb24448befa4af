"""Calling a user's model: on its device, in its precision and in evaluation mode, with outputs that are checked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dropscope.spectrum.arguments import Inputs
from dropscope.spectrum.cube import Evaluate

__all__ = ["checked", "evaluation", "for_model"]


def checked(f: Callable[[Tensor], Any]) -> Evaluate:
    """The model as a stack of one, whose outputs must be finite and one per row.

    Args:
        f: maps rows of shape (rows, columns) to outputs (rows,) or (rows, outputs).

    Returns:
        A function from rows to outputs of shape (1, rows, outputs); it raises a ValueError for any other outputs.
    """

    def evaluate(rows: Tensor) -> Tensor:
        outputs = torch.as_tensor(f(rows))
        if outputs.ndim == 0 or len(outputs) != len(rows):
            raise ValueError(
                f"`f` must give one output per row, got shape {tuple(outputs.shape)} for {len(rows)} rows."
            )
        outputs = outputs.reshape(1, len(rows), -1)
        _check_finite(rows, outputs[0])
        return outputs

    return evaluate


def for_model(inputs: Inputs, f: Any) -> Tensor:
    """The table as a tensor, on a module's device and in its precision."""
    table = torch.as_tensor(inputs)
    parameter = next(f.parameters(), None) if isinstance(f, nn.Module) else None

    if parameter is None:
        return table
    return table.to(parameter.device, parameter.dtype if table.is_floating_point() else None)


@contextmanager
def evaluation(f: Any) -> Iterator[None]:
    """No gradients, and every submodule of a module in evaluation mode until the end."""
    modes = {module: module.training for module in f.modules()} if isinstance(f, nn.Module) else {}

    try:
        for module in modes:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _check_finite(rows: Tensor, outputs: Tensor) -> None:
    """Show the first row whose outputs are not finite."""
    bad = (~outputs.isfinite()).any(1).nonzero()

    if len(bad):
        row = int(bad[0])
        shown = ", ".join(f"{value:g}" for value in rows[row, :8].tolist())
        raise ValueError(
            f"`f` must give finite outputs, got {outputs[row, 0].item()} for the row [{shown}"
            f"{', ...' if rows.shape[1] > 8 else ''}] (a mixture of rows of `inputs`, block by block)."
        )
