"""Interaction spectra of a user's own model, where its inputs are one table of numbers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dropscope import spectrum

__all__ = ["measured", "why_none"]

LEAST_BUDGET = 13_000  # 50 cubes of up to 256 evaluations


def why_none(inputs: tuple[Any, ...], outputs: Any) -> str | None:
    """Say why a model has no interaction spectrum.

    Args:
        inputs: the arguments of the model for one batch.
        outputs: what it gave.

    Returns:
        The reason, or None where there is none.
    """
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor):
        return "the model takes other inputs than one tensor"
    x = inputs[0]
    if x.ndim != 2 or not x.is_floating_point() or x.shape[1] < 2:
        kind = str(x.dtype).removeprefix("torch.")
        return f"the inputs are no table of two columns or more of floats, but {kind} of shape {_shape(x)}"
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point() or outputs.ndim not in (1, 2):
        return "the model gives other outputs than one row of floats for each row"
    return None


def _shape(x: Tensor) -> str:
    return f"({', '.join(['rows', *map(str, x.shape[1:])])})"


def measured(
    model: nn.Module, table: Tensor, *, labels: bool, max_order: int, budget: int | None, seed: int,
    device: torch.device,
) -> dict[str, Any] | None:  # fmt: skip
    """Measure the spectrum of a model at rest, every column a block.

    Args:
        model: the model.
        table: its inputs (rows, columns), from which each column is drawn by itself.
        labels: whether its outputs are logits of classes, which are centred over the classes.
        max_order: highest order with a share of its own.
        budget: evaluations; None: the fewest that a spectrum needs, without intervals.
        seed: of the draws, the same for all arms.
        device: where the model is.

    Returns:
        The spectrum as plain data; None where the outputs are not finite.
    """
    model.eval()
    [found] = spectrum.stack_spectra(
        _outputs(model, labels, table.dtype, device), table, models=1,
        max_order=min(max_order, table.shape[1] - 1), budget=budget or LEAST_BUDGET, intervals=budget is not None,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    return None if found is None else found.to_dict()


def _outputs(model: nn.Module, labels: bool, dtype: torch.dtype, device: torch.device) -> Callable[[Tensor], Tensor]:
    @torch.no_grad()
    def outputs(rows: Tensor) -> Tensor:
        y = model(rows.to(device, dtype)).cpu()
        y = y.unsqueeze(1) if y.ndim == 1 else y
        return (spectrum.centre_logits(y) if labels and y.shape[1] > 1 else y).unsqueeze(0)

    return outputs
