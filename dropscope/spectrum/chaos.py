"""Sparse polynomial chaos: a sum of a few orthonormal products, fitted to a model's outputs."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dropscope.spectrum.polynomials import MOST_FACTORS, Polynomials

__all__ = ["Expansion", "fit_expansion"]

ROUNDS = 6
# Products added per round at first: one for every 20 rows, and at most 200.
MOST_ADDED = 200
ROWS_PER_ADDED = 20
# Rows and products of one block while products are ranked.
RANK_ROWS = 4000
RANK_PRODUCTS = 512
# Share of the variance below which a product is not worth keeping.
NEGLIGIBLE = 1e-8


@dataclass(frozen=True, eq=False)
class Expansion:
    """`fhat(x) = c_0 + sum_a c_a psi_a(x)` over a few orthonormal products `psi_a`.

    Attributes:
        polynomials: the orthonormal polynomials of each column.
        products: shape (products, 4, 2), as `Polynomials.products` gives them.
        coefficients: shape (products, outputs).
        constant: `c_0` of each output.
        r2: share of the variance explained on rows held out of the fit.
    """

    polynomials: Polynomials
    products: Tensor
    coefficients: Tensor
    constant: Tensor
    r2: float

    def predict(self, rows: Tensor) -> Tensor:
        """Outputs of shape (rows, outputs) in float64, for rows of shape (rows, columns)."""
        values = self.polynomials.evaluate(self.products, rows)
        return values.T @ self.coefficients.to(rows.device) + self.constant.to(rows.device)

    def variances(self, orders: int) -> Tensor:
        """Exact `W_1 ... W_orders` under the product of the columns' laws, summed over outputs: sums of `c_a^2`."""
        order = (self.products[..., 1] > 0).sum(1)
        energy = self.coefficients.square().sum(1)
        return energy.new_zeros(orders).index_add_(0, order - 1, energy)


def fit_expansion(
    polynomials: Polynomials, rows: Tensor, outputs: Tensor, max_order: int = MOST_FACTORS
) -> Expansion | None:
    """Fit a sparse expansion by stagewise least squares.

    Each round ranks all products of the columns in use by their correlation with the residual, adds the strongest,
    refits, and drops coefficients within three standard errors of zero. A round that does not predict the last fifth of
    the rows better, which is held out, is undone, and the next adds fewer. As columns fall out of use, those that stay
    get higher degrees.

    Args:
        polynomials: the orthonormal polynomials.
        rows: shape (rows, columns), in random order.
        outputs: shape (rows, outputs).
        max_order: most columns in one product.

    Returns:
        The expansion, or None if nothing predicts the held-out rows.

    Reference:
        Blatman and Sudret, "Adaptive sparse polynomial chaos expansion based on least angle regression", 2011;
        Donoho, Tsaig, Drori, Starck, "Sparse solution of underdetermined systems of linear equations by stagewise
        orthogonal matching pursuit", 2012.
    """
    rows, outputs = rows.cpu(), outputs.cpu().double()
    fitted = len(rows) * 4 // 5
    rows, held_out_rows = rows.tensor_split([fitted])
    target, held_out = outputs.tensor_split([fitted])

    best = None
    unexplained = variance = (held_out - target.mean(0)).square().sum()
    residual = target - target.mean(0)
    products = torch.empty(0, MOST_FACTORS, 2, dtype=torch.int64)
    columns = torch.arange(rows.shape[1])
    added = min(MOST_ADDED, max(1, fitted // ROWS_PER_ADDED))

    for _ in range(ROUNDS):
        if unexplained <= NEGLIGIBLE * variance:
            break

        offered = polynomials.products(columns, max_order)
        strongest = _strongest(polynomials, offered, rows, residual, added)
        expansion, left = _refit(polynomials, torch.cat([products, strongest]).unique(dim=0), rows, target)

        missed = (held_out - expansion.predict(held_out_rows)).square().sum()
        if missed >= unexplained:
            added = max(1, added // 4)
            continue

        best, products, residual = replace(expansion, r2=1 - float(missed / variance)), expansion.products, left
        columns = products[..., 0][products[..., 1] > 0].unique()
        unexplained = missed

    return best


def _strongest(polynomials: Polynomials, products: Tensor, rows: Tensor, residual: Tensor, count: int) -> Tensor:
    """The products that correlate most with the residual."""
    rows, residual = rows[:RANK_ROWS], residual[:RANK_ROWS]

    scores = []
    for part in products.split(RANK_PRODUCTS):
        values = polynomials.evaluate(part, rows)
        energy = values.square().sum(1).clamp_min(torch.finfo(values.dtype).tiny)
        scores.append((values @ residual).square().sum(1) / energy)

    return products[torch.cat(scores).topk(min(count, len(products))).indices]


def _refit(polynomials: Polynomials, products: Tensor, rows: Tensor, target: Tensor) -> tuple[Expansion, Tensor]:
    """Least squares with the products that stand out of the noise in a first fit with all, and what it leaves."""
    coefficients, _, residual = _least_squares(polynomials, products, rows, target)

    # Products are orthonormal, so all coefficients have the same standard error.
    energy = coefficients.square().sum(1)
    noise = residual.square().mean(0).sum() / len(rows)
    keep = energy > torch.maximum(9 * noise, NEGLIGIBLE * target.var(0).sum())
    keep[energy.argmax()] = True

    coefficients, constant, residual = _least_squares(polynomials, products[keep], rows, target)
    return Expansion(polynomials, products[keep], coefficients, constant, r2=0.0), residual


def _least_squares(
    polynomials: Polynomials, products: Tensor, rows: Tensor, target: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients, constant, and what they leave of the target."""
    values = polynomials.evaluate(products, rows).T
    average, mean = values.mean(0), target.mean(0)

    # Columns of a user's table may repeat one another: this driver sees ranks ("gelsy", which does too, starts from
    # memory that was never set, and its last digits differ from call to call).
    coefficients = torch.linalg.lstsq(values - average, target - mean, driver="gelsd").solution
    constant = mean - average @ coefficients
    return coefficients, constant, target - constant - values @ coefficients
