"""Products of polynomials that are orthonormal when columns are drawn independently from a table."""

from itertools import product
from math import comb

import torch
from torch import Tensor

__all__ = ["MOST_FACTORS", "Polynomials"]

MOST_FACTORS = 4
# Most products offered to a fit: 4 degrees in all for 25 columns, 12 for three.
MOST_PRODUCTS = 25_000
# A column of m values has m polynomials; the norm of the next one is rounding.
VANISHED = 1e-6


class Polynomials:
    """Polynomials `q_0 = 1, q_1, ...` of each column of a table, orthonormal under the column's own values.

    Stieltjes' recurrence is `b_{j+1} q_{j+1} = (x - a_j) q_j - b_j q_{j-1}` with `a_j = E x q_j^2` and `b_j` such that
    `E q_j^2 = 1`. Products over different columns are orthonormal under the product of the columns' laws.

    A set of products is a tensor of shape (products, 4, 2): column and degree of each factor, degree 0 (the constant)
    filling up.

    Args:
        table: rows whose columns give the laws.
        highest_degree: highest total degree of a product.

    Reference:
        Gautschi, "Orthogonal Polynomials: Computation and Approximation", 2004, section 2.2.
    """

    def __init__(self, table: Tensor, highest_degree: int = 12) -> None:
        self.highest_degree = highest_degree
        columns = table.shape[1]
        self.centre = torch.zeros(columns, dtype=torch.float64)
        self.a = torch.zeros(highest_degree, columns, dtype=torch.float64)
        # b_j is 0 where the column has no q_j.
        self.b = torch.zeros(highest_degree + 1, columns, dtype=torch.float64)
        self.b[0] = 1

        for column in range(columns):
            values = table[:, column].double()
            if values.min() < values.max():
                self._fit(values - values.mean(), column)
                self.centre[column] = values.mean()

    def _fit(self, x: Tensor, column: int) -> None:
        before, q = torch.zeros_like(x), torch.ones_like(x)

        for j in range(self.highest_degree):
            a = (x * q * q).mean()
            following = (x - a) * q - (self.b[j, column] * before if j else 0)
            b = following.square().mean().sqrt()

            if j and b <= VANISHED * self.b[1, column]:
                return
            self.a[j, column], self.b[j + 1, column] = a, b
            before, q = q, following / b

    def products(self, columns: Tensor, max_order: int) -> Tensor:
        """Every product of at most `max_order` factors, up to the highest total degree that keeps them few.

        Args:
            columns: columns that may take part.
            max_order: most factors, at most 4.

        Returns:
            Products of shape (products, 4, 2).
        """
        max_order = min(max_order, MOST_FACTORS, len(columns))
        degree = self._affordable(len(columns), max_order)
        parts = []

        for order in range(1, min(max_order, degree) + 1):
            chosen = torch.combinations(columns, order)
            for degrees in product(range(1, degree + 1), repeat=order):
                if sum(degrees) <= degree:
                    part = torch.zeros(len(chosen), MOST_FACTORS, 2, dtype=torch.int64)
                    part[:, :order, 0], part[:, :order, 1] = chosen, torch.tensor(degrees)
                    parts.append(part)

        products = torch.cat(parts)
        exists = self.b[products[..., 1], products[..., 0]] > 0
        return products[exists.all(1)]

    def evaluate(self, products: Tensor, rows: Tensor) -> Tensor:
        """Values of products on rows.

        Args:
            products: as `products` gives them.
            rows: rows of shape (rows, columns).

        Returns:
            Values of shape (products, rows) in float64.
        """
        columns, place = products[..., 0].unique(return_inverse=True)
        degrees = products[..., 1]
        powers = self._powers(rows, columns, int(degrees.max()))

        values = powers[degrees[:, 0], place[:, 0]]
        for factor in range(1, MOST_FACTORS):
            if degrees[:, factor].any():
                values *= powers[degrees[:, factor], place[:, factor]]
        return values

    def _affordable(self, columns: int, max_order: int) -> int:
        """The highest total degree with few enough products."""
        degree = 1
        while (
            degree < self.highest_degree
            and sum(comb(columns, k) * comb(degree + 1, k) for k in range(1, max_order + 1)) <= MOST_PRODUCTS
        ):
            degree += 1
        return degree

    def _powers(self, rows: Tensor, columns: Tensor, degree: int) -> Tensor:
        """`q_0 ... q_degree` of some columns, of shape (degree + 1, columns, rows)."""
        device = rows.device
        x = rows[:, columns.to(device)].double().T - self.centre[columns, None].to(device)
        a, b = self.a[:, columns, None].to(device), self.b[:, columns, None].to(device)

        powers = torch.ones(degree + 1, *x.shape, dtype=torch.float64, device=device)
        for j in range(degree):
            powers[j + 1] = (x - a[j]) * powers[j]
            if j:
                powers[j + 1] -= b[j] * powers[j - 1]
            powers[j + 1] /= b[j + 1].where(b[j + 1] > 0, 1)
        return powers
