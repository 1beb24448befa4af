"""The public estimators: the interaction spectrum of a model, of each of its outputs, and of a stack of models."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dropscope.spectrum.arguments import (
    Blocks,
    Inputs,
    check_choice,
    check_design,
    check_generator,
    check_order,
    whole_number,
)
from dropscope.spectrum.calling import evaluation, examine
from dropscope.spectrum.dependence import warn_of_dependence
from dropscope.spectrum.nested import nested_spectrum
from dropscope.spectrum.reading import TableLike, read_numbers
from dropscope.spectrum.result import Spectrum
from dropscope.spectrum.shares import Question, spectra_of
from dropscope.spectrum.tables import NumberTable, Table

__all__ = ["interaction_spectrum", "output_spectra", "stack_spectra"]

# Rows of one call of a stack: their activations exist once per model.
STACK_ROWS = 2048

POINTS = ("smooth", "nnls")

CONSTANT = "`f` must vary with its inputs, but it gave the same output for every mixture of rows."


def interaction_spectrum(
    f: Any,
    inputs: TableLike,
    *,
    max_order: int | None = None,
    budget: int = 1_000_000,
    method: str = "cube",
    inputs_law: str = "product",
    blocks: Blocks | None = None,
    point: str = "smooth",
    control_variate: str | None = None,
    target: int | None = None,
    generator: torch.Generator | None = None,
) -> Spectrum:
    """Share of a model's variance at each interaction order, with 95 % intervals.

    The functional ANOVA of f under independent blocks of inputs is `f = sum_u f_u`; order k holds
    `W_k = sum over |u| = k of Var f_u`, and its share is `W_k / Var f`. Pairs of random rows are split into six
    groups of blocks and mixed in all 64 ways; the mixtures' Walsh spectrum gives the variance per group order
    without bias, and a non-negative fit over all orders takes groups back to blocks. Up to eight blocks, every
    block is its own group; where few blocks interact, groups are made of blocks that do not (`method` then says
    "separated-cube").

    Args:
        f: a callable, which maps rows to outputs (rows,) or (rows, outputs) and is given what `inputs` is: a tensor,
            an array, or a DataFrame with the same columns and dtypes. Or a torch module, which is given tensors on its
            device and in its precision (integers as they are, if it holds an embedding), and is in evaluation mode
            meanwhile. Or a fitted estimator: a classifier stands for its `decision_function`, else its log
            probabilities, centred over the classes, any other for `predict`. Logits of a callable or a module go
            through `centre_logits` first.
        inputs: table of shape (rows, columns) from whose rows each block is drawn independently: a tensor, an array,
            or a pandas or polars DataFrame of any columns. Of more than a million rows, a million are used.
        max_order: highest order with a share of its own; higher ones are reported together. By default 3, or the
            number of blocks if there are fewer.
        budget: most rows to evaluate.
        method: "cube".
        inputs_law: "product", the product of the blocks' laws in the table; or "joint", the law of its rows as they
            are: order k is then what the best learned sum of terms of k columns explains beyond one of k - 1, on
            rows held out, with what no model learned in `rest`.
        blocks: columns, by index or name, that are drawn together and count as one input (the one-hot columns of a
            category, say: see `column_blocks`, `patch_blocks` and `lag_blocks`); by default every column is its own.
            Columns of different blocks with a rank correlation above .3 are warned of.
        point: point estimate, "smooth" (the one among the spectra that fit well whose `k W_k` changes least from order
            to order) or "nnls" (the one that fits best, better when the variance sits on single orders). Up to eight
            blocks, and where groups were separated, nothing is inverted and it is "nnls".
        control_variate: "pce", a sparse polynomial expansion fitted to part of the budget and measured beside f: far
            more accurate where f is smooth and its terms few, never biased, and left out with a warning where it
            explains less than 80 % of the variance. Blocks must be single columns, and the table numbers.
        target: the only output to measure; by default, variances are summed over outputs.
        generator: source of all draws.

    Returns:
        The spectrum.

    Raises:
        ValueError: an argument is invalid, the budget is too small, or f is constant, random, or not finite.
        TypeError: an argument is of the wrong kind.

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
    check_choice("point", point, POINTS)
    if control_variate is not None:
        check_choice("control_variate", control_variate, ("pce",))
        if inputs_law == "joint":
            raise ValueError(f"`control_variate` must be None under the joint law, got {control_variate!r}.")
    budget = whole_number("budget", budget)
    subject = examine(f, inputs, blocks, target=target, generator=generator)
    max_order = check_order(max_order, subject.design)

    if inputs_law == "joint":
        with evaluation(f):
            return nested_spectrum(subject, max_order, budget, generator)

    if control_variate is not None:
        _check_numbers(subject.table)
    warn_of_dependence(subject.table, subject.design)

    question = Question(max_order, budget, point, separate=True, control_variate=control_variate)
    with evaluation(f):
        (spectrum,) = spectra_of(subject.evaluate, subject.design, question, generator)

    if spectrum is None or spectrum.total == 0:
        raise ValueError(CONSTANT)
    return spectrum


def output_spectra(
    f: Any,
    inputs: TableLike,
    *,
    max_order: int | None = None,
    budget: int = 1_000_000,
    blocks: Blocks | None = None,
    point: str = "smooth",
    intervals: bool = True,
    generator: torch.Generator | None = None,
) -> list[Spectrum]:
    """Interaction spectrum of each output of a model, all measured on the same mixtures in one pass.

    Args:
        f: as in `interaction_spectrum`.
        inputs: as in `interaction_spectrum`.
        max_order: as in `interaction_spectrum`.
        budget: most rows to evaluate; each gives all outputs.
        blocks: as in `interaction_spectrum`.
        point: as in `interaction_spectrum`.
        intervals: whether to compute the intervals.
        generator: source of all draws.

    Returns:
        One spectrum per output, in their order. A constant output has total 0 and shares of nan.

    Raises:
        ValueError: an argument is invalid, the budget is too small, or f is constant, random, or not finite.
        TypeError: an argument is of the wrong kind.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> inputs = torch.rand(1000, 4, generator=generator) - 0.5
        >>> f = lambda x: torch.stack([x[:, 0], x[:, 0] * x[:, 1]], dim=1)
        >>> spectra = output_spectra(f, inputs, budget=10_000, generator=generator)
        >>> [spectrum.share.round(2).tolist() for spectrum in spectra]
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    check_choice("point", point, POINTS)
    budget = whole_number("budget", budget)
    subject = examine(f, inputs, blocks, generator=generator)
    question = Question(check_order(max_order, subject.design), budget, point, intervals)
    warn_of_dependence(subject.table, subject.design)

    def evaluate(rows: Tensor) -> Tensor:
        return subject.evaluate(rows).permute(2, 1, 0)

    with evaluation(f):
        found = spectra_of(evaluate, subject.design, question, generator)

    spectra = [spectrum for spectrum in found if spectrum is not None]
    if not any(spectrum.total for spectrum in spectra):
        raise ValueError(CONSTANT)
    return spectra


def stack_spectra(
    f: Callable[[Tensor], Tensor],
    inputs: Inputs,
    *,
    models: int,
    max_order: int | None = None,
    budget: int = 1_000_000,
    blocks: Blocks | None = None,
    point: str = "smooth",
    intervals: bool = True,
    generator: torch.Generator | None = None,
) -> list[Spectrum | None]:
    """Interaction spectra of a stack of models, all measured on the same mixtures in one pass.

    Args:
        f: maps rows of shape (rows, columns), always a tensor, to outputs (models, rows, outputs).
        inputs: table of numbers, a tensor or an array, otherwise as in `interaction_spectrum`.
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
        TypeError: an argument is of the wrong kind.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> inputs = torch.rand(1000, 4, generator=generator) - 0.5
        >>> f = lambda x: torch.stack([x[:, :1], x[:, :1] * x[:, 1:2]])
        >>> spectra = stack_spectra(f, inputs, models=2, budget=10_000, generator=generator)
        >>> [spectrum.share.round(2).tolist() for spectrum in spectra]
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    check_choice("point", point, POINTS)
    check_generator(generator)
    models, budget = whole_number("models", models, least=1), whole_number("budget", budget)
    design = check_design(read_numbers(inputs, generator), blocks)
    question = Question(check_order(max_order, design), budget, point, intervals)

    def evaluate(rows: Tensor) -> Tensor:
        outputs = torch.cat([f(piece) for piece in rows.split(STACK_ROWS)], dim=1)
        if len(outputs) != models:
            raise ValueError(f"`f` must give outputs of {models} models, got shape {tuple(outputs.shape)}.")
        return outputs if outputs.is_floating_point() else outputs.double()

    with evaluation(f):
        return spectra_of(evaluate, design, question, generator)


def _check_numbers(table: Table) -> None:
    """A polynomial needs numbers to be a polynomial of."""
    if not (isinstance(table, NumberTable) and table.rows.isfinite().all()):
        raise ValueError("`control_variate` needs a tensor or an array of finite numbers as `inputs`: leave it out.")
