"""The exact last layer against the average over every mask, and against sampling where masks are continuous."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropscope import layers
from dropscope.errors import UnsupportedModule
from dropscope.moments import last_layer


def over_all_masks(draws, p, apply):
    """Mean, variance and covariance of `apply(mask)` over all 0/1 masks of so many draws."""
    outputs, weights = [], []
    for bits in itertools.product([0.0, 1.0], repeat=draws):
        mask = torch.tensor(bits, dtype=torch.float64)
        outputs.append(apply(mask))
        weights.append((1 - p) ** mask.sum() * p ** (draws - mask.sum()))
    y, w = torch.stack(outputs), torch.stack(weights)
    mean = torch.tensordot(w, y, 1)
    centred = y - mean
    return mean, torch.tensordot(w, centred**2, 1), torch.einsum("s,s...c,s...d->...cd", w, centred, centred)


def agree(moments, mean, variance, covariance):
    close = {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(moments.mean, mean, **close)
    torch.testing.assert_close(moments.variance, variance, **close)
    torch.testing.assert_close(moments.covariance, covariance, **close)


@pytest.fixture
def rows(generator):
    return torch.randn(5, 6, dtype=torch.float64, generator=generator)


@pytest.fixture
def head():
    return nn.Linear(6, 3, dtype=torch.float64)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_dropout_equals_the_average_over_all_masks(rows, head, p):
    agree(
        last_layer(rows, head, p, covariance=True), *over_all_masks(6, p, lambda m: head(rows * m / (1 - p)).detach())
    )


def test_classical_dropout_equals_the_average_over_all_masks(rows, head):
    found = last_layer(rows, head, layers.Dropout(0.3, inverted=False), covariance=True)
    agree(found, *over_all_masks(6, 0.3, lambda m: head(rows * m).detach()))


@pytest.mark.parametrize("layer", [layers.AlphaDropout(0.3, mean=0.4, variance=2.0), nn.AlphaDropout(0.3)])
def test_alpha_dropout_equals_the_average_over_all_masks(rows, head, layer):
    mu, v = getattr(layer, "mean", 0.0), getattr(layer, "variance", 1.0)
    limit = F.selu(torch.tensor(-1e4, dtype=torch.float64))
    spread = (0.7 * v / (v + 0.3 * (mu - limit) ** 2)) ** 0.5
    found = last_layer(rows, head, layer, covariance=True)
    agree(
        found,
        *over_all_masks(6, 0.3, lambda m: head(mu + spread * ((rows - limit) * m / 0.7 + limit - mu)).detach()),
    )


@pytest.mark.parametrize(
    ("layer", "shape", "mask_shape"),
    [
        (nn.Dropout2d(0.3), (2, 3, 2, 2), (3, 1, 1)),
        (layers.Dropout2d(0.3), (2, 3, 2, 2), (3, 1, 1)),
        (layers.Dropout(0.3, per=(0, 2)), (2, 3, 2, 2), (1, 2, 1)),
        (layers.DropPath(0.3), (2, 3, 2, 2), (1, 1, 1)),
        (layers.Dropout(0.3), (2, 3, 2, 2), (3, 2, 2)),
    ],
)
def test_shared_masks_are_summed_before_squaring(layer, shape, mask_shape, generator):
    x, linear = torch.randn(shape, dtype=torch.float64, generator=generator), nn.Linear(12, 2, dtype=torch.float64)
    draws = torch.Size(mask_shape).numel()
    found = last_layer(x, linear, layer, covariance=True)
    truth = over_all_masks(draws, 0.3, lambda m: linear((x * m.view(mask_shape) / 0.7).flatten(1)).detach())
    agree(found, *truth)


def test_masks_locked_over_time_give_each_time_step_its_variance(generator):
    x, linear = torch.randn(2, 4, 3, dtype=torch.float64, generator=generator), nn.Linear(3, 2, dtype=torch.float64)
    found = last_layer(x, linear, layers.LockedDropout(0.3, batch_first=True), covariance=True)
    agree(found, *over_all_masks(3, 0.3, lambda m: linear(x * m / 0.7).detach()))


def test_whole_tokens_share_a_draw_and_the_first_ones_are_kept(generator):
    x, linear = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator), nn.Linear(4, 2, dtype=torch.float64)
    found = last_layer(x, linear, layers.TokenDropout(0.3, keep_first=1), covariance=True)
    kept = lambda m: torch.cat([torch.full((1,), 0.7, dtype=torch.float64), m]).view(3, 1) / 0.7  # noqa: E731
    agree(found, *over_all_masks(2, 0.3, lambda m: linear(x * kept(m)).detach()))


def test_drop_connect_equals_the_average_over_all_masks_of_its_weights(generator):
    x, linear = torch.randn(2, 3, dtype=torch.float64, generator=generator), nn.Linear(3, 2, dtype=torch.float64)
    found = last_layer(x, layers.DropConnect(linear, 0.3), covariance=True)
    truth = over_all_masks(6, 0.3, lambda m: F.linear(x, linear.weight * m.view(2, 3) / 0.7, linear.bias).detach())
    agree(found, *truth)


@pytest.mark.parametrize("layer", [layers.GaussianDropout(0.3), layers.UniformDropout(0.3, per=(0,))])
def test_continuous_noise_agrees_with_samples(rows, head, layer, seed):
    torch.manual_seed(seed)
    n = 40_000
    samples = head(layer(rows.repeat(n, 1))).detach().view(n, 5, 3)
    found = last_layer(rows, head, layer)
    centred = (samples - found.mean) ** 2
    assert ((samples.mean(0) - found.mean).abs() < 5.5 * samples.std(0) / n**0.5).all()
    assert ((centred.mean(0) - found.variance).abs() < 5.5 * centred.std(0) / n**0.5).all()


def test_everything_dropped_leaves_the_bias(rows, head):
    found = last_layer(rows, head, 1.0)
    assert torch.equal(found.mean, head.bias.expand(5, 3))
    assert torch.equal(found.variance, torch.zeros(5, 3, dtype=torch.float64))


def test_half_types_square_in_float32(generator):
    x, linear = (300 * torch.randn(4, 8, generator=generator)).half(), nn.Linear(8, 2).half()
    assert last_layer(x, linear, 0.5).variance.isfinite().all()


def test_what_has_no_exact_moments_is_refused(rows, head):
    with pytest.raises(UnsupportedModule, match="DropBlock2d is not a dropout layer whose law"):
        last_layer(rows, head, layers.DropBlock2d(0.1))
    with pytest.raises(ValueError, match="`dropout` must be None"):
        last_layer(rows, layers.DropConnect(head), 0.5)
    with pytest.raises(ValueError, match="must be a rate"):
        last_layer(rows, head)
    with pytest.raises(ValueError, match="6 features"):
        last_layer(rows[:, :4], head, 0.5)
