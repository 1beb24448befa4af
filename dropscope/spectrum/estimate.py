"""The public estimators: the interaction spectrum of one model, and of a stack of models in one pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dropscope.spectrum.arguments import Blocks, Inputs, check_choice, check_design
from dropscope.spectrum.calling import checked, evaluation, for_model
from dropscope.spectrum.mixtures import Design
from dropscope.spectrum.nested import nested_spectrum
from dropscope.spectrum.result import Spectrum
from dropscope.spectrum.shares import spectra_of

__all__ = ["centre_logits", "interaction_spectrum", "stack_spectra"]

# Rows of one call of a stack: their activations exist once per model.
STACK_ROWS = 2048


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
    control_variate: str | None = None,
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
        inputs_law: "product", the product of the blocks' laws in the table; or "joint", the law of its rows as they
            are: order k is then what the best learned sum of terms of k columns explains beyond one of k - 1, on
            rows held out, with what no model learned in `rest`.
        blocks: column indices that are drawn together and count as one input (the one-hot columns of a category,
            say); by default every column is its own.
        point: point estimate, "smooth" (least curvature within one unit of misfit) or "nnls" (least misfit, better
            when the variance sits on single orders). Up to eight blocks nothing is inverted and it is "nnls".
        control_variate: "pce", a sparse polynomial expansion fitted to part of the budget and measured beside f: far
            more accurate where f is smooth and its terms few, never biased, and left out with a warning where it
            explains less than 80 % of the variance. Blocks must be single columns.
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
    check_choice("inputs_law", inputs_law, ("product", "joint"))
    if control_variate is not None:
        check_choice("control_variate", control_variate, ("pce",))
        if inputs_law == "joint":
            raise ValueError(f"`control_variate` must be None under the joint law, got {control_variate!r}.")
    design = check_design(for_model(inputs, f), blocks, max_order, point)

    with evaluation(f):
        if inputs_law == "joint":
            return nested_spectrum(checked(f), design, max_order, budget, generator)
        (spectrum,) = spectra_of(checked(f), design, max_order, budget, point, True, generator, control_variate)

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

    with evaluation(f):
        return spectra_of(evaluate, design, max_order, budget, point, intervals, generator)


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
