"""Other ways to a model's variance by interaction order, each brought to the same form: SALib, OpenTURNS, distillation.

Where a rival leaves the answer open (negative shares, orders it does not measure), every reading of it that its own
numbers allow is kept, and the benchmark scores the one nearest to the truth.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import openturns as ot
import torch
from numpy.typing import NDArray
from SALib.analyze import sobol as sobol_indices
from SALib.sample import sobol as sobol_points
from spectrum_cases import Case

from dropscope.spectrum import distill, interaction_spectrum

Shares = NDArray[np.float64]

# Rows of the table from which `dropscope` draws the inputs; the rivals are told the exact law instead.
TABLE = 100_000
# Highest degree and most rows of an expansion whose fit ends in about a minute: 265 terms of 3 inputs, 3,901 of 25.
CHAOS = {3: (12, 1000), 25: (4, 1000)}


@dataclass(frozen=True)
class Answer:
    """Shares of orders 1, 2, 3 and the rest, in every reading that a method leaves open, and the rows it evaluated."""

    readings: list[Shares]
    evaluations: int


Method = Callable[[Case, int, torch.Generator], Answer]


def dropscope(case: Case, budget: int, generator: torch.Generator, **options: Any) -> Answer:
    inputs = case.sample(TABLE, generator=generator)

    with warnings.catch_warnings():
        # A control variate that does not help says so and is left out.
        warnings.filterwarnings("ignore", message="no control variate")
        spectrum = interaction_spectrum(case.f, inputs, budget=budget, generator=generator, **options)
    return Answer([np.append(spectrum.share, spectrum.rest)], spectrum.budget)


def distillation(case: Case, budget: int, generator: torch.Generator, scheme: str) -> Answer:
    inputs = case.sample(budget, generator=generator)
    spectrum = distill(case.f, inputs, budget=budget, scheme=scheme, generator=generator)
    return Answer([np.append(spectrum.share, spectrum.rest)], spectrum.budget)


def salib(case: Case, budget: int, generator: torch.Generator) -> Answer:
    """Sums of S1 and of S2 from Saltelli's design; what they leave is split so that the mean order is the sum of ST."""
    problem = {
        "num_vars": case.n,
        "names": [f"x{i}" for i in range(case.n)],
        "bounds": [[case.low, case.high]] * case.n,
    }
    seed = int(torch.randint(2**31, (), generator=generator))

    with warnings.catch_warnings():
        # Its points are balanced in powers of two only, but more points were no worse.
        warnings.filterwarnings("ignore", message=".*powers? of 2")
        points = sobol_points.sample(problem, budget // (2 * case.n + 2), seed=seed)
    outputs = evaluate(case, points)
    indices = sobol_indices.analyze(problem, outputs, num_resamples=2, seed=seed)

    first, second = indices["S1"].sum(), np.nansum(indices["S2"])
    three = np.array([first, second, 1 - first - second])
    return Answer([_split(shares, indices["ST"].sum(), case.n) for shares in _repaired(three)], len(points))


def chaos(case: Case, budget: int, generator: torch.Generator) -> Answer:
    """OpenTURNS' sparse polynomial chaos: least angle regression over a hyperbolic basis, chosen by leave-one-out."""
    basis, size = chaos_basis(case.n)
    points = case.sample(min(budget, CHAOS[case.n][1]), generator=generator).double().numpy()
    outputs = evaluate(case, points)

    # The fastest of its decompositions; the answers are alike.
    ot.ResourceMap.SetAsString("LeastSquaresMetaModelSelection-DecompositionMethod", "Cholesky")
    selection = ot.LeastSquaresMetaModelSelectionFactory(ot.LARS(), ot.CorrectedLeaveOneOut())
    law = ot.JointDistribution([ot.Uniform(case.low, case.high)] * case.n)
    algorithm = ot.FunctionalChaosAlgorithm(
        points, outputs[:, None], law, ot.FixedStrategy(basis, size), ot.LeastSquaresStrategy(selection)
    )
    algorithm.run()
    variances = _by_order(algorithm.getResult(), basis.getEnumerateFunction())

    # Either the surrogate stands for the model, or what it does not explain is of the orders that it cannot see.
    unexplained = max(0.0, outputs.var() - variances.sum())
    all_explained = variances / variances.sum()
    beyond = np.eye(4)[min(case.n, 4) - 1]
    with_rest = (variances + unexplained * beyond) / (variances.sum() + unexplained)
    return Answer([all_explained, with_rest], len(points))


@cache
def chaos_basis(n: int) -> tuple[Any, int]:
    """The basis of n inputs and its size; listing the terms of 25 inputs takes half a minute, once."""
    enumeration = ot.HyperbolicAnisotropicEnumerateFunction(n, 0.75)
    size = enumeration.getBasisSizeFromTotalDegree(CHAOS[n][0])
    return ot.OrthogonalProductPolynomialFactory([ot.LegendreFactory()] * n, enumeration), size


def evaluate(case: Case, points: NDArray[np.float64]) -> Shares:
    """Outputs for numpy's rows, in the precision that networks compute in."""
    with torch.no_grad():
        return case.f(torch.from_numpy(points).float()).double().flatten().numpy()


def _by_order(result: Any, enumeration: Any) -> Shares:
    """Variance of an expansion's orders 1, 2, 3 and the rest: squared coefficients, summed by their multi-indices."""
    orders = [np.count_nonzero(enumeration(index)) for index in result.getIndices()]
    energy = np.square(result.getCoefficients()).ravel()
    return np.bincount(np.minimum(orders, 4), energy, minlength=5)[1:]


def _repaired(shares: Shares) -> list[Shares]:
    """Shares without negative ones: the nearest ones that sum to one, and those clipped at zero and rescaled."""
    falling = np.sort(shares)[::-1]
    excess = (falling.cumsum() - 1) / np.arange(1, len(shares) + 1)
    nearest = np.maximum(shares - excess[falling > excess][-1], 0)

    clipped = np.maximum(shares, 0)
    return [nearest, clipped / clipped.sum()]


def _split(three: Shares, mean_order: float, n: int) -> Shares:
    """Orders 1, 2, 3 and the rest from orders 1, 2 and all higher ones, taken as orders 3 and 4 with that mean."""
    first, second, higher = three
    beyond = mean_order - first - 2 * second - 3 * higher
    fourth = np.clip(beyond, 0, higher) if n > 3 else 0.0
    return np.array([first, second, higher - fourth, fourth])


METHODS: dict[str, Method] = {
    "dropscope": dropscope,
    "dropscope pce": partial(dropscope, control_variate="pce"),
    "SALib": salib,
    "OpenTURNS": chaos,
    "distill text": partial(distillation, scheme="text"),
    "distill code": partial(distillation, scheme="code"),
}
# Beyond these budgets a single answer takes the better part of an hour, or more rows are not used.
LARGEST = {"OpenTURNS": 10_000, "distill text": 100_000, "distill code": 100_000}
