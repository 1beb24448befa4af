"""Claims on what an interaction is: it depends on the law of the inputs, and on Booleans it is a weighted XOR."""

from collections.abc import Callable

import numpy as np
import torch
from claims_record import Finding, claim
from torch import Tensor

from dropscope.spectrum import purify, tabulate_density, tabulate_sample

CORRELATIONS = (0.01, 0.3, 0.5, 0.9, 0.99)
POINTS = np.linspace(-8, 8, 161)
EXACT = 1e-8
# Published with the paper, for its panels of correlation .99: variances and covariance, and where rows are clipped.
NOTEBOOK = np.array([[0.5, 0.99], [0.99, 0.5]])
CLIPPED = 1.0


def gaussian(r: float) -> Callable[[Tensor], Tensor]:
    precision = torch.tensor(np.linalg.inv([[1, r], [r, 1]]))
    return lambda x: torch.exp(-0.5 * torch.einsum("ri,ij,rj->r", x, precision, x))


@claim(
    "A14",
    "Fig. A.1: x1 x2 under correlation .01 is a pure interaction, under .99 most of its variance moves into main "
    "effects; the decomposition is unique given p(x)",
    "share of order one at most .01 at correlation .01 and at least .5 at .99, all equal to 4 r^2 / (1 + r^2)^2 to "
    "1e-8; and a pair effect stays the same to 1e-8 when main effects are added to its function, four times",
)
def correlated_product() -> Finding:
    shares, deviation, panels = {}, 0.0, {}
    for r in CORRELATIONS:
        table = tabulate_density(lambda x: x.prod(1), gaussian(r), [POINTS, POINTS])
        pure = purify(table.values, table.weights)
        shares[r] = float(pure.share[0])
        deviation = max(deviation, abs(shares[r] - 4 * r**2 / (1 + r**2) ** 2))

        inside = np.abs(POINTS) <= 3
        panels[str(r)] = {
            "points": POINTS[inside].tolist(),
            "main": [pure.effects[(axis,)][inside].tolist() for axis in (0, 1)],
            "pair": pure.effects[(0, 1)][np.ix_(inside, inside)].tolist(),
            "function": table.values[np.ix_(inside, inside)].tolist(),
        }

    rng = np.random.default_rng(3)
    law, values = 0.2 + rng.exponential(size=(6, 7)), rng.normal(size=(6, 7))
    pure, spread = purify(values, law), 0.0
    for _ in range(4):
        moved = purify(values + rng.normal(size=(6, 1)) + rng.normal(size=7), law)
        spread = max(spread, float(np.abs(moved.effects[(0, 1)] - pure.effects[(0, 1)]).max()))

    # What numpy draws from a covariance that has a negative eigenvalue; it warns unless told not to.
    sample = rng.multivariate_normal([0, 0], NOTEBOOK, size=1_000_000, check_valid="ignore")
    correlation = float(np.corrcoef(sample.T)[0, 1])
    grid = tabulate_sample(lambda x: x.prod(1), sample.clip(-CLIPPED, CLIPPED))
    published = float(purify(grid.values, grid.weights).share[0])

    right = shares[0.01] <= 0.01 and shares[0.99] >= 0.5 and max(deviation, spread) <= EXACT
    return Finding(
        "holds" if right else "fails",
        [
            "share of main effects: " + ", ".join(f"{share:.4f} at r = {r}" for r, share in shares.items()),
            f"deviation from 4 r^2 / (1 + r^2)^2 at most {deviation:.1e}; between five pair effects {spread:.1e}",
            f"the published covariance {NOTEBOOK.tolist()} has the eigenvalue {np.linalg.eigvalsh(NOTEBOOK)[0]:.2f}: "
            f"numpy draws correlation {correlation:.3f} from it; clipped as published, main effects {published:.3f}",
        ],
        {"shares": {str(r): share for r, share in shares.items()}, "panels": panels, "published": published},
    )


@claim(
    "A18",
    "Sec. A.3: a pure pairwise effect on Booleans is a weighted XOR",
    "for 1,000 random functions and laws on {0, 1}^2, the pair effect times the cell's weight is a multiple of "
    "(-1)^(a + b), to 1e-8 of its size",
)
def weighted_xor() -> Finding:
    rng = np.random.default_rng(5)
    sign, deviation = np.array([[1, -1], [-1, 1]]), 0.0

    for _ in range(1000):
        law = rng.dirichlet(np.ones(4)).reshape(2, 2) + 0.01
        weighted = purify(rng.normal(size=(2, 2)), law, tolerance=1e-14).effects[(0, 1)] * law * sign
        deviation = max(deviation, float(np.ptp(weighted) / np.abs(weighted).max()))

    example = purify([[0, 0], [0, 1]], [[3, 1], [1, 3]]).effects[(0, 1)]
    return Finding(
        "holds" if deviation <= EXACT else "fails",
        [
            f"largest relative deviation {deviation:.1e}",
            f"AND with weights 3 1 1 3 has the pair effect {example.round(4).tolist()}: XOR over the weights",
        ],
        {"deviation": deviation, "example": example.tolist()},
    )
