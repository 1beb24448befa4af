"""From a model and a budget to its spectrum: what is evaluated, and shares per order with their intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dropscope.spectrum.control import divide, measure_controlled
from dropscope.spectrum.cube import Evaluate, cubes_within, measure, probe, probe_rows
from dropscope.spectrum.fit import OrderFit
from dropscope.spectrum.mixtures import Design
from dropscope.spectrum.ratios import RatioSums
from dropscope.spectrum.result import Spectrum
from dropscope.spectrum.separation import separate
from dropscope.spectrum.survival import SurvivalCurve

__all__ = ["Question", "spectra_of"]

Array = NDArray[np.float64]

# Variance that float32 rounding leaves in a constant, relative to its square.
ROUNDING = 1e-13
# Points of the survival curve, from p = 0 to 1.
POINTS = 11


@dataclass(frozen=True)
class Question:
    """What is asked of the models.

    Attributes:
        max_order: highest order with a share of its own.
        budget: most rows to evaluate.
        point: point estimate, "smooth" or "nnls".
        intervals: whether intervals and the survival curve are wanted.
        separate: whether to look for blocks that do not interact; what is found depends on all models together.
        control_variate: None or "pce", which takes one model.
    """

    max_order: int
    budget: int
    point: str = "smooth"
    intervals: bool = True
    separate: bool = False
    control_variate: str | None = None


def spectra_of(
    evaluate: Evaluate, design: Design, question: Question, generator: torch.Generator | None
) -> list[Spectrum | None]:
    """Spectra of all models.

    Args:
        evaluate: maps rows to outputs of shape (models, rows, outputs).
        design: table and blocks.
        question: what is asked.
        generator: source of the draws.

    Returns:
        One spectrum per model; None for a model with outputs that are not finite.

    Raises:
        ValueError: the budget is too small, two passes of f differ, or outputs have the wrong shape.
    """
    beside = probe_rows(design.table)
    suffix = ""

    if question.control_variate is not None:
        fitted, cubes = divide(question.budget, design, beside)
        probe(evaluate, design.table)
        measured, used = measure_controlled(evaluate, design, fitted, cubes, generator)
        beside += fitted
        suffix = f"+{question.control_variate}" if used else ""
    else:
        cubes_within(question.budget, design, beside)
        probe(evaluate, design.table)
        if question.separate and design.partition is None:
            design, searched = separate(evaluate, design, question.budget - beside, generator)
            beside += searched
        cubes = cubes_within(question.budget, design, beside)
        measured = measure(evaluate, design, cubes, generator)

    common = {
        "budget": beside + cubes * design.rows,
        "method": _method(design) + suffix,
        "inputs_law": "product",
        "blocks": design.blocks,
        "point": question.point if design.partition is None else "nnls",
    }
    by_block = [None] * len(measured.groups) if measured.blocks is None else measured.blocks.cpu().numpy()
    return [
        _spectrum(groups, blocks, design, question, common)
        for groups, blocks in zip(measured.groups.cpu().numpy(), by_block, strict=True)
    ]


def _method(design: Design) -> str:
    if design.exact:
        return "exact-cube"
    return "cube" if design.partition is None else "separated-cube"


def _spectrum(
    variances: Array, by_block: Array | None, design: Design, question: Question, common: dict[str, Any]
) -> Spectrum | None:
    """The spectrum of one model from its variances of shape (cubes, groups + 1), and sums of total indices (cubes,)."""
    if not np.isfinite(variances).all():
        return None

    # With a partition the groups of the cube are all the orders there are.
    seen = len(design.blocks) if design.partition is None else design.groups
    max_order = question.max_order
    orders = np.full(len(design.blocks), np.nan)
    low, high = np.full((2, max_order + 2), np.nan)
    total, mean_order, curve = 0.0, np.nan, None

    # One row per reported number: each share, the rest, the mean order.
    order = np.arange(1, seen + 1)
    rows = [*(order == k for k in range(1, max_order + 1)), order > max_order, order]
    functionals = np.array(rows, dtype=float)

    # Outputs that differ by rounding alone are constant: order 0 holds the squared mean.
    mean = variances.mean(axis=0)
    if mean[1:].sum() > ROUNDING * max(mean[0], 0.0):
        fit = OrderFit(np.ascontiguousarray(variances[:, 1:]), seen)
        orders[:] = 0.0
        orders[:seen] = fit.smooth() if common["point"] == "smooth" else fit.nonnegative()
        total, mean_order = fit.total, float(order @ orders[:seen])

        if question.intervals:
            low, high = np.array([fit.interval(functional) for functional in functionals]).T
            curve = _curve(fit, orders[:seen])
            if by_block is not None:
                mean_order, low[-1], high[-1] = _narrowed(
                    (mean_order, low[-1], high[-1]), variances, by_block, len(orders)
                )

    return Spectrum(
        share=orders[:max_order].copy(),
        rest=float(orders[max_order:].sum()),
        low=low[:-1],
        high=high[:-1],
        total=total,
        mean_order=mean_order,
        mean_order_low=float(low[-1]),
        mean_order_high=float(high[-1]),
        orders=orders,
        survival_curve=curve,
        **common,
    )


def _curve(fit: OrderFit, orders: Array) -> SurvivalCurve:
    """The survival curve: every spectrum that fits agrees on it to within the interval, whatever its high orders."""
    p = np.linspace(0, 1, POINTS)
    survives = (1 - p[:, None]) ** np.arange(1, len(orders) + 1)
    low, high = np.array([fit.interval(row) for row in survives]).T
    return SurvivalCurve(p, survives @ orders, low, high)


def _narrowed(
    fitted: tuple[float, float, float], variances: Array, by_block: Array, blocks: int
) -> tuple[float, float, float]:
    """The mean order and its interval: the part of the fit's that the direct measurement allows.

    A little variance at very high orders escapes the fit, but not the sum of all total indices.
    """
    sums = RatioSums(2)
    sums.add(np.stack([variances[:, 1:].sum(1), by_block / blocks]), float(variances.sum()))
    direct = sums.ratios()
    measured, least, most = (float(blocks * x[0]) for x in (direct.share, direct.low, direct.high))

    value, low, high = fitted
    if max(low, least) > min(high, most):
        return fitted

    point = value if high - low <= most - least else measured
    low, high = max(low, least), min(high, most)
    return min(max(point, low), high), low, high
