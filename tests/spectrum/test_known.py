"""Every known spectrum against brute force on a quadrature grid."""

import numpy as np
import pytest
import torch
from oracle import anova, legendre

from dropscope.spectrum import known

FUNCTIONS = {
    "product": known.product(2, 3),
    "parity": known.parity(3, 4),
    "additive": known.additive(3),
    "ishigami": known.ishigami(),
    "g_function": known.g_function([0.0, 0.5, 9.0]),
    "sine_cosine": known.sine_cosine(4),
    "mixture": known.mixture((0.5, 0.3, 0.2), n=4, terms=3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_spectrum_is_exact(name):
    function = FUNCTIONS[name]
    nodes, weights = legendre(function.low, function.high, nodes=12 if function.n == 3 else 6)
    if function.binary:
        nodes, weights = np.array([function.low, function.high]), np.ones(2)

    grid = torch.tensor(np.stack(np.meshgrid(*[nodes] * function.n, indexing="ij"), axis=-1))
    values = function(grid.view(-1, function.n)).view(grid.shape[:-1]).numpy()

    assert function.variances == pytest.approx(anova(values, [weights] * function.n), rel=1e-6, abs=1e-9)
    assert function.share.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_samples_lie_in_the_natural_range(name, generator):
    function = FUNCTIONS[name]
    rows = function.sample(500, generator=generator)

    assert rows.shape == (500, function.n)
    assert rows.min() >= function.low
    assert rows.max() <= function.high
    if function.binary:
        assert set(rows.unique().tolist()) == {function.low, function.high}


def test_evaluations_are_counted():
    function = known.product(2, 3)
    function(torch.zeros(5, 3))
    function(torch.zeros(7, 3))
    assert function.evaluations == 12


@pytest.mark.parametrize(("n", "terms"), [(4, 4), (4, 1), (5, 6)])
def test_products_of_a_mixture_must_differ(n, terms):
    with pytest.raises(ValueError, match=r"`n` must be at least [56] for"):
        known.mixture(n=n, terms=terms)
