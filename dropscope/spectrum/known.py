"""Functions whose interaction spectrum is known exactly, each with a counter of its evaluations.

Estimators and budgets can be tried on them: `function.sample(rows)` draws inputs from the law the answer holds for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import cos, pi, sin

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscope.spectrum.theory import product_variances

__all__ = [
    "KnownFunction",
    "additive",
    "g_function",
    "ishigami",
    "mixture",
    "parity",
    "product",
    "sine_cosine",
]


@dataclass(eq=False)
class KnownFunction:
    """A function of independent inputs with its exact variance per interaction order.

    Attributes:
        formula: maps rows of shape (rows, n) to outputs (rows,).
        variances: exact `W_1 ... W_n`.
        low: lower end of every input's range.
        high: upper end of every input's range.
        binary: whether inputs take only the two ends, each with chance one half, instead of all values between.
        evaluations: rows evaluated so far.
    """

    formula: Callable[[Tensor], Tensor]
    variances: NDArray[np.float64]
    low: float = -1.0
    high: float = 1.0
    binary: bool = False
    evaluations: int = field(default=0, init=False)

    @property
    def n(self) -> int:
        """Number of inputs."""
        return len(self.variances)

    @property
    def share(self) -> NDArray[np.float64]:
        """Exact share of the variance at each order, 1 to n."""
        return self.variances / self.variances.sum()

    def __call__(self, rows: Tensor) -> Tensor:
        """Evaluate the formula and count the rows."""
        self.evaluations += len(rows)
        return self.formula(rows)

    def sample(self, rows: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw inputs from the law for which the variances hold.

        Args:
            rows: number of rows.
            generator: source of the draws.

        Returns:
            Inputs of shape (rows, n).
        """
        uniform = torch.rand(rows, self.n, generator=generator)
        return self.low + (self.high - self.low) * (uniform.round() if self.binary else uniform)


def product(order: int, n: int) -> KnownFunction:
    """Product of the first inputs, uniform on [-1, 1]: all variance at one order.

    Args:
        order: number of factors.
        n: number of inputs.

    Returns:
        The function.

    Example:
        >>> product(2, 3).share
        array([0., 1., 0.])
    """
    return KnownFunction(lambda x: x[:, :order].prod(1), _only(order, n, (1 / 3) ** order))


def parity(order: int, n: int) -> KnownFunction:
    """Product of the first inputs, each -1 or 1: all variance, which is one, at one order.

    Args:
        order: number of factors.
        n: number of inputs.

    Returns:
        The function.

    Example:
        >>> parity(3, 3).variances
        array([0., 0., 1.])
    """
    return KnownFunction(lambda x: x[:, :order].prod(1), _only(order, n, 1.0), binary=True)


def additive(n: int) -> KnownFunction:
    """`sum_i i x_i` on [-1, 1]: no interactions at all.

    Args:
        n: number of inputs.

    Returns:
        The function.

    Example:
        >>> additive(3).share
        array([1., 0., 0.])
    """
    slopes = torch.arange(1.0, n + 1)
    return KnownFunction(lambda x: (x * slopes.to(x)).sum(1), _only(1, n, float(slopes.square().sum()) / 3))


def ishigami(a: float = 7.0, b: float = 0.1) -> KnownFunction:
    """`sin x0 + a sin^2 x1 + b x2^4 sin x0` on [-pi, pi]: main effects and one pair.

    Args:
        a: weight of the second input.
        b: weight of the pair.

    Returns:
        The function.

    Example:
        >>> ishigami().share.round(4)
        array([0.7563, 0.2437, 0.    ])

    Reference:
        Ishigami and Homma, "An importance quantification technique in uncertainty analysis", 1990.
    """
    variances = np.array([0.5 * (1 + b * pi**4 / 5) ** 2 + a**2 / 8, 8 * b**2 * pi**8 / 225, 0.0])
    return KnownFunction(
        lambda x: x[:, 0].sin() * (1 + b * x[:, 2] ** 4) + a * x[:, 1].sin() ** 2, variances, low=-pi, high=pi
    )


def g_function(a: Sequence[float] = (0.5,) * 5 + (2.0,) * 10 + (9.0,) * 10) -> KnownFunction:
    """`prod_i (|4 x_i - 2| + a_i) / (1 + a_i)` on [0, 1]: variance at every order.

    Args:
        a: one number per input; the larger, the less the input matters.

    Returns:
        The function.

    Example:
        >>> g_function([0.0, 0.0]).share.round(3)
        array([0.857, 0.143])

    Reference:
        Saltelli and Sobol', "About the use of rank transformation in sensitivity analysis", 1995.
    """
    weights = torch.tensor(a)

    def formula(x: Tensor) -> Tensor:
        scale = weights.to(x)
        return (((4 * x - 2).abs() + scale) / (1 + scale)).prod(1)

    return KnownFunction(formula, product_variances([1.0] * len(a), [1 / 3 / (1 + i) ** 2 for i in a]), low=0.0)


def sine_cosine(n: int = 3) -> KnownFunction:
    """`sin x0 cos x1 x2` on [-1, 1]: a product of three that is nearly a pair, as `cos` hardly leaves its mean.

    Args:
        n: number of inputs.

    Returns:
        The function.

    Example:
        >>> sine_cosine().share.round(4)
        array([0.    , 0.9735, 0.0265])

    Reference:
        Figure 7 of Lengerich, Xing, Caruana, 2022, arXiv:2007.00823, where it stands for a pure three-way effect.
    """
    variances = product_variances(
        [0.0, sin(1), 0.0], [(1 - sin(1) * cos(1)) / 2, (1 + sin(1) * cos(1)) / 2 - sin(1) ** 2, 1 / 3]
    )
    return KnownFunction(lambda x: x[:, 0].sin() * x[:, 1].cos() * x[:, 2], np.pad(variances, (0, n - 3)))


def mixture(shares: Sequence[float] = (0.4, 0.3, 0.2, 0.1), n: int = 25, terms: int = 4) -> KnownFunction:
    """A few products of neighbouring inputs for each order, uniform on [-1, 1], with chosen shares and variance one.

    Args:
        shares: share of the variance at orders 1, 2, ...; they sum to one.
        n: number of inputs, at least `terms`, and more than there are orders.
        terms: number of products of each order.

    Returns:
        The function.

    Raises:
        ValueError: there are too few inputs for products that differ.

    Example:
        >>> mixture((0.75, 0.25), n=4).share
        array([0.75, 0.25, 0.  , 0.  ])
    """
    if n < terms or n <= len(shares):
        raise ValueError(f"`n` must be at least {max(terms, len(shares) + 1)} for {terms} products an order, got {n}.")

    def formula(x: Tensor) -> Tensor:
        outputs = torch.zeros_like(x[:, 0])
        for order, share in enumerate(shares, 1):
            for start in range(terms):
                columns = [(start * n // terms + i) % n for i in range(order)]
                outputs += (share / terms * 3**order) ** 0.5 * x[:, columns].prod(1)
        return outputs

    return KnownFunction(formula, np.pad(np.array(shares), (0, n - len(shares))))


def _only(order: int, n: int, variance: float) -> NDArray[np.float64]:
    variances = np.zeros(n)
    variances[order - 1] = variance
    return variances
