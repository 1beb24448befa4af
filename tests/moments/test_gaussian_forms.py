"""Closed forms of functions of a normal variable against adaptive quadrature."""

import itertools
import math

import pytest
import torch
from scipy.integrate import quad
from torch.nn import functional as F

from dropscope.moments.gaussian import clipped, elu_mean, gelu_mean, leaky, smooth

POINTS = [(0.0, 1.0), (1.3, 0.5), (-2.0, 0.7), (3.0, 4.0), (-0.1, 1e-4), (6.5, 0.3), (-5.0, 1.0)]


def by_quadrature(function, mean, variance, kinks=()):
    """Mean, variance and mean slope of a function of one normal variable."""
    s = math.sqrt(variance)
    inner = sorted({*kinks, mean})
    edges = [mean - 12 * s, *(kink for kink in inner if abs(kink - mean) < 12 * s), mean + 12 * s]

    def average(g):
        def density(x):
            value = g(float(function(torch.tensor(x, dtype=torch.float64))), (x - mean) / s)
            return value * math.exp(-(((x - mean) / s) ** 2) / 2) / s / math.sqrt(2 * math.pi)

        return sum(quad(density, a, b, epsabs=1e-13, epsrel=1e-12, limit=200)[0] for a, b in itertools.pairwise(edges))

    first = average(lambda y, z: y)
    return first, average(lambda y, z: (y - first) ** 2), average(lambda y, z: (y - first) * z) / s


def at(mean, variance):
    return torch.tensor([mean], dtype=torch.float64), torch.tensor([variance], dtype=torch.float64)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(
    ("form", "function", "kinks"),
    [
        (clipped, torch.relu, (0.0,)),
        (lambda m, v: clipped(m, v, 0.0, 6.0), F.relu6, (0.0, 6.0)),
        (lambda m, v: clipped(m, v, -1.0, 1.0), F.hardtanh, (-1.0, 1.0)),
        (lambda m, v: leaky(m, v, 0.2), lambda x: F.leaky_relu(x, 0.2), (0.0,)),
    ],
    ids=["relu", "relu6", "hardtanh", "leaky"],
)
def test_piecewise_linear_functions_are_exact(form, function, kinks, point):
    found = [each.item() for each in form(*at(*point))]
    assert found == pytest.approx(by_quadrature(function, *point, kinks), abs=1e-10)


@pytest.mark.parametrize("point", POINTS)
def test_the_means_of_elu_and_gelu_are_exact(point):
    assert elu_mean(*at(*point), 0.8).item() == pytest.approx(
        by_quadrature(lambda x: F.elu(x, 0.8), *point, (0.0,))[0], abs=1e-10
    )
    assert gelu_mean(*at(*point)).item() == pytest.approx(by_quadrature(F.gelu, *point)[0], abs=1e-10)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("function", [torch.tanh, torch.sigmoid, F.silu, F.softplus, F.gelu])
def test_smooth_functions_are_close_by_32_nodes(function, point):
    found = [each.item() for each in smooth(function, *at(*point))]
    assert found == pytest.approx(by_quadrature(function, *point), abs=1e-3)


def test_polynomials_are_exact_by_quadrature():
    mean, variance, slope = smooth(lambda x: x**3, *at(1.0, 0.5))
    assert mean.item() == pytest.approx(1 + 3 * 0.5)
    assert slope.item() == pytest.approx(3 * (1 + 0.5))
    assert variance.item() == pytest.approx(9 * 0.5 + 36 * 0.5**2 + 15 * 0.5**3)


@pytest.mark.parametrize("mean", [100.0, -100.0, 0.0])
def test_nothing_cancels_far_from_the_kink_in_float32(mean):
    m, v = torch.tensor([mean]), torch.tensor([1e-6])
    _, variance, slope = clipped(m, v)
    expected = {100.0: 1e-6, -100.0: 0.0, 0.0: 1e-6 * (0.5 - 0.5 / math.pi)}[mean]
    assert variance.item() == pytest.approx(expected, rel=1e-4)
    assert slope.item() == pytest.approx({100.0: 1.0, -100.0: 0.0, 0.0: 0.5}[mean])


def test_what_is_known_stays_known():
    x, none = torch.tensor([-1.0, 0.0, 2.0]), torch.zeros(3)
    for form, function in ((clipped, torch.relu), (lambda m, v: smooth(torch.tanh, m, v), torch.tanh)):
        mean, variance, _ = form(x, none)
        torch.testing.assert_close(mean, function(x))
        assert variance.abs().max() < 1e-12
    assert elu_mean(x, none).isfinite().all()
