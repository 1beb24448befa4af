"""Evaluating models on grouped cubes: the budget is streamed, and of each cube only its variances are kept."""

from collections.abc import Callable

import torch
from torch import Tensor

from dropscope.spectrum.grouping import group_variances
from dropscope.spectrum.mixtures import Design, draw_cubes

__all__ = ["Evaluate", "cubes_within", "measure", "probe"]

# f: rows (rows, columns) -> outputs (models, rows, outputs).
Evaluate = Callable[[Tensor], Tensor]

# Rows and bytes of one call of the models, few enough to stay in cache. They depend on the table alone, so that a
# model sees the same mixtures in the same calls whichever models are stacked with it.
CALL_ROWS = 8192
CALL_BYTES = 2**24
FEWEST_CUBES = 50
# Rows of the table evaluated twice, to see that the model does not draw random numbers.
PROBE = 32


def cubes_within(budget: int, design: Design) -> int:
    """Number of cubes that `budget` evaluations pay for, after the probe.

    Args:
        budget: rows to evaluate.
        design: table, blocks and groups.

    Returns:
        The number of cubes.

    Raises:
        ValueError: the budget pays for fewer than 50.
    """
    probed = 2 * min(PROBE, len(design.table))
    cubes = (budget - probed) // design.corners

    if cubes < FEWEST_CUBES:
        least = FEWEST_CUBES * design.corners + probed
        raise ValueError(
            f"`budget` must be at least {least} for {len(design.blocks)} blocks "
            f"({FEWEST_CUBES} cubes of {design.corners} mixtures), got {budget}."
        )
    return cubes


def measure(evaluate: Evaluate, design: Design, cubes: int, generator: torch.Generator | None) -> tuple[Tensor, int]:
    """Variance per group order, of every model, on every cube.

    Args:
        evaluate: maps rows to outputs of shape (models, rows, outputs).
        design: table, blocks and groups.
        cubes: number of cubes.
        generator: source of the draws.

    Returns:
        Variances of shape (models, cubes, groups + 1) in float64 (order 0 first, summed over outputs; nan where a
        model's outputs are not finite), and the number of rows evaluated.

    Raises:
        ValueError: two passes over the same rows differ, or the outputs have the wrong shape.
    """
    spent = probe(evaluate, design.table[:PROBE])
    row_bytes = design.table.shape[1] * design.table.element_size()
    per_call = max(1, min(CALL_ROWS, CALL_BYTES // row_bytes) // design.corners)

    parts = []
    for start in range(0, cubes, per_call):
        mixed = draw_cubes(design, min(per_call, cubes - start), generator)
        corners, count, _ = mixed.shape

        outputs = _outputs(evaluate, mixed.view(corners * count, -1))
        values = outputs.double().view(len(outputs), corners, count, -1).transpose(0, 1)
        parts.append(group_variances(values).sum(-1).permute(1, 2, 0))

    return torch.cat(parts, dim=1), spent + cubes * design.corners


def probe(evaluate: Evaluate, rows: Tensor) -> int:
    """Evaluate the same rows twice; leftover randomness would enter the spectrum as the highest order.

    Args:
        evaluate: maps rows to outputs of shape (models, rows, outputs).
        rows: a few rows.

    Returns:
        The number of rows evaluated.

    Raises:
        ValueError: the two passes differ.
    """
    first, second = _outputs(evaluate, rows), _outputs(evaluate, rows)

    # Kernels on a GPU may add in another order; anything above a thousandth of the spread is not rounding.
    spread = first.amax(1) - first.amin(1)
    changed = ((first - second).abs().amax(1) > 1e-3 * spread).any().item()

    if changed:
        raise ValueError(
            "`f` must give the same outputs for the same rows, but two passes differ: "
            "switch dropout and batch norm to evaluation (`model.eval()`)."
        )
    return 2 * len(rows)


def _outputs(evaluate: Evaluate, rows: Tensor) -> Tensor:
    outputs = evaluate(rows)

    if outputs.ndim != 3 or outputs.shape[1] != len(rows):
        raise ValueError(
            f"`f` must give outputs of shape (models, {len(rows)}, outputs) for {len(rows)} rows, "
            f"got {tuple(outputs.shape)}."
        )
    return outputs
