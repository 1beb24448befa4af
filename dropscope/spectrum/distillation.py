"""The source paper's distillation into boosted trees of depth 1, 2, 3: for reproduction only, as it is biased."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dropscope.errors import need
from dropscope.spectrum.arguments import check_choice, check_order, whole_number
from dropscope.spectrum.calling import evaluation, examine
from dropscope.spectrum.reading import TableLike
from dropscope.spectrum.surrogate import SurrogateSpectrum, observe

__all__ = ["distill"]

Array = NDArray[np.float64]

CAVEAT = (
    "biased: trees that are measured on the rows they were fitted to credit low orders with what they memorised; "
    "the parts are divided by their sum"
)


def distill(
    f: Any,
    inputs: TableLike,
    *,
    max_order: int | None = None,
    budget: int = 1_000_000,
    scheme: str = "text",
    trees: int = 1000,
    target: int | None = None,
    generator: torch.Generator | None = None,
) -> SurrogateSpectrum:
    """Distill a model into boosted trees of growing depth, as the source paper does, and read off a biased spectrum.

    With `p_k` the prediction of trees of depth up to k, order k is `Var(p_k - p_{k-1})` and the rest `Var(f - p_K)`,
    on the very rows the trees were fitted to; each is divided by the sum of all. A pure interaction of order three is
    reported mostly as one of order two unless rows are many: `interaction_spectrum` has no such bias.

    Args:
        f: as in `interaction_spectrum`.
        inputs: as in `interaction_spectrum`; f is evaluated on its rows. Trees see a category as a number.
        max_order: greatest depth; by default 3, or the number of columns if there are fewer.
        budget: most rows to evaluate; a larger table is sampled.
        scheme: "text", trees of depth k are fitted to what shallower ones left, as the paper's text says; or "code",
            trees of each depth are fitted to f by themselves, as its published code does.
        trees: number of trees of each depth.
        target: as in `interaction_spectrum`.
        generator: source of the choice of rows. The trees draw nothing.

    Returns:
        The spectrum, without intervals.

    Raises:
        ValueError: an argument is invalid, or f is constant, random, or not finite.
        TypeError: an argument is of the wrong kind.
        MissingExtra: xgboost is not installed.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> inputs = torch.rand(500, 5, generator=generator) - 0.5
        >>> f = lambda x: x[:, :3].prod(1)  # all of it is of order three
        >>> bool(distill(f, inputs, trees=100, generator=generator).share[2] < 0.5)
        True

    Reference:
        Lengerich, Xing, Caruana, "Dropout as a regularizer of interaction effects", 2022, arXiv:2007.00823.
    """
    check_choice("scheme", scheme, ("text", "code"))
    budget, trees = whole_number("budget", budget), whole_number("trees", trees, least=1)
    subject = examine(f, inputs, None, target=target, generator=generator)
    design = subject.design
    max_order = check_order(max_order, design)

    with evaluation(f):
        rows, outputs, spent = observe(subject, budget, generator)
    predictions = _predictions(rows, outputs, max_order, trees, scheme == "text")

    steps = np.diff([np.zeros_like(outputs), *predictions, outputs], axis=0)
    parts = np.array([_variance(step) for step in steps])
    total = _variance(outputs)
    *share, rest = parts / parts.sum()

    return SurrogateSpectrum(
        share=np.array(share),
        rest=float(rest),
        low=np.full(max_order + 1, np.nan),
        high=np.full(max_order + 1, np.nan),
        total=total,
        mean_order=np.nan,
        mean_order_low=np.nan,
        mean_order_high=np.nan,
        orders=np.full(len(design.blocks), np.nan),
        budget=spent,
        method=f"distill-{scheme}",
        inputs_law="joint",
        blocks=design.blocks,
        point="in-sample",
        r2=np.array([1 - _variance(outputs - prediction) / total for prediction in predictions]),
        caveat=CAVEAT,
    )


def _predictions(rows: Array, outputs: Array, max_order: int, trees: int, residual: bool) -> list[Array]:
    """Predictions of the trees of each depth, added to those of the shallower ones if fitted to their residuals."""
    regressor = need("xgboost", "study").XGBRegressor
    predictions: list[Array] = []

    for depth in range(1, max_order + 1):
        before = predictions[-1] if residual and predictions else np.zeros_like(outputs)
        model = regressor(max_depth=depth, n_estimators=trees, n_jobs=1).fit(rows, outputs - before)
        predictions.append(before + model.predict(rows).reshape(outputs.shape))

    return predictions


def _variance(outputs: Array) -> float:
    """Variance over rows, summed over outputs."""
    return float(outputs.var(axis=0).sum())
