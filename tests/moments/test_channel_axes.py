"""Which axes number the channels, with and without a batch axis: torch's functions, its layers and our own."""

import pytest
import torch
from calling import Calling
from torch import nn
from torch.nn import functional as F

from dropscope import layers, moments

pytestmark = pytest.mark.filterwarnings("ignore:dropout2d")  # torch warns of three axes


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x, 0.3, self.training)


@pytest.mark.parametrize("method", ["delta", "diagonal", "full"])
@pytest.mark.parametrize(
    ("drop", "shape", "whole"),
    [
        (nn.Dropout1d(0.3), (6,), True),
        (nn.Dropout1d(0.3), (3, 2), False),
        (nn.Dropout2d(0.3), (3, 2), False),
        (nn.Dropout3d(0.3), (3, 2, 1), True),
        (nn.Dropout3d(0.3), (3, 2, 1, 1), False),
        (layers.Dropout1d(0.3), (6,), True),
        (layers.Dropout1d(0.3), (3, 2), False),
        (layers.Dropout2d(0.3), (3, 2), True),
        (layers.Dropout2d(0.3), (3, 2, 1), False),
        (layers.Dropout3d(0.3), (3, 2, 1), True),
        (layers.Dropout3d(0.3), (3, 2, 1, 1), False),
        (Function(F.dropout1d), (6,), True),
        (Function(F.dropout1d), (3, 2), False),
        (Function(F.dropout2d), (3, 2), False),
        (Function(F.dropout3d), (3, 2, 1), True),
        (Function(F.dropout3d), (3, 2, 1, 1), False),
    ],
    ids=lambda given: getattr(getattr(given, "function", None), "__name__", None),
)
def test_rows_are_dropped_as_a_whole_where_they_stand_for_the_channels(drop, shape, whole, method, generator, seed):
    torch.manual_seed(seed)
    dropped = drop.train()(torch.ones(100, 3, 2).view(100, *shape)).flatten(1)
    assert (dropped == dropped[:, :1]).all() == whole

    def run(net, x):
        return net.linear(net.drop(x.view(-1, *shape)).flatten(1))

    net, twin = Calling(run), Calling(run)
    net.drop, twin.drop, twin.linear = drop, layers.Dropout(0.3, per=(0,) if whole else (0, 1)), net.linear
    x = torch.randn(5, 6, dtype=torch.float64, generator=generator)
    found, expected = (moments.propagate(each, x, method) for each in (net, twin))
    torch.testing.assert_close(found.variance, expected.variance, rtol=1e-9, atol=0)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-9, atol=1e-12)


def test_a_head_on_one_sample_loses_whole_channels(generator):
    x, head = torch.randn(4, 6, dtype=torch.float64, generator=generator), nn.Linear(6, 3).double()
    expected = moments.last_layer(x, head, layers.DropPath(0.3))
    for layer in (nn.Dropout1d(0.3), layers.Dropout1d(0.3)):
        torch.testing.assert_close(moments.last_layer(x, head, layer).variance, expected.variance)
