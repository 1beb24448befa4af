"""Small nets of one forward function each, and what it is for two of them to have the same moments."""

import torch
from torch import nn

from dropscope import moments


class Calling(nn.Module):
    """A net of one forward function `(net, x) -> y`, with a linear map and a dropout layer at hand."""

    def __init__(self, function, width=6):
        super().__init__()
        self.function, self.linear, self.drop = function, nn.Linear(width, 6), nn.Dropout(0.2)
        self.double()

    def forward(self, x):
        return self.function(self, x)


def alike(net, twin, x, method="delta", **options):
    """Both have the same moments, once they hold the same parameters."""
    twin.load_state_dict(net.state_dict())
    found, expected = (moments.propagate(each, x, method, **options) for each in (net, twin))
    torch.testing.assert_close(found.variance, expected.variance, rtol=1e-9, atol=0)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-9, atol=1e-12)


PLAIN = lambda net, x: net.linear(net.drop(x))  # noqa: E731
