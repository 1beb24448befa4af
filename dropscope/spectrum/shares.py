"""From a model and a budget to its spectrum: what is evaluated, and shares per order with their intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dropscope.spectrum.control import divide, measure_controlled
from dropscope.spectrum.cube import Evaluate, Measured, cubes_within, measure, probe, probe_rows
from dropscope.spectrum.fit import OrderFit
from dropscope.spectrum.mixtures import Design
from dropscope.spectrum.result import Spectrum
from dropscope.spectrum.separation import measure_separated
from dropscope.spectrum.survival import SurvivalCurve

__all__ = ["Question", "spectra_of"]

Array = NDArray[np.float64]

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
    spent = probe_rows(design.table)
    measured, suffix = None, ""

    if question.control_variate is not None:
        fitted, cubes = divide(question.budget, design, spent)
        probe(evaluate, design.table)
        measured, used = measure_controlled(evaluate, design, fitted, cubes, generator)
        spent += fitted + cubes * design.rows
        suffix = f"+{question.control_variate}" if used else ""
    else:
        cubes_within(question.budget, design, spent)
        probe(evaluate, design.table)

    if question.separate and design.partition is None and measured is None:
        design, measured, separating = measure_separated(evaluate, design, question.budget - spent, generator)
        spent += separating

    if measured is None:
        cubes = cubes_within(question.budget, design, spent)
        measured = measure(evaluate, design, cubes, generator)
        spent += cubes * design.rows

    common = {
        "budget": spent,
        "method": _method(design) + suffix,
        "inputs_law": "product",
        "blocks": design.blocks,
        "point": question.point if design.partition is None else "nnls",
    }
    variances = measured.groups.cpu().numpy()
    totals = [None] * len(variances) if measured.checks is None else measured.checks.cpu().numpy()
    return [
        _spectrum(model, total, measured, design, question, common)
        for model, total in zip(variances, totals, strict=True)
    ]


def _method(design: Design) -> str:
    if design.exact:
        return "exact-cube"
    return "cube" if design.partition is None else "separated-cube"


def _spectrum(
    variances: Array,
    totals: Array | None,
    measured: Measured,
    design: Design,
    question: Question,
    common: dict[str, Any],
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
    if mean[1:].sum() > measured.rounding * max(mean[0], 0.0):
        fit = OrderFit(np.ascontiguousarray(variances[:, 1:]), seen, totals, measured.unknown)
        orders[:] = 0.0
        orders[:seen] = fit.smooth() if common["point"] == "smooth" else fit.nonnegative()
        total, mean_order = fit.total, float(order @ orders[:seen])

        if question.intervals:
            low, high = np.array([fit.interval(functional) for functional in functionals]).T
            curve = _curve(fit, orders[:seen])

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
