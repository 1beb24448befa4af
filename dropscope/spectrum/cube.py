"""Evaluating models on grouped cubes: the budget is streamed, and of each cube only its variances are kept."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dropscope.spectrum.grouping import group_variances
from dropscope.spectrum.mixtures import Design, draw_cubes

__all__ = ["Evaluate", "Measured", "cubes_within", "measure", "outputs_on", "probe", "probe_rows"]

# f: rows (rows, columns) -> outputs (models, rows, outputs).
Evaluate = Callable[[Tensor], Tensor]

# Rows and bytes of one call of the models, few enough to stay in cache. They depend on the table alone, so that a
# model sees the same mixtures in the same calls whichever models are stacked with it.
CALL_ROWS = 8192
CALL_BYTES = 2**24
FEWEST_CUBES = 50
# Rows of the table evaluated twice, to see that the model does not draw random numbers.
PROBE = 32


class Measured(NamedTuple):
    """Variances in float64, summed over outputs, whose means over the cubes are unbiased.

    Attributes:
        groups: variance per group order, of shape (models, cubes, groups + 1); order 0 first.
        blocks: sum of all total indices, of shape (models, cubes): the mean order times the variance. None where a
            partition makes it known from the groups.
    """

    groups: Tensor
    blocks: Tensor | None


def cubes_within(budget: int, design: Design, beside: int) -> int:
    """Number of cubes that a budget pays for.

    Args:
        budget: rows to evaluate.
        design: table, blocks and groups.
        beside: rows of the budget that are not for cubes.

    Returns:
        The number of cubes.

    Raises:
        ValueError: the budget pays for fewer than 50.
    """
    cubes = (budget - beside) // design.rows

    if cubes < FEWEST_CUBES:
        raise ValueError(
            f"`budget` must be at least {FEWEST_CUBES * design.rows + beside} for {len(design.blocks)} blocks "
            f"({FEWEST_CUBES} cubes of {design.rows} mixtures, and {beside} rows beside them), got {budget}."
        )
    return cubes


def measure(evaluate: Evaluate, design: Design, cubes: int, generator: torch.Generator | None) -> Measured:
    """Variances of every model on every cube.

    Args:
        evaluate: maps rows to outputs of shape (models, rows, outputs).
        design: table, blocks and groups.
        cubes: number of cubes.
        generator: source of the draws.

    Returns:
        The variances, which are nan where a model's outputs are not finite.

    Raises:
        ValueError: the outputs have the wrong shape.
    """
    row_bytes = design.table.shape[1] * design.table.element_size()
    per_call = max(1, min(CALL_ROWS, CALL_BYTES // row_bytes) // design.rows)
    by_order, by_block = [], []

    for start in range(0, cubes, per_call):
        mixed = draw_cubes(design, min(per_call, cubes - start), generator)
        values = outputs_on(evaluate, mixed).transpose(0, 1)
        corners, neighbours = values.split([design.corners, design.neighbours])

        by_order.append(group_variances(corners).sum(-1).permute(1, 2, 0))
        if design.neighbours:
            # Elementwise but for the outputs, like the variances: the last bit does not depend on the other models.
            squares = sum((row - corners[0]).square_() for row in neighbours)
            by_block.append(squares.sum(-1) * (len(design.blocks) / (2 * design.neighbours)))

    return Measured(torch.cat(by_order, dim=1), torch.cat(by_block, dim=1) if by_block else None)


def outputs_on(evaluate: Evaluate, mixtures: Tensor) -> Tensor:
    """Outputs on mixtures of rows, in float64 and in calls of a few thousand rows.

    Args:
        evaluate: maps rows to outputs of shape (models, rows, outputs).
        mixtures: rows of shape (mixtures, draws, columns).

    Returns:
        Outputs of shape (models, mixtures, draws, outputs).

    Raises:
        ValueError: the outputs have the wrong shape.
    """
    count, draws, columns = mixtures.shape
    outputs = [_outputs(evaluate, rows).double() for rows in mixtures.view(-1, columns).split(CALL_ROWS)]
    return torch.cat(outputs, dim=1).view(len(outputs[0]), count, draws, -1)


def probe_rows(table: Tensor) -> int:
    """Number of rows that `probe` evaluates."""
    return 2 * min(PROBE, len(table))


def probe(evaluate: Evaluate, rows: Tensor) -> int:
    """Evaluate the same rows twice; leftover randomness would enter the spectrum as the highest order.

    Args:
        evaluate: maps rows to outputs of shape (models, rows, outputs).
        rows: rows, of which the first few are evaluated.

    Returns:
        The number of rows evaluated.

    Raises:
        ValueError: the two passes differ.
    """
    rows = rows[:PROBE]
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
