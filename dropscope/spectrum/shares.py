"""From the variances of cubes to spectra: shares per order, their intervals, and the mean order."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscope.spectrum.control import measure_controlled
from dropscope.spectrum.cube import cubes_within, measure
from dropscope.spectrum.fit import OrderFit
from dropscope.spectrum.mixtures import Design
from dropscope.spectrum.result import Spectrum

__all__ = ["spectra_of"]

# Variance that float32 rounding leaves in a constant, relative to its square.
ROUNDING = 1e-13


def spectra_of(
    evaluate: Callable[[Tensor], Tensor],
    design: Design,
    max_order: int,
    budget: int,
    point: str,
    intervals: bool,
    generator: torch.Generator | None,
    control_variate: str | None = None,
) -> list[Spectrum | None]:
    method = "exact-cube" if design.exact else "cube"
    if control_variate is None:
        variances, spent = measure(evaluate, design, cubes_within(budget, design), generator)
    else:
        variances, spent, used = measure_controlled(evaluate, design, budget, generator)
        method += f"+{control_variate}" if used else ""

    common = {
        "budget": spent,
        "method": method,
        "inputs_law": "product",
        "blocks": design.blocks,
        "point": "nnls" if design.exact else point,
    }
    return [_spectrum(model.cpu().numpy(), max_order, intervals, common) for model in variances]


def _spectrum(
    variances: NDArray[np.float64], max_order: int, intervals: bool, common: dict[str, Any]
) -> Spectrum | None:
    """The spectrum of one model from its variances of shape (cubes, groups + 1)."""
    if not np.isfinite(variances).all():
        return None

    blocks = len(common["blocks"])
    orders = np.full(blocks, np.nan)
    low, high = np.full((2, max_order + 2), np.nan)
    total = 0.0

    # One row per reported number: each share, the rest, the mean order.
    order = np.arange(1, blocks + 1)
    rows = [*(order == k for k in range(1, max_order + 1)), order > max_order, order]
    functionals = np.array(rows, dtype=float)

    # Outputs that differ by rounding alone are constant: order 0 holds the squared mean.
    mean = variances.mean(axis=0)
    if mean[1:].sum() > ROUNDING * max(mean[0], 0.0):
        fit = OrderFit(np.ascontiguousarray(variances[:, 1:]), blocks)
        orders = fit.smooth() if common["point"] == "smooth" else fit.nonnegative()
        total = fit.total
        if intervals:
            low, high = np.array([fit.interval(functional) for functional in functionals]).T

    *share, rest, mean_order = functionals @ orders
    return Spectrum(
        share=np.array(share),
        rest=float(rest),
        low=low[:-1],
        high=high[:-1],
        total=total,
        mean_order=float(mean_order),
        mean_order_low=float(low[-1]),
        mean_order_high=float(high[-1]),
        orders=orders,
        **common,
    )
