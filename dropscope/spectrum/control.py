"""Control variates: the cube measures an expansion beside the model, and the error seen there is subtracted."""

import math
import warnings

import torch
from torch import Tensor

from dropscope.spectrum.chaos import Expansion, fit_expansion
from dropscope.spectrum.cube import CALL_ROWS, FEWEST_CUBES, Evaluate, Measured, cubes_within, measure
from dropscope.spectrum.grouping import occupancy
from dropscope.spectrum.mixtures import Design
from dropscope.spectrum.polynomials import Polynomials

__all__ = ["divide", "measure_controlled"]

# At most this many rows, and this part of the budget, go into the expansion.
FIT_ROWS = 15_000
FIT_PART = 5
# What a poorer expansion leaves unexplained adds as much noise as its known answer takes away.
LEAST_R2 = 0.8


def divide(budget: int, design: Design, beside: int) -> tuple[int, int]:
    """Rows for the expansion, and cubes for the rest of the budget.

    Args:
        budget: most rows to evaluate.
        design: table, blocks and groups.
        beside: rows of the budget that are for neither.

    Returns:
        The number of rows and the number of cubes.

    Raises:
        ValueError: a block has several columns, or the budget is too small.
    """
    largest = max(map(len, design.blocks))
    if largest > 1:
        raise ValueError(f"`control_variate` needs blocks of one column each, got one of {largest}: leave it out.")

    fitted = min(FIT_ROWS, budget // FIT_PART)
    cubes = cubes_within(budget, design, beside) - math.ceil(fitted / design.rows)
    if cubes < FEWEST_CUBES:
        raise ValueError(
            f"`budget` must pay for {FEWEST_CUBES} cubes of {design.rows} mixtures beside the {fitted} rows that "
            f"the control variate is fitted to, got {budget}."
        )
    return fitted, cubes


def measure_controlled(
    evaluate: Evaluate, design: Design, fitted: int, cubes: int, generator: torch.Generator | None
) -> tuple[Measured, bool]:
    """Variance per group order of one model, with a sparse polynomial expansion of it as control variate.

    With `V` the group variances of f on one cube, `C` those of the expansion fhat on the same cube, and `M W(fhat)` the
    mean of `C`, which the coefficients give exactly, `V - b (C - M W(fhat))` has the mean of `V` for every b. The
    weight b that makes the shares vary least comes from the other half of the cubes, and fhat from rows of its own, so
    nothing is biased however poor the expansion.

    Args:
        evaluate: maps rows to outputs of shape (1, rows, outputs).
        design: table, blocks of one column each, and groups.
        fitted: rows for the expansion.
        cubes: number of cubes.
        generator: source of the draws.

    Returns:
        Variances as `measure` gives them, and whether the expansion was good enough to be used.
    """
    expansion = _fit(evaluate, design, fitted, generator)

    if expansion is None or expansion.r2 < LEAST_R2:
        r2 = expansion.r2 if expansion is not None else 0.0
        warnings.warn(
            f"no control variate: polynomials explain {r2:.0%} of the held-out variance, which is less than "
            f"{LEAST_R2:.0%}.",
            stacklevel=4,
        )
        return measure(evaluate, design, cubes, generator), False

    def both(rows: Tensor) -> Tensor:
        # The expansion first: the model may write into its rows.
        control = expansion.predict(rows)[None]
        return torch.cat([evaluate(rows).double(), control])

    measured = measure(both, design, cubes, generator)
    model, control = measured.groups
    blocks = len(design.blocks)
    exact = torch.tensor(occupancy(blocks, design.groups)) @ expansion.variances(blocks)

    # Order 0, the squared mean, is no share of the variance and stays as it is.
    corrected = _subtract(model[:, 1:], control[:, 1:] - exact.to(control.device))
    groups = torch.cat([model[:, :1], corrected], dim=1)[None]
    sums = measured.checks[:1] if measured.checks is not None else None
    return Measured(groups, sums, measured.rounding, unknown=1 - expansion.r2), True


def _fit(evaluate: Evaluate, design: Design, fitted: int, generator: torch.Generator | None) -> Expansion | None:
    """The expansion of the model, fitted to rows drawn from the product of the columns' laws."""
    table = design.table
    source = generator.device if generator is not None else torch.device("cpu")
    chosen = torch.randint(len(table), (fitted, table.shape[1]), generator=generator, device=source)
    rows = table.gather(0, chosen.to(table.device))

    outputs = torch.cat([evaluate(part.clone())[0] for part in rows.split(CALL_ROWS)])
    return fit_expansion(Polynomials(table.cpu()), rows, outputs)


def _subtract(model: Tensor, error: Tensor) -> Tensor:
    """Subtract from each half of the cubes the error seen in the control, weighted as is best for the other half."""
    half = len(model) // 2
    first, second = slice(None, half), slice(half, None)
    return torch.cat(
        [
            model[first] - _weight(model[second], error[second]) * error[first],
            model[second] - _weight(model[first], error[first]) * error[second],
        ]
    )


def _weight(model: Tensor, error: Tensor) -> Tensor:
    """The weight b with which the shares of `model - b error` vary least from cube to cube."""
    share = model.mean(0) / model.mean(0).sum()

    # To first order, what one cube adds to the shares: its variances less its part of the total.
    seen, by_control = (v - v.mean(0) - (v - v.mean(0)).sum(1, keepdim=True) * share for v in (model, error))
    return (seen * by_control).sum() / by_control.square().sum().clamp_min(torch.finfo(model.dtype).tiny)
