"""Evaluating models on grouped cubes: the budget is streamed, and of each cube only its variances are kept."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dropscope.spectrum.grouping import group_variances
from dropscope.spectrum.mixtures import Design, draw_cubes, group_of
from dropscope.spectrum.ratios import rounding

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
# Parts of the outputs' spread by which these may change: in a call that is repeated, and beside other rows. Kernels on
# a GPU add in another order, and half precision rounds by the batch's size; a batch's own mean moves by far more.
REPEATED, BESIDE_OTHERS = 1e-6, 1e-4
REPEATED_ROUGH, BESIDE_OTHERS_ROUGH = 1e-3, 1e-2
# Rounding that is no change, in units of the outputs' last place.
PLACES = 16


class Measured(NamedTuple):
    """Variances in float64, summed over outputs, whose means over the cubes are unbiased.

    Attributes:
        groups: variance per group order, of shape (models, cubes, groups + 1); order 0 first.
        checks: of shape (models, cubes), None where the design asks for none. With random groups the sum of all total
            indices, which is the mean order times the variance. With a partition the variance that two random halves
            of a group share, which must be zero.
        rounding: part of the squared mean that rounding alone may leave as variance.
        unknown: part of the variance that is known from the cubes alone.
    """

    groups: Tensor
    checks: Tensor | None
    rounding: float
    unknown: float = 1.0


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
    groups, checks = [], []

    for start in range(0, cubes, per_call):
        mixed = draw_cubes(design, min(per_call, cubes - start), generator)
        outputs = outputs_on(evaluate, mixed)
        values = outputs.double().transpose(0, 1)
        corners, beside = values.split([design.corners, design.checks])

        groups.append(group_variances(corners).sum(-1).permute(1, 2, 0))
        if design.checks:
            checks.append(_checks(corners, beside, design))

    joined = torch.cat(checks, dim=1) if checks else None
    return Measured(torch.cat(groups, dim=1), joined, rounding(outputs.dtype))


def _checks(corners: Tensor, beside: Tensor, design: Design) -> Tensor:
    """What the rows beside the corners tell: elementwise but for the outputs, as all that models must not share."""
    changes = beside - corners[0]
    if design.partition is None:
        squares = sum(change.square() for change in changes)
        return squares.sum(-1) * (len(design.blocks) / (2 * design.checks))

    cubes = corners.shape[2]
    whole = corners[2 ** group_of(cubes, design), :, torch.arange(cubes)].transpose(0, 1) - corners[0]
    return (whole - changes[0] - changes[1]).square_().sum(-1) / 4


def outputs_on(evaluate: Evaluate, mixtures: Tensor) -> Tensor:
    """Outputs on mixtures of rows, in calls of a few thousand rows.

    Args:
        evaluate: maps rows to outputs of shape (models, rows, outputs).
        mixtures: rows of shape (mixtures, draws, columns).

    Returns:
        Outputs of shape (models, mixtures, draws, outputs).

    Raises:
        ValueError: the outputs have the wrong shape.
    """
    count, draws, columns = mixtures.shape
    outputs = [_outputs(evaluate, rows) for rows in mixtures.view(-1, columns).split(CALL_ROWS)]
    return torch.cat(outputs, dim=1).view(len(outputs[0]), count, draws, -1)


def probe_rows(table: Tensor) -> int:
    """Number of rows that `probe` evaluates."""
    return 2 * min(PROBE, len(table))


def probe(evaluate: Evaluate, rows: Tensor) -> int:
    """Evaluate rows together, and half of them twice more: leftover randomness would enter as the highest order.

    Args:
        evaluate: maps rows to outputs of shape (models, rows, outputs).
        rows: rows, of which the first few are evaluated.

    Returns:
        The number of rows evaluated.

    Raises:
        ValueError: the same rows give other outputs, the second time or beside other rows.
    """
    rows = rows[:PROBE]
    half = rows[-(len(rows) // 2) :]
    # One row of an odd number goes twice. The model may write into what it is given.
    together = torch.cat([rows[: len(rows) % 2], rows])
    every, one, other = (_outputs(evaluate, part.clone()) for part in (together, half, half))

    spread = every.amax(1) - every.amin(1)
    last_places = PLACES * torch.finfo(every.dtype).eps * every.abs().amax(1)

    again = REPEATED if every.device.type == "cpu" else REPEATED_ROUGH
    precise = every.device.type == "cpu" and every.dtype.itemsize >= 4
    beside = BESIDE_OTHERS if precise else BESIDE_OTHERS_ROUGH
    if _differ(one, other, again * spread + last_places):
        raise ValueError(
            "`f` must give the same outputs for the same rows, but two passes differ: "
            "switch dropout and batch norm to evaluation (`model.eval()`)."
        )
    if _differ(one, every[:, -len(half) :], beside * spread + last_places):
        raise ValueError(
            "`f` must treat every row by itself, but its outputs depend on the rows beside it: normalise by constants "
            "rather than by the batch, and switch batch norm to evaluation (`model.eval()`)."
        )
    return 2 * len(rows)


def _differ(one: Tensor, other: Tensor, tolerance: Tensor) -> bool:
    """Whether outputs of the same rows differ by more than a tolerance of shape (models, outputs)."""
    return bool(((one - other).abs().amax(1) > tolerance).any())


def _outputs(evaluate: Evaluate, rows: Tensor) -> Tensor:
    outputs = evaluate(rows)

    if outputs.ndim != 3 or outputs.shape[1] != len(rows):
        raise ValueError(
            f"`f` must give outputs of shape (models, {len(rows)}, outputs) for {len(rows)} rows, "
            f"got {tuple(outputs.shape)}."
        )
    return outputs
