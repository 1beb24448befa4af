"""One small net, of six inputs, for every kind of dropout that there is."""

import torch
from torch import nn
from torch.nn import functional as F

from dropscope import layers


class Functional(nn.Module):
    """Dropout as functions, one of them behind a module's own `if`."""

    def forward(self, x):
        x = F.dropout(x, 0.3, training=self.training)
        return F.dropout2d(x.view(-1, 2, 3, 1), 0.4).flatten(1) if self.training else x


class Attending(nn.Module):
    """As transformers do it: the rate is passed on only in training mode."""

    def forward(self, x):
        x = x.view(-1, 1, 3, 2)
        return F.scaled_dot_product_attention(x, x, x, dropout_p=0.2 if self.training else 0.0).flatten(1)


class OnTokens(nn.Module):
    """A layer for (rows, time, features) in a net for (rows, 6)."""

    def __init__(self, layer, *, time_first=False):
        super().__init__()
        self.layer, self.time_first = layer, time_first

    def forward(self, x):
        x = x.view(-1, 3, 2)
        y = self.layer(*[x.transpose(0, 1) if self.time_first else x] * (3 if self.attends else 1))
        y = y[0] if isinstance(y, tuple) else y
        return (y.transpose(0, 1) if self.time_first else y).flatten(1)

    @property
    def attends(self):
        return isinstance(self.layer, nn.MultiheadAttention | layers.ScaledDotProductAttention)


class Words(nn.Module):
    """Looks up words, some of them twice in a row."""

    def __init__(self):
        super().__init__()
        self.table = layers.EmbeddingDropout(nn.Embedding(4, 2), 0.3)

    def forward(self, x):
        return self.table((x.view(-1, 3, 2)[..., 0] > 0).long()).flatten(1)


class Zoned(nn.Module):
    def __init__(self):
        super().__init__()
        self.zone, self.cell = layers.Zoneout(0.3), nn.Linear(6, 6)

    def forward(self, x):
        return self.zone(self.cell(x), x)


class Mixed(nn.Module):
    """One weight by two names."""

    def __init__(self):
        super().__init__()
        self.a = self.b = nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        return F.linear(x, self.a) + F.linear(x.flip(1), self.b)


class Weights(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 4)

    def forward(self, x):
        return F.linear(x, F.dropout(self.inner.weight, 0.3, self.training), self.inner.bias)


SITES = {
    "Dropout": nn.Dropout(0.3),
    "Dropout1d": OnTokens(nn.Dropout1d(0.3)),
    "Dropout2d": nn.Sequential(nn.Unflatten(1, (3, 2, 1)), nn.Dropout2d(0.3), nn.Flatten()),
    "Dropout3d": nn.Sequential(nn.Unflatten(1, (3, 2, 1, 1)), nn.Dropout3d(0.3), nn.Flatten()),
    "AlphaDropout": nn.AlphaDropout(0.3),
    "FeatureAlphaDropout": OnTokens(nn.FeatureAlphaDropout(0.3)),
    "attention function": Attending(),
    "MultiheadAttention": OnTokens(nn.MultiheadAttention(2, 1, dropout=0.3, batch_first=True)),
    "time-first MultiheadAttention": OnTokens(nn.MultiheadAttention(2, 2, dropout=0.3), time_first=True),
    "our MultiheadAttention": OnTokens(layers.MultiheadAttention(2, 1, 0.3, batch_first=True)),
    "our attention": OnTokens(layers.ScaledDotProductAttention(0.3)),
    "our Dropout per axes": OnTokens(layers.Dropout(0.3, per=(0, 2))),
    "classical Dropout": layers.Dropout(0.3, inverted=False),
    "our AlphaDropout": layers.AlphaDropout(0.3, mean=0.5),
    "GaussianDropout": layers.GaussianDropout(0.3),
    "UniformDropout": layers.UniformDropout(0.3),
    "DropPath": layers.DropPath(0.3),
    "DropPath for the batch": layers.DropPath(0.3, per=()),
    "StochasticDepth": layers.StochasticDepth(nn.Linear(6, 6), 0.3),
    "LayerDrop": layers.LayerDrop([nn.Linear(6, 6)], 0.3),
    "TokenDropout": OnTokens(layers.TokenDropout(0.3)),
    "HeadDropout": OnTokens(layers.HeadDropout(0.3)),
    "LockedDropout": OnTokens(layers.LockedDropout(0.3), time_first=True),
    "EmbeddingDropout": Words(),
    "DropConnect": layers.DropConnect(nn.Linear(6, 6), 0.3),
    "DropConnect over time": OnTokens(layers.DropConnect(nn.Linear(2, 3), 0.3)),
    "DropConnect by rows": layers.DropConnect(nn.Linear(6, 6), 0.3, per=(0,)),
    "DropConnect of a convolution": nn.Sequential(
        nn.Unflatten(1, (2, 3)), layers.DropConnect(nn.Conv1d(2, 3, 2), 0.3), nn.Flatten()
    ),
    "WeightDrop": layers.WeightDrop(nn.Sequential(nn.Linear(6, 6)), ["0.weight"], 0.3),
    "WeightDrop of a tied weight": layers.WeightDrop(Mixed(), ["a", "b"], 0.3),
    "weights dropped by a function": Weights(),
    "Zoneout": Zoned(),
    "ConcreteDropout": layers.ConcreteDropout(nn.Linear(6, 6), 0.3),
    "VariationalLinear": layers.VariationalLinear(6, 6),
}
