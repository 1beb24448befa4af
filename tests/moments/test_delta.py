"""The delta method: exact where outputs are linear in every draw, else of first order; every kind of site is found."""

import itertools

import pytest
import torch
from every_site import SITES, Functional
from torch import nn
from torch.nn import functional as F

from dropscope import layers, moments
from dropscope.errors import NoDropoutFound, UnsupportedModule


def double(*shape, generator):
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def all_masks(draws, p, apply):
    """Mean and variance of `apply(masks)` over all 0/1 masks, scaled."""
    outputs, weights = [], []
    for bits in itertools.product([0.0, 1.0], repeat=draws):
        mask = torch.tensor(bits, dtype=torch.float64)
        outputs.append(apply(mask / (1 - p)))
        weights.append((1 - p) ** mask.sum() * p ** (draws - mask.sum()))
    y, w = torch.stack(outputs).detach(), torch.stack(weights)
    mean = torch.tensordot(w, y, 1)
    return mean, torch.tensordot(w, (y - mean) ** 2, 1)


def test_one_site_before_a_linear_head_is_exact(generator):
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3)).double()
    x = double(5, 4, generator=generator)
    found = moments.propagate(net, x, covariance=True)
    mean, variance = all_masks(8, 0.3, lambda mask: net[3](net[1](net[0](x)) * mask))
    torch.testing.assert_close(found.mean, mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.variance, variance, rtol=0, atol=1e-10)
    exact = moments.last_layer(net[1](net[0](x)), net[3], 0.3, covariance=True)
    torch.testing.assert_close(found.covariance, exact.covariance, rtol=0, atol=1e-10)


def waves(*shape):
    """Numbers without pattern that are always the same: the order of an error shows where its factor is not near 0."""
    return torch.arange(1.0, torch.Size(shape).numel() + 1, dtype=torch.float64).square().sin().view(shape)


def fix(net):
    for parameter in net.parameters():
        parameter.data.copy_(waves(*parameter.shape))


def test_the_error_falls_as_p_squared_where_outputs_are_linear_in_each_mask():
    """Two sites in a linear net: products of masks are what the delta method leaves out."""
    net = nn.Sequential(nn.Dropout(0.0), nn.Linear(4, 5), nn.Dropout(0.0), nn.Linear(5, 2)).double()
    x = waves(3, 4)
    fix(net)
    errors = []
    for p in (0.02, 0.01, 0.005):
        net[0].p = net[2].p = p
        _, truth = all_masks(9, p, lambda mask: net[3](net[1](x * mask[:4]) * mask[4:]))
        errors.append((moments.propagate(net, x).variance - truth).abs().max().item())
    assert 3.8 < errors[0] / errors[1] < 4.3
    assert 3.9 < errors[1] / errors[2] < 4.2


def test_the_error_falls_as_the_noise_squared_for_smooth_noise_and_any_network():
    """Gaussian noise on two units of a tanh net, the truth by a product rule of quadrature."""
    net = nn.Sequential(
        nn.Linear(3, 2), layers.GaussianDropout(0.0), nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)
    ).double()
    x = waves(3, 3)
    fix(net)
    nodes, weights = (torch.tensor(each) for each in torch_hermite(24))
    errors = []
    for p in (0.02, 0.01, 0.005):
        net[1].p = p
        z = torch.cartesian_prod(nodes, nodes) * (p / (1 - p)) ** 0.5
        y = net[2:](net[0](x) * (1 + z).unsqueeze(1)).detach()
        w = torch.cartesian_prod(weights, weights).prod(1).view(-1, 1, 1)
        mean = (w * y).sum(0)
        truth = (w * (y - mean) ** 2).sum(0)
        errors.append((moments.propagate(net, x).variance - truth).abs().max().item())
    assert 3.5 < errors[0] / errors[1] < 4.5
    assert 3.7 < errors[1] / errors[2] < 4.3


def torch_hermite(count):
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


@pytest.mark.parametrize("name", SITES)
def test_every_kind_of_site_has_the_variance_of_its_samples(name, generator, seed):
    torch.manual_seed(seed)
    site = SITES[name]
    x = double(3, 6, generator=generator)
    net = nn.Sequential(nn.Linear(6, 6), site).double()
    net.append(nn.Linear(net(x).shape[1], 2).double())
    found = moments.propagate(net, x)

    n = 3000
    with torch.no_grad():
        net.train()
        samples = torch.stack([net(x) for _ in range(n)])
    centred = (samples - samples.mean(0)) ** 2
    assert ((centred.mean(0) - found.variance).abs() < 6 * centred.std(0) / n**0.5).all()
    assert ((samples.mean(0) - found.mean).abs() < 6 * samples.std(0) / n**0.5).all()


def test_functions_are_followed_as_modules_are(generator):
    head, x = nn.Linear(6, 2).double(), double(3, 6, generator=generator)
    modules = nn.Sequential(nn.Dropout(0.3), nn.Unflatten(1, (2, 3, 1)), nn.Dropout2d(0.4), nn.Flatten(), head)
    one, two = (moments.propagate(net, x) for net in (nn.Sequential(Functional(), head), modules))
    torch.testing.assert_close(one.variance, two.variance)


@pytest.mark.parametrize(
    ("kind", "options"), [(nn.LSTM, {}), (nn.GRU, {"bidirectional": True}), (nn.RNN, {"batch_first": True})]
)
def test_dropout_between_recurrent_layers_is_that_of_two_layers_with_dropout_between(kind, options, generator):
    whole = kind(3, 4, 2, dropout=0.2, **options).double()
    width = 4 * (1 + whole.bidirectional)
    first, second = kind(3, 4, **options).double(), kind(width, 4, **options).double()
    first.load_state_dict({name: value for name, value in whole.state_dict().items() if "_l0" in name})
    second.load_state_dict(
        {name.replace("_l1", "_l0"): value for name, value in whole.state_dict().items() if "_l1" in name}
    )

    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.drop = first, second, nn.Dropout(0.2)

        def forward(self, x):
            return self.second(self.drop(self.first(x)[0]))

    class Rowwise(nn.Module):
        def __init__(self, rnn):
            super().__init__()
            self.rnn = rnn

        def forward(self, x):
            return self.rnn(x)[0] if whole.batch_first else self.rnn(x.transpose(0, 1))[0].transpose(0, 1)

    x = double(2, 5, 3, generator=generator)
    one, two = (moments.propagate(Rowwise(rnn), x) for rnn in (whole, Split()))
    torch.testing.assert_close(one.variance, two.variance, rtol=1e-9, atol=0)
    torch.testing.assert_close(one.mean, whole_in_eval(Rowwise(whole), x), rtol=1e-9, atol=1e-12)


def whole_in_eval(model, x):
    with torch.no_grad():
        return model.eval()(x)


def test_a_transformer_encoder_is_sampled_around_its_fast_path(generator):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.05, batch_first=True, dtype=torch.float64)
    net = nn.TransformerEncoder(layer, 2).eval()
    x = double(3, 4, 8, generator=generator)
    with torch.no_grad():
        found = moments.propagate(net, x, output=lambda y: y[:, 0])
        net.train()
        samples = torch.stack([net(x)[:, 0] for _ in range(600)])
    assert 0.8 < (found.std / samples.std(0)).mean() < 1.2


def test_rows_do_not_depend_on_their_batch(generator):
    net = nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)
    ).double()
    x = double(6, 4, generator=generator)
    together, alone = moments.propagate(net, x), [moments.propagate(net, row) for row in x.split(1)]
    torch.testing.assert_close(together.variance, torch.cat([each.variance for each in alone]))


@pytest.mark.parametrize("rows", [1, 4])
def test_one_draw_for_the_batch_gives_each_row_its_variance(rows, generator):
    net = nn.Sequential(layers.DropPath(0.3, per=()), nn.Linear(4, 2)).double()
    x = double(rows, 4, generator=generator)
    expected = 0.3 / 0.7 * (x @ net[1].weight.T).square()
    torch.testing.assert_close(moments.propagate(net, x).variance, expected.detach())


def test_rows_that_are_mixed_are_refused(generator):
    x = double(6, 4, generator=generator)
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    with pytest.raises(ValueError, match="BatchNorm1d at '0' normalises by the batch"):
        moments.propagate(nn.Sequential(norm, nn.Dropout(0.2), nn.Linear(4, 1)).double(), x)
    with pytest.raises(ValueError, match="another output for row 3 alone"):
        moments.propagate(Centring(), x)
    with pytest.raises(ValueError, match="got outputs of shape"):
        moments.propagate(Summing(), x)
    with pytest.raises(ValueError, match="another output for row 3 alone"):
        moments.propagate(Running(), x)


class Running(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.3).cumsum(0)


class Centring(nn.Module):
    def forward(self, x):
        y = F.dropout(x, 0.3)
        return y - y.mean(0)


class Summing(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.3).sum(0)


def test_random_numbers_of_unknown_origin_are_refused():
    class Noisy(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.3) + torch.randn_like(x)

    with pytest.raises(UnsupportedModule, match="Noisy draws random numbers"):
        moments.propagate(Noisy(), torch.zeros(1, 3))


def test_dropout_that_cannot_be_followed_is_named_with_its_path():
    net = nn.Sequential(nn.Identity(), nn.Sequential(layers.TokenDropout(0.2, count="fixed")))
    with pytest.raises(UnsupportedModule, match=r"TokenDropout.*has moments only with"):
        moments.propagate(net, torch.ones(2, 3, 8))
    net = nn.Sequential(nn.Identity(), nn.Sequential(layers.DropBlock2d(1.0)))
    with pytest.raises(UnsupportedModule, match=r"DropBlock2d at '1\.0'"):
        moments.propagate(net, torch.ones(2, 3, 8, 8))


def test_without_dropout_there_is_nothing_to_say():
    for method in ("delta", "diagonal"):
        with pytest.raises(NoDropoutFound):
            moments.propagate(nn.Linear(2, 1), torch.ones(3, 2), method)
