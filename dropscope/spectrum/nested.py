"""The spectrum under the data's own law: how much more each order explains, by nested cross-fitted regressions."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from dropscope.errors import need
from dropscope.spectrum.calling import Subject
from dropscope.spectrum.chaos import fit_expansion
from dropscope.spectrum.polynomials import Polynomials
from dropscope.spectrum.surrogate import SurrogateSpectrum, observe

__all__ = ["nested_spectrum"]

Array = NDArray[np.float64]
Predict = Callable[[Array], Array]

FOLDS = 5
# Higher degrees run away in the tails of rows that were held out.
HIGHEST_DEGREE = 4
# Part of each training fold that only says when to stop.
WATCHED = 5
LEARNING_RATE = 0.1
MOST_TREES = 1000
PATIENCE = 25
# Half width of a 95 % interval in standard errors.
NORMAL_95 = 1.96

CAVEAT = (
    "each R2 is a lower bound of what functions of that order can explain; "
    "its interval holds for these models, not for better ones"
)


def nested_spectrum(
    subject: Subject, max_order: int, budget: int, generator: torch.Generator | None
) -> SurrogateSpectrum:
    """Variance per order under the joint law of the table's rows, by regression.

    With `V_1 < V_2 < ...` the spaces of sums of functions of at most k columns, `W_k = R2_k - R2_{k-1}`, where `R2_k`
    is the part of the variance that the best function in `V_k` explains. It is learned on four fifths of the rows and
    measured on the fifth left out, in turn: model k adds, to model k - 1, polynomials of at most k columns and then
    boosted trees of depth k.

    Args:
        subject: the model, and the table whose rows give the law.
        max_order: highest order with a share of its own.
        budget: most rows to evaluate.
        generator: source of the choice of rows and of the folds.

    Returns:
        The spectrum; its intervals are those of the held-out R2, 1.96 standard errors over rows to each side.

    Raises:
        ValueError: a block has several columns, there are too few rows, or f is constant or random.
        MissingExtra: xgboost is not installed.

    Reference:
        Hooker, "Generalized functional ANOVA diagnostics for high-dimensional functions of dependent variables", 2007.
    """
    need("xgboost", "study")
    design = subject.design
    largest = max(map(len, design.blocks))
    if largest > 1:
        raise ValueError(f"`blocks` must hold one column each under the joint law, got one of {largest}: leave it out.")

    rows, outputs, spent = observe(subject, budget, generator)
    errors = _held_out_errors(rows, outputs, max_order)

    total = errors[0].mean()
    # Share of each order, then of what is left.
    gains = np.append(errors[:-1] - errors[1:], errors[-1:], axis=0)
    raw = gains.mean(axis=1) / total
    standard_error = (gains - raw[:, None] * errors[0]).std(axis=1) / total / len(rows) ** 0.5

    # More terms never explain less: a model that is worse on held-out rows is replaced by the one before.
    r2 = np.maximum.accumulate(np.append(0.0, raw[:-1].cumsum()))
    shares = np.append(np.diff(r2), 1 - r2[-1])

    return SurrogateSpectrum(
        share=shares[:-1],
        rest=float(shares[-1]),
        low=(shares - NORMAL_95 * standard_error).clip(0, 1),
        high=(shares + NORMAL_95 * standard_error).clip(0, 1),
        total=float(total),
        mean_order=np.nan,
        mean_order_low=np.nan,
        mean_order_high=np.nan,
        orders=np.full(len(design.blocks), np.nan),
        budget=spent,
        method="nested",
        inputs_law="joint",
        blocks=design.blocks,
        point="held-out",
        r2=r2[1:],
        caveat=CAVEAT,
    )


def _held_out_errors(rows: Array, outputs: Array, max_order: int) -> Array:
    """Squared errors of the mean and of the model of each order, shape (max_order + 1, rows), all on held-out rows."""
    filled = _filled(rows)
    polynomial = partial(_polynomial, Polynomials(torch.as_tensor(filled), HIGHEST_DEGREE))
    errors = np.empty((max_order + 1, len(rows)))
    # Rows come in random order.
    fold = np.arange(len(rows)) % FOLDS

    for held_out in (fold == index for index in range(FOLDS)):
        mean = outputs[~held_out].mean(axis=0)
        train, test = outputs[~held_out] - mean, outputs[held_out] - mean
        errors[0, held_out] = np.square(test).sum(axis=1)

        for order in range(1, max_order + 1):
            for learn, seen in ((polynomial, filled), (_trees, rows)):
                predict = learn(seen[~held_out], train, order)
                train = train - predict(seen[~held_out])
                test = test - predict(seen[held_out])
            errors[order, held_out] = np.square(test).sum(axis=1)

    return errors


def _filled(rows: Array) -> Array:
    """The rows with what is missing at the median of its column: trees know missing values, polynomials do not."""
    finite = np.isfinite(rows)
    medians = [np.median(column[there]) if there.any() else 0.0 for column, there in zip(rows.T, finite.T, strict=True)]
    return np.where(finite, rows, medians)


def _polynomial(polynomials: Polynomials, rows: Array, target: Array, order: int) -> Predict:
    """A sparse expansion in products of at most `order` columns."""
    expansion = fit_expansion(polynomials, torch.as_tensor(rows), torch.as_tensor(target), order)
    if expansion is None:
        return lambda rows: np.zeros((len(rows), target.shape[1]))
    return lambda rows: expansion.predict(torch.as_tensor(rows)).numpy()


def _trees(rows: Array, target: Array, order: int) -> Predict:
    """Boosted trees that each split on at most `order` columns, as many as help on the part that is watched."""
    model = need("xgboost", "study").XGBRegressor(
        max_depth=order,
        n_estimators=MOST_TREES,
        learning_rate=LEARNING_RATE,
        early_stopping_rounds=PATIENCE,
        n_jobs=1,
    )
    watched = len(rows) // WATCHED
    model.fit(rows[watched:], target[watched:], eval_set=[(rows[:watched], target[:watched])], verbose=False)
    return lambda rows: model.predict(rows).reshape(len(rows), -1)
