"""Variances corrected on held-out rows: closed forms, the highest likelihood, and the truth that is found again."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dropscope import ensemble
from dropscope.ensemble.calibration import fit_variance, noise_variance, regression_scores


def drawn(n, scale, noise, generator):
    """Predicted variances, and measured values whose variance is scale · variance + noise."""
    v = torch.rand(n, generator=generator, dtype=torch.float64) * 4 + 0.1
    y = (scale * v + noise).sqrt() * torch.randn(n, generator=generator, dtype=torch.float64)
    return (torch.zeros(n, dtype=torch.float64), v), y


def loss(given, y, scale, noise):
    variance = scale * given[1] + noise
    return (variance.log() + y**2 / variance + math.log(2 * math.pi)).mean().item() / 2


def test_noise_on_equal_variances_is_what_is_left(generator):
    y = 3 * torch.randn(500, generator=generator, dtype=torch.float64)
    square = y.square().mean().item()
    assert noise_variance((torch.zeros(500), torch.full((500,), 4.0)), y) == pytest.approx(square - 4, rel=1e-4)
    assert noise_variance((torch.zeros(500), torch.full((500,), 20.0)), y) == 0
    assert noise_variance((torch.zeros(500), torch.zeros(500)), y) == pytest.approx(square)


def test_the_factor_alone_is_the_mean_of_squares(generator):
    given, y = drawn(300, 2.0, 0.0, generator)
    assert fit_variance(given, y, noise=False).scale == pytest.approx((y**2 / given[1]).mean().item())


@pytest.mark.parametrize(("scale", "noise"), [(2.0, 3.0), (0.2, 5.0), (3.0, 0.1)])
def test_no_other_pair_is_likelier(scale, noise, generator):
    given, y = drawn(400, scale, noise, generator)
    found = fit_variance(given, y)
    assert found.nll == pytest.approx(loss(given, y, found.scale, found.noise))
    assert found.nll_before == pytest.approx(loss(given, y, 1.0, 0.0))
    near = [(found.scale * f, found.noise * g) for f in (0.98, 1, 1.02) for g in (0.98, 1, 1.02)]
    others = near + [(a, b) for a in np.geomspace(0.01, 20, 40) for b in np.append(0, np.geomspace(0.01, 20, 40))]
    assert found.nll <= min(loss(given, y, a, b) for a, b in others) + 1e-12
    assert found.nll <= min(fit_variance(given, y, **{one: False}).nll for one in ("scale", "noise")) + 1e-12


def test_noise_alone_is_likeliest_too(generator):
    given, y = drawn(400, 1.0, 2.0, generator)
    found = fit_variance(given, y, scale=False)
    assert found.scale == 1
    assert found.nll <= min(loss(given, y, 1.0, found.noise + step) for step in (-0.01, 0.01))


@pytest.mark.parametrize(("still", "loud"), [(50, 50), (60, 40)])
def test_of_several_maxima_the_highest_is_taken(still, loud):
    """Some rows want hardly any noise, and others, of a larger predicted variance, want much."""
    v = torch.cat([torch.full((still,), 1e-9), torch.ones(loud)]).double()
    y = torch.cat([torch.full((still,), 1e-3), torch.full((loud,), 20**0.5)]).double()
    found = fit_variance((0 * v, v), y, scale=False).noise
    losses = np.array([loss((0 * v, v), y, 1.0, s) for s in np.geomspace(1e-7, 20, 2000)])
    assert loss((0 * v, v), y, 1.0, found) <= losses.min() + 1e-9
    turns = (losses[1:-1] < losses[:-2]) & (losses[1:-1] < losses[2:])
    assert turns.sum() == 2
    assert (found > 1) == (still == loud)


def test_the_truth_is_found_within_its_scatter(generator):
    found = [fit_variance(*drawn(2000, 1.5, 2.0, generator)) for _ in range(40)]
    for name, truth in (("scale", 1.5), ("noise", 2.0)):
        values = np.array([getattr(one, name) for one in found])
        assert abs(values.mean() - truth) < 5 * values.std(ddof=1) / math.sqrt(40) + 0.01


def test_a_correction_is_a_pair_that_scores_take(generator):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))
    x = torch.randn(200, 3, generator=generator)
    prediction = ensemble.predict(model, x)
    y = prediction.mean + 2 * torch.randn(200, 1, generator=generator)
    correction = fit_variance(prediction, y)
    mean, variance = correction(prediction)
    torch.testing.assert_close(variance.float(), correction.scale * prediction.variance + correction.noise)
    assert regression_scores((mean, variance), y).nll == pytest.approx(correction.nll)
    assert correction.nll < correction.nll_before
    assert "· variance +" in str(correction)
    assert correction.to_dict()["n_rows"] == 200


def test_bad_input_is_named():
    nothing, y = ([0.0, 0.0], [0.0, 0.0]), [1.0, 2.0]
    with pytest.raises(ValueError, match="above 0 in every row to be scaled"):
        fit_variance(nothing, y, noise=False)
    with pytest.raises(ValueError, match="must not both be off"):
        fit_variance(nothing, y, scale=False, noise=False)
    with pytest.raises(ValueError, match="must differ from its prediction"):
        noise_variance(nothing, [0.0, 0.0])
    # One row of no variance that is exactly right makes the likelihood endless; one that is not bounds it.
    sure = ([0.0] * 3, [0.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="in some row of variance 0"):
        noise_variance(sure, [0.0, 1.0, 2.0])
    assert noise_variance(sure, [0.5, 1.0, 2.0]) > 0.1
