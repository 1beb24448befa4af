"""The rules of single modules: linear ones exactly, others against samples of normal inputs."""

import operator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropscope import layers, moments
from dropscope.moments import Uncertain, UnsupportedModule
from dropscope.moments.tracing import through
from dropscope.moments.values import Sources

SHAPES = {"rows": (2, 6), "sequence": (2, 3, 4), "image": (2, 2, 4, 4), "volume": (2, 2, 2, 4, 2)}


def draw(shape, generator):
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def uncertain(shape, generator, *, full):
    """Means and variances and, if full, covariances that are all different."""
    mean = draw(shape, generator)
    if not full:
        return Uncertain(mean, draw(shape, generator).square() + 0.1)
    sources = Sources()
    known = Uncertain.known(mean, sources).noisier(draw(shape, generator))
    mixed = known.factors + 0.3 * draw(known.factors.shape, generator)
    return known._with(mean, mixed)


def jacobian(module, x):
    """Derivatives of each row's outputs by its inputs, (rows, outputs, inputs)."""
    return torch.stack([torch.func.jacrev(lambda row: module(row[None]).flatten())(row).flatten(1) for row in x])


LINEAR = {
    "Linear": (nn.Linear(6, 3), "rows"),
    "Linear over time": (nn.Linear(4, 3), "sequence"),
    "Conv1d": (nn.Conv1d(3, 2, 2, padding=1), "sequence"),
    "Conv2d": (nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), "image"),
    "Conv3d": (nn.Conv3d(2, 2, 2), "volume"),
    "BatchNorm1d": (nn.BatchNorm1d(6), "rows"),
    "BatchNorm2d": (nn.BatchNorm2d(2), "image"),
    "LayerNorm": (nn.LayerNorm(6), "rows"),
    "LayerNorm over two axes": (nn.LayerNorm((3, 4)), "sequence"),
    "AvgPool1d": (nn.AvgPool1d(2), "sequence"),
    "AvgPool2d": (nn.AvgPool2d(3, 2, padding=1), "image"),
    "AvgPool2d without padding": (nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), "image"),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d((3, 1)), "image"),
    "Flatten": (nn.Flatten(), "image"),
    "nested": (nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(32, 4)), nn.Identity()), "image"),
}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", LINEAR)
def test_linear_maps_are_exact(name, full, generator):
    module, shape = LINEAR[name]
    module = module.double().eval()
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data.copy_(draw(tensor.shape, generator).abs() + 0.1)
    value = uncertain(SHAPES[shape], generator, full=full)
    with torch.no_grad():
        found = through(module, (value,), {}, value.sources)
        slopes = jacobian(module, value.mean)

    torch.testing.assert_close(found.mean, module(value.mean).detach(), rtol=0, atol=1e-10)
    spread = value.covariance() if full else value.variance.flatten(1).diag_embed()
    covariance = slopes @ spread @ slopes.mT
    torch.testing.assert_close(found.variance.flatten(1), covariance.diagonal(dim1=1, dim2=2), rtol=1e-9, atol=1e-10)
    if full:
        torch.testing.assert_close(found.covariance(), covariance, rtol=1e-9, atol=1e-10)


class Joins(nn.Module):
    """Residual adds, factors, cuts and joins."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Linear(6, 6)

    def forward(self, x):
        y = x + self.branch(x)
        y = 2 * y - x / 4 + 1
        y = torch.cat([y[:, :2], x.view(x.size(0), -1)], dim=1)
        y = y.unsqueeze(1).transpose(1, 2).flatten(1)
        return y + y.mean(dim=1, keepdim=True)


def test_residual_blocks_are_exact_with_covariances(generator):
    net, value = Joins().double(), uncertain((2, 6), generator, full=True)
    with torch.no_grad():
        found = through(net, (value,), {}, value.sources)
        slopes = jacobian(net, value.mean)
    torch.testing.assert_close(found.mean, net(value.mean).detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(found.covariance(), slopes @ value.covariance() @ slopes.mT, rtol=1e-9, atol=1e-10)


BENT = [
    nn.ReLU(), nn.ReLU6(), nn.Hardtanh(-0.5, 0.8), nn.LeakyReLU(0.1), nn.PReLU(6), nn.ELU(0.7), nn.SELU(), nn.GELU(),
    nn.GELU("tanh"), nn.SiLU(), nn.Tanh(), nn.Sigmoid(), nn.Softplus(), nn.Mish(), nn.BatchNorm1d(6),
]  # fmt: skip
FUNCTIONS = [F.relu, torch.relu, torch.tanh, F.silu, F.gelu, F.elu, F.leaky_relu, F.hardtanh, F.relu6, F.selu]


@pytest.mark.parametrize("bend", [*BENT, *FUNCTIONS], ids=lambda bend: getattr(bend, "__name__", str(bend)))
def test_activations_have_the_moments_of_normal_samples(bend, generator):
    module = bend if isinstance(bend, nn.Module) else Calling(bend)
    module = module.double().eval()
    value = uncertain((1, 6), generator, full=True).mapped(lambda x: x / 3)
    with torch.no_grad():
        found = through(module, (value,), {}, value.sources)
        n = 200_000
        noise = torch.randn(n, value.factors.shape[0], dtype=torch.float64, generator=generator)
        samples = module(value.mean + noise @ value.factors.squeeze(1))
    centred = (samples - samples.mean(0)) ** 2
    assert ((samples.mean(0) - found.mean[0]).abs() < 6 * samples.std(0) / n**0.5 + 1e-3).all()
    assert ((centred.mean(0) - found.variance[0]).abs() < 6 * centred.std(0) / n**0.5 + 2e-3).all()


class Calling(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("full", [False, True])
def test_the_larger_of_two_is_exact(full, generator):
    value = uncertain((1, 3, 4), generator, full=full)
    found = through(nn.MaxPool1d(2), (value,), {}, value.sources)
    n = 200_000
    if full:
        noise = torch.randn(n, len(value.factors), dtype=torch.float64, generator=generator)
        moved = torch.einsum("sk,kcl->scl", noise, value.factors[:, 0])
    else:
        moved = value.variance.sqrt() * draw((n, 3, 4), generator)
    samples = F.max_pool1d(value.mean + moved, 2)
    centred = (samples - samples.mean(0)) ** 2
    assert ((samples.mean(0) - found.mean[0]).abs() < 6 * samples.std(0) / n**0.5).all()
    assert ((centred.mean(0) - found.variance[0]).abs() < 6 * centred.std(0) / n**0.5).all()


@pytest.mark.parametrize("full", [False, True])
def test_the_largest_of_four_alike_is_close(full):
    """Of four independent standard normal variables the largest has mean 1.0294 and variance 0.4917."""
    x = Uncertain.known(torch.zeros(1, 1, 2, 2, dtype=torch.float64), Sources() if full else None)
    value = x.noisier(torch.ones_like(x.mean))
    found = through(nn.MaxPool2d(2), (value,), {}, value.sources)
    assert found.mean.item() == pytest.approx(1.0294, rel=0.01)
    assert found.variance.item() == pytest.approx(0.4917, rel=0.05)


@pytest.mark.parametrize(
    ("pool", "shape"),
    [
        (nn.MaxPool1d(3, 2, padding=1), "sequence"),
        (nn.MaxPool2d((2, 3), 1, padding=(0, 1)), "image"),
        (nn.MaxPool2d(3, 2, padding=1), "image"),
        (nn.MaxPool3d(2), "volume"),
    ],
)
@pytest.mark.parametrize("full", [False, True])
def test_max_pooling_of_what_is_known_is_max_pooling(pool, shape, full, generator):
    x = draw(SHAPES[shape], generator)
    found = through(pool, (Uncertain.known(x, Sources() if full else None),), {}, None)
    torch.testing.assert_close(found.mean, pool(x), rtol=0, atol=1e-12)
    assert found.variance.abs().max() < 1e-12


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    "layer",
    [nn.Dropout(0.3), nn.AlphaDropout(0.3), layers.GaussianDropout(0.3), layers.DropConnect(nn.Linear(6, 4), 0.3)],
)
def test_dropout_of_uncertain_inputs_is_exact(layer, full, generator, seed):
    torch.manual_seed(seed)
    layer, value = layer.double(), uncertain((1, 6), generator, full=full)
    n = 60_000
    if full:
        noise = torch.randn(n, len(value.factors), dtype=torch.float64, generator=generator)
        x = value.mean + noise @ value.factors.flatten(1)
    else:
        x = value.mean + value.variance.sqrt() * draw((n, 6), generator)
    with torch.no_grad():
        found = through(layer, (value,), {}, value.sources)
        per_row = torch.vmap(layer.train(), randomness="different") if isinstance(layer, layers.DropConnect) else layer
        samples = per_row(x)
    centred = (samples - samples.mean(0)) ** 2
    assert ((samples.mean(0) - found.mean[0]).abs() < 6 * samples.std(0) / n**0.5).all()
    assert ((centred.mean(0) - found.variance[0]).abs() < 6 * centred.std(0) / n**0.5).all()


def test_shared_draws_give_covariances(generator):
    x = draw((2, 3, 2, 2), generator)
    net = nn.Sequential(nn.Dropout2d(0.3), nn.Flatten(), nn.Linear(12, 2)).double()
    exact = moments.last_layer(x, net[2], nn.Dropout2d(0.3), covariance=True)
    found = moments.propagate(net, x, "full", covariance=True)
    torch.testing.assert_close(found.covariance, exact.covariance, rtol=1e-9, atol=0)
    torch.testing.assert_close(found.variance, exact.variance, rtol=1e-9, atol=0)


@pytest.mark.parametrize("method", ["diagonal", "full"])
def test_a_branch_that_is_dropped_as_a_whole(method, generator):
    block, x = layers.StochasticDepth(nn.Linear(6, 6), 0.3).double(), draw((3, 6), generator)
    found = moments.propagate(nn.Sequential(block), x, method)
    torch.testing.assert_close(found.variance, 3 / 7 * block.branch(x).square().detach(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("method", ["diagonal", "full"])
def test_dropout_in_parallel_branches_is_independent(method, generator):
    class Parallel(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Dropout(0.3), nn.Dropout(0.2)

        def forward(self, x):
            return self.left(x) - 2 * self.right(x)

    x = draw((3, 6), generator)
    found = moments.propagate(Parallel(), x, method)
    torch.testing.assert_close(found.variance, (3 / 7 + 4 / 4) * x.square(), rtol=1e-9, atol=0)


def test_dropout_that_was_inserted_by_a_hook_counts(generator):
    from dropscope import surgery

    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    twin = nn.Sequential(net[0], nn.ReLU(), nn.Dropout(0.2), net[2])
    x = draw((3, 6), generator)
    expected = moments.propagate(twin, x, "full")
    surgery.insert(net, lambda module: isinstance(module, nn.ReLU), lambda: nn.Dropout(0.2))
    torch.testing.assert_close(moments.propagate(net, x, "full").variance, expected.variance)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Softmax(-1))), r"Softmax at '1\.0' has no rule.*logits"),
        (nn.Sequential(nn.Dropout(0.2), nn.RReLU()), "RReLU at '1' has no rule"),
        (nn.Sequential(nn.Dropout(0.2), Calling(lambda x: x * x)), "of two tensors that dropout has touched"),
        (nn.Sequential(nn.Dropout(0.2), Calling(lambda x: x if x.sum() > 0 else -x)), "cannot be traced by torch.fx"),
        (nn.Sequential(layers.LayerDrop([nn.Linear(6, 6)], 0.2)), "LayerDrop at '0' has no rule"),
        (nn.Sequential(nn.Dropout(0.2), Calling(lambda x: x.transpose(0, 1))), "moves the rows away from axis 0"),
    ],
)
def test_what_has_no_rule_is_named_with_its_path(net, message):
    with pytest.raises(UnsupportedModule, match=message):
        moments.propagate(net, torch.randn(3, 6), "diagonal")


def test_users_add_rules():
    class Cube(nn.Module):
        def forward(self, x):
            return x**3

    net, x = nn.Sequential(layers.GaussianDropout(0.2), Cube()), torch.ones(1, 1, dtype=torch.float64)
    with pytest.raises(UnsupportedModule, match=r"pow at '1' has no rule.*moments\.register"):
        moments.propagate(net, x, "diagonal")
    moments.register(Cube, moments.activation)
    found = moments.propagate(net, x, "diagonal")
    torch.testing.assert_close(found.mean, torch.full_like(x, 1 + 3 * 0.25))
    torch.testing.assert_close(found.variance, torch.full_like(x, 9 * 0.25 + 36 * 0.25**2 + 15 * 0.25**3))


def test_operators_in_place_follow_the_same_rules(generator):
    value = uncertain((2, 3), generator, full=False)
    net = Calling(lambda x: operator.iadd(operator.imul(x, 2.0), 1.0))
    found = through(net, (value,), {}, None)
    torch.testing.assert_close(found.mean, 2 * value.mean + 1)
    torch.testing.assert_close(found.variance, 4 * value.variance)
