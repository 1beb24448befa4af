"""The public estimators: the interaction spectrum of one model, and of a stack of models in one pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dropscope.spectrum.arguments import Blocks, Inputs, check_choice, check_design
from dropscope.spectrum.cube import cubes_within, measure
from dropscope.spectrum.fit import OrderFit
from dropscope.spectrum.mixtures import Design
from dropscope.spectrum.result import Spectrum

__all__ = ["centre_logits", "interaction_spectrum", "stack_spectra"]

# Rows of one call of a stack: their activations exist once per model.
STACK_ROWS = 2048
# Variance that float32 rounding leaves in a constant, relative to its square.
ROUNDING = 1e-13


def interaction_spectrum(
    f: Callable[[Tensor], Any],
    inputs: Inputs,
    *,
    max_order: int = 3,
    budget: int = 1_000_000,
    method: str = "cube",
    inputs_law: str = "product",
    blocks: Blocks | None = None,
    point: str = "smooth",
    generator: torch.Generator | None = None,
) -> Spectrum:
    """Share of a model's variance at each interaction order, with 95 % intervals.

    The functional ANOVA of f under independent blocks of inputs is `f = sum_u f_u`; order k holds
    `W_k = sum over |u| = k of Var f_u`, and its share is `W_k / Var f`. Pairs of random rows are split into six
    groups of blocks and mixed in all 64 ways; the mixtures' Walsh spectrum gives the variance per group order
    without bias, and a non-negative fit over all orders takes groups back to blocks. Up to eight blocks, every
    block is its own group.

    Args:
        f: maps rows of shape (rows, columns) to outputs (rows,) or (rows, outputs). A module is put in evaluation
            mode for the measurement. Variances are summed over outputs; a classifier's logits go through
            `centre_logits` first.
        inputs: table of shape (rows, columns) from whose rows each block is drawn independently.
        max_order: highest order with a share of its own; higher ones are reported together.
        budget: most rows to evaluate.
        method: "cube".
        inputs_law: "product", the product of the blocks' laws in the table.
        blocks: column indices that are drawn together and count as one input (the one-hot columns of a category,
            say); by default every column is its own.
        point: point estimate, "smooth" (least curvature within one unit of misfit) or "nnls" (least misfit, better
            when the variance sits on single orders). Up to eight blocks nothing is inverted and it is "nnls".
        generator: source of all draws.

    Returns:
        The spectrum.

    Raises:
        ValueError: an argument is invalid, the budget is too small, or f is constant, random, or not finite.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> inputs = torch.rand(1000, 4, generator=generator) - 0.5
        >>> f = lambda x: x[:, 0] * x[:, 1]
        >>> interaction_spectrum(f, inputs, budget=50_000, generator=generator).share.round(2)
        array([0., 1., 0.])

    Reference:
        Lengerich, Xing, Caruana, 2022, arXiv:2007.00823 (the quantity); Liu and Owen, "Estimating mean
        dimensionality of analysis of variance decompositions", 2006 (cancellation-free differences).
    """
    check_choice("method", method, ("cube",))
    check_choice("inputs_law", inputs_law, ("product",))
    design = check_design(_for_model(inputs, f), blocks, max_order, point)

    def evaluate(rows: Tensor) -> Tensor:
        outputs = torch.as_tensor(f(rows))
        if outputs.ndim == 0 or len(outputs) != len(rows):
            raise ValueError(
                f"`f` must give one output per row, got shape {tuple(outputs.shape)} for {len(rows)} rows."
            )
        outputs = outputs.reshape(1, len(rows), -1)
        _check_finite(rows, outputs[0])
        return outputs

    with _evaluation(f):
        (spectrum,) = _spectra(evaluate, design, max_order, budget, point, True, generator)

    if spectrum is None or spectrum.total == 0:
        raise ValueError("`f` must vary with its inputs, but it gave the same output for every mixture of rows.")
    return spectrum


def stack_spectra(
    f: Callable[[Tensor], Tensor],
    inputs: Inputs,
    *,
    models: int,
    max_order: int = 3,
    budget: int = 1_000_000,
    blocks: Blocks | None = None,
    point: str = "smooth",
    intervals: bool = True,
    generator: torch.Generator | None = None,
) -> list[Spectrum | None]:
    """Interaction spectra of a stack of models, all measured on the same mixtures in one pass.

    Args:
        f: maps rows of shape (rows, columns) to outputs (models, rows, outputs).
        inputs: as in `interaction_spectrum`.
        models: number of stacked models.
        max_order: as in `interaction_spectrum`.
        budget: most rows to evaluate; each row goes through every model.
        blocks: as in `interaction_spectrum`.
        point: as in `interaction_spectrum`.
        intervals: whether to compute the intervals; without them a fit takes about a millisecond.
        generator: source of all draws.

    Returns:
        One spectrum per model, the same whichever models are stacked with it. A constant model has total 0 and
        shares of nan; a model with outputs that are not finite has None.

    Raises:
        ValueError: an argument is invalid, the budget is too small, or two passes of f differ.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> inputs = torch.rand(1000, 4, generator=generator) - 0.5
        >>> f = lambda x: torch.stack([x[:, :1], x[:, :1] * x[:, 1:2]])
        >>> spectra = stack_spectra(f, inputs, models=2, budget=10_000, generator=generator)
        >>> [spectrum.share.round(2).tolist() for spectrum in spectra]
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    design = check_design(inputs, blocks, max_order, point)

    def evaluate(rows: Tensor) -> Tensor:
        outputs = torch.cat([f(piece) for piece in rows.split(STACK_ROWS)], dim=1)
        if len(outputs) != models:
            raise ValueError(f"`f` must give outputs of {models} models, got shape {tuple(outputs.shape)}.")
        return outputs

    with _evaluation(f):
        return _spectra(evaluate, design, max_order, budget, point, intervals, generator)


def centre_logits(logits: Tensor) -> Tensor:
    """Subtract from each row of logits its mean, which no probability depends on.

    Args:
        logits: outputs of a classifier, of shape (..., classes).

    Returns:
        Logits of the same shape whose rows sum to zero.

    Example:
        >>> centre_logits(torch.tensor([[1.0, 3.0]]))
        tensor([[-1.,  1.]])
    """
    return logits - logits.mean(dim=-1, keepdim=True)


def _spectra(
    evaluate: Callable[[Tensor], Tensor],
    design: Design,
    max_order: int,
    budget: int,
    point: str,
    intervals: bool,
    generator: torch.Generator | None,
) -> list[Spectrum | None]:
    cubes = cubes_within(budget, design)
    variances, spent = measure(evaluate, design, cubes, generator)

    common = {
        "budget": spent,
        "method": "exact-cube" if design.exact else "cube",
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


def _for_model(inputs: Inputs, f: Any) -> Tensor:
    """The table as a tensor, on a module's device and in its precision."""
    table = torch.as_tensor(inputs)
    parameter = next(f.parameters(), None) if isinstance(f, nn.Module) else None

    if parameter is None:
        return table
    return table.to(parameter.device, parameter.dtype if table.is_floating_point() else None)


@contextmanager
def _evaluation(f: Any) -> Iterator[None]:
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
