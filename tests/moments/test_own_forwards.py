"""Classes that only look like a known layer: by a name, or by a base whose `forward` they replace."""

import pytest
import torch
from calling import PLAIN, Calling, alike
from torch import nn

from dropscope import layers, moments
from dropscope.errors import UnsupportedModule
from dropscope.moments.noise import noise_of

METHODS = pytest.mark.parametrize("method", ["delta", "diagonal", "full"])


@pytest.fixture
def x(generator):
    return torch.randn(5, 6, dtype=torch.float64, generator=generator)


def mask(x, p):
    return (torch.rand(len(x), *[1] * (x.dim() - 1)) >= p) / (1 - p)


class StochasticDepth(nn.Module):
    """As many write it: around the branch, which it adds."""

    def __init__(self, module, p):
        super().__init__()
        self.module, self.p = module, p

    def forward(self, x):
        return x + mask(x, self.p) * self.module(x) if self.training else x + self.module(x)


class DropPath(nn.Module):
    def __init__(self, name, p):
        super().__init__()
        setattr(self, name, p)
        self.name = name

    def forward(self, x):
        return x * mask(x, getattr(self, self.name)) if self.training else x


class Twice(DropPath):
    def forward(self, x):
        return 2 * super().forward(x)


class DoubledDropPath(layers.DropPath):
    def forward(self, x):
        return 2 * super().forward(x)


@METHODS
@pytest.mark.parametrize(
    "make",
    [
        lambda: StochasticDepth(nn.Linear(6, 6), 0.3),
        lambda: DropPath("drop_rate", 0.3),
        lambda: Twice("p", 0.3),
        lambda: DoubledDropPath(0.3),
    ],
)
def test_what_only_has_the_name_of_a_drop_path_is_unknown(make, method, x):
    layer = make()
    net = nn.Sequential(nn.Dropout(0.2), layer, nn.Linear(6, 2)).double()
    with pytest.raises(UnsupportedModule, match=f"{type(layer).__name__} at '1' draws random numbers"):
        moments.propagate(net, x, method)
    with pytest.raises(UnsupportedModule, match="law of noise"):
        noise_of(layer, x)


@METHODS
@pytest.mark.parametrize("name", ["p", "drop_prob", "prob"])
def test_the_rate_of_a_drop_path_is_read_where_sites_are_found(name, method, x):
    net, twin = Calling(PLAIN), Calling(PLAIN)
    net.drop, twin.drop = DropPath(name, 0.3), layers.DropPath(0.3)
    alike(net, twin, x, method)


def doubled(base):
    """Make a class of the same name whose `forward` gives twice what its base gives."""

    def forward(self, *args, **kwargs):
        y = base.forward(self, *args, **kwargs)
        return (2 * y[0], *y[1:]) if isinstance(y, tuple) else 2 * y

    return type(base.__name__, (base,), {"forward": forward, "__module__": __name__})


def patched(base):
    """Make layers that have such a `forward` each by itself."""

    def make(*args, **kwargs):
        layer = base(*args, **kwargs)
        layer.forward = lambda *given: doubled(base).forward(layer, *given)
        return layer

    return make


BASES = [layers.Dropout, layers.FeatureDropout, layers.Dropout2d, layers.GaussianDropout, layers.TokenDropout]


@pytest.mark.parametrize("change", [doubled, patched])
@pytest.mark.parametrize("base", [nn.Dropout, nn.Dropout2d, *BASES])
def test_layers_with_a_forward_of_their_own_have_no_known_law(base, change, x):
    with pytest.raises(UnsupportedModule, match=f"{base.__name__} is not a dropout layer whose law"):
        noise_of(change(base)(0.3), x.view(5, 3, 2))
    assert noise_of(type("Same", (base,), {})(0.3), x.view(5, 3, 2)).variance is not None


CHANGED = {
    "LSTM": lambda change: change(nn.LSTM)(6, 6, 2, dropout=0.3),
    "VariationalLSTM": lambda change: change(layers.VariationalLSTM)(6, 6, p=0.3),
    "StochasticDepth": lambda change: change(layers.StochasticDepth)(nn.Linear(6, 6), 0.3),
    "LayerDrop": lambda change: change(layers.LayerDrop)([nn.Linear(6, 6)], 0.3),
    "ConcreteDropout": lambda change: change(layers.ConcreteDropout)(nn.Linear(6, 6), 0.3),
    "DropConnect": lambda change: change(layers.DropConnect)(nn.Linear(6, 6), 0.3),
    "VariationalLinear": lambda change: change(layers.VariationalLinear)(6, 6),
    "DropBlock1d": lambda change: change(layers.DropBlock1d)(0.3, 2),
    "Dropout": lambda change: change(layers.Dropout)(0.3),
    "FeatureDropout": lambda change: change(layers.FeatureDropout)(0.3),
    "GaussianDropout": lambda change: change(layers.GaussianDropout)(0.3),
    "MultiheadAttention": lambda change: change(nn.MultiheadAttention)(6, 2, dropout=0.3, batch_first=True),
}


@METHODS
@pytest.mark.parametrize("change", [doubled, patched])
@pytest.mark.parametrize("name", CHANGED)
def test_layers_that_draw_in_a_forward_of_their_own_are_refused(name, change, method, x):
    net = Calling(lambda net, x: net.drop(*[x.view(-1, 1, 6)] * (3 if name == "MultiheadAttention" else 1)))
    net.drop = CHANGED[name](change).double()
    with pytest.raises(UnsupportedModule, match=f"{name} at 'drop' draws random numbers"):
        moments.propagate(net, x, method, output=lambda y: y[0] if isinstance(y, tuple) else y)


def test_a_class_that_keeps_forward_is_what_its_base_is(x):
    same = lambda base: type("Same", (base,), {"__module__": __name__})  # noqa: E731
    for base in (nn.LSTM, nn.GRU, nn.RNN):
        nets = [Calling(lambda net, x: net.drop(x.view(-1, 1, 6))[0][:, 0]) for _ in range(2)]
        for net, kind in zip(nets, (base, same(base)), strict=True):
            net.drop = kind(6, 6, 2, dropout=0.3, batch_first=True).double()
        alike(*nets, x)
    nets = [nn.Sequential(kind([nn.Linear(6, 6)], 0.3)).double() for kind in (layers.LayerDrop, same(layers.LayerDrop))]
    alike(*nets, x)
