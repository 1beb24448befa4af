"""Models as others write them: what is followed all the same, what is refused, and that nothing is left behind."""

import copy
import random

import numpy as np
import pytest
import torch
from calling import PLAIN, Calling, alike
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from dropscope import layers, moments
from dropscope.errors import UnsupportedModule
from dropscope.moments.calls import call_of
from dropscope.moments.training import dropping


@pytest.fixture
def x(generator):
    return torch.randn(5, 6, dtype=torch.float64, generator=generator)


class OwnDropout(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        return F.dropout(x, self.p, self.training)


class AlwaysOn(nn.Dropout):
    def forward(self, x):
        return F.dropout(x, self.p, True)


@pytest.mark.parametrize("method", ["delta", "diagonal", "full"])
@pytest.mark.parametrize("kind", [OwnDropout, AlwaysOn])
def test_classes_that_call_dropout_functions_are_followed(kind, method, x):
    net = Calling(PLAIN)
    net.drop = kind(0.2)
    alike(net, Calling(PLAIN), x, method)


class SwinDropPath(nn.Module):
    """As the many of transformers do it."""

    def __init__(self, drop_prob):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        if not self.training:
            return x
        kept = torch.rand(len(x), *[1] * (x.dim() - 1)) >= self.drop_prob
        return x / (1 - self.drop_prob) * kept


@pytest.mark.parametrize("method", ["delta", "diagonal", "full"])
def test_drop_paths_of_other_packages_are_told_by_the_end_of_their_names(method, x):
    net, twin = Calling(PLAIN), Calling(PLAIN)
    net.drop, twin.drop = SwinDropPath(0.3), layers.DropPath(0.3)
    alike(net, twin, x, method)


class Masking(nn.Module):
    """Draws a mask itself, in training mode."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def forward(self, x):
        return x * (self.draw(x) > 0.3) if self.training else x


@pytest.mark.parametrize("method", ["delta", "diagonal"])
@pytest.mark.parametrize("draw", [torch.rand_like, lambda x: random.random(), lambda x: np.random.rand()])  # noqa: NPY002
def test_masks_that_a_model_draws_itself_are_refused_where_they_stand(draw, method, x):
    net = nn.Sequential(nn.Dropout(0.2), nn.Sequential(Masking(draw)), nn.Linear(6, 2)).double()
    before = torch.get_rng_state(), random.getstate()
    with pytest.raises(UnsupportedModule, match=r"Masking at '1\.0' draws random numbers"):
        moments.propagate(net, x, method)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_numbers_that_are_drawn_in_every_mode_are_refused_and_put_back(x):
    net = Calling(lambda net, x: net.drop(x) + torch.randn(6))
    before = torch.get_rng_state()
    with pytest.raises(UnsupportedModule, match="draws random numbers"):
        moments.propagate(net, x, "diagonal")
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_are_told_apart_where_time_comes_before_them(x):
    """Folded into one axis, draws of one row do not stand together."""

    def rows_first(net, x):
        return net.linear(net.drop(x.reshape(-1, 2)).view(-1, 3, 2)).sum(1)

    def time_first(net, x):
        steps = x.view(-1, 3, 2).transpose(0, 1)
        return net.linear(net.drop(steps.reshape(-1, 2)).view(3, -1, 2)).sum(0)

    alike(Calling(time_first, 2), Calling(rows_first, 2), x)


def test_words_are_dropped_in_a_row_as_a_whole_however_they_lie(generator):
    ids = torch.randint(0, 4, (5, 6), generator=generator)
    embedding = layers.EmbeddingDropout(nn.Embedding(4, 6), 0.3)

    def net(look_up):
        built = Calling(lambda net, ids: net.linear(look_up(net, ids)))
        built.drop = copy.deepcopy(embedding).double()
        return built

    rows_first = net(lambda net, ids: net.drop(ids).mean(1))
    alike(net(lambda net, ids: net.drop(ids.T).mean(0)), rows_first, ids)
    alike(net(lambda net, ids: net.drop(ids.flatten()).view(*ids.shape, 6).mean(1)), rows_first, ids)


def test_weights_dropped_over_folded_rows_are_shared_by_the_time_steps_of_a_row(x):
    def net(apply):
        built = Calling(apply)
        built.drop = layers.DropConnect(nn.Linear(2, 6), 0.3).double()
        return built

    folded = net(lambda net, x: net.linear(net.drop(x.reshape(-1, 2)).view(-1, 3, 6).sum(1)))
    alike(folded, net(lambda net, x: net.linear(net.drop(x.view(-1, 3, 2)).sum(1))), x)


def test_layers_that_are_left_out_may_share_their_weights(x):
    layer = nn.Linear(6, 6).double()
    tied, free = (nn.Sequential(layers.LayerDrop(each, 0.3)) for each in ([layer] * 2, [layer, copy.deepcopy(layer)]))
    torch.testing.assert_close(moments.propagate(tied, x).variance, moments.propagate(free, x).variance)


def test_what_runs_without_gradients_still_depends_on_the_masks(x):
    def without(net, x):
        with torch.no_grad():
            return net.linear(net.drop(x))

    alike(Calling(without), Calling(PLAIN), x)


def test_checkpoints_are_refused(x):
    """They compute a second time for the derivatives, where the noise is not found."""

    def inner(net, x):
        return net.linear(net.drop(x).tanh())

    with pytest.raises(UnsupportedModule, match=r"torch\.utils\.checkpoint"):
        moments.propagate(Calling(lambda net, x: net.linear(checkpoint(inner, net, x, use_reentrant=False))), x)


@pytest.mark.parametrize("method", ["delta", "diagonal", "full"])
@pytest.mark.parametrize(
    "output",
    [
        lambda y: y[:, :1].squeeze(-1),
        lambda y: y[..., 0],
        lambda y: y.sum(1) - y.mean(dim=1),
        torch.sigmoid,
        lambda y: (y[0] if isinstance(y, tuple) else y).tanh(),
    ],
)
def test_any_function_may_take_out_the_output(output, method, x):
    net, whole = Calling(PLAIN), Calling(lambda net, x: output(PLAIN(net, x)))
    whole.load_state_dict(net.state_dict())
    found, expected = moments.propagate(net, x, method, output=output), moments.propagate(whole, x, method)
    assert found.mean_method == expected.mean_method == ("diagonal" if method == "delta" else method)
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.variance, expected.variance)


class Twice(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def patched():
    layer = nn.Linear(6, 6)
    layer.forward = lambda x: 2 * nn.Linear.forward(layer, x)
    return layer


def hooked():
    layer = nn.Linear(6, 6)
    layer.register_forward_hook(lambda module, args, output: 2 * output)
    return layer


@pytest.mark.parametrize("method", ["diagonal", "full"])
@pytest.mark.parametrize("make", [lambda: Twice(6, 6), patched, hooked])
def test_no_rule_stands_for_what_computes_something_else(make, method, x):
    layer = make().double()
    exact = moments.last_layer(x, layer, 0.2)
    found = moments.propagate(nn.Sequential(nn.Dropout(0.2), layer), x, method)
    torch.testing.assert_close(found.variance, 4 * exact.variance)
    torch.testing.assert_close(found.mean, 2 * exact.mean)


def test_hooks_of_the_model_itself_are_not_passed_by(x):
    net = nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 2)).double()
    expected = moments.propagate(net, x).variance
    net.register_forward_hook(lambda module, args, output: 3 * output)
    torch.testing.assert_close(moments.propagate(net, x).variance, 9 * expected)
    with pytest.raises(UnsupportedModule, match="Sequential has hooks"):
        moments.propagate(net, x, "diagonal")


def test_a_model_that_gives_more_in_training_mode_is_run_in_eval(x):
    def with_loss(net, x):
        y = PLAIN(net, x)
        return (y, y.sum()) if net.training else y

    alike(Calling(with_loss), Calling(PLAIN), x)


def test_recurrent_networks_without_dropout_run_in_training_mode():
    """Kernels for GPUs have derivatives only there; with dropout inside they would draw."""
    net = nn.ModuleList([nn.LSTM(6, 6), nn.GRU(6, 6, 2, dropout=0.2), layers.VariationalLSTM(6, 6, p=0.2)])
    net.forward = lambda x: x
    modes = dropping(call_of(net, torch.ones(2, 6), None))
    assert [modes[part] for part in net] == [True, False, False]


def test_lazy_modules_must_have_run():
    with pytest.raises(ValueError, match="must have run once"):
        moments.propagate(nn.Sequential(nn.Dropout(0.2), nn.LazyLinear(2)), torch.ones(3, 4))
