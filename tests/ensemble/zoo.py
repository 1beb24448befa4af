"""Small models that drop in every way a model can, each with inputs of five rows."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dropscope import functional, layers

ROWS = 5


class Functional(nn.Module):
    """Functional dropout, and batch norm, in one module."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)

    def forward(self, x):
        h = F.dropout(F.relu(self.norm(self.first(x))), 0.5, self.training)
        return self.last(h)


class FunctionalNorm(Functional):
    """Batch norm as a function, too, which must not move."""

    def forward(self, x):
        h = self.first(x)
        h = F.batch_norm(h, self.norm.running_mean, self.norm.running_var, training=self.training)
        return self.last(F.dropout(h, 0.5, self.training))


class Ours(Functional):
    """Functional dropout of dropscope."""

    def forward(self, x):
        return self.last(functional.dropout(self.first(x), 0.5, training=self.training))


def attend(module, query, key, value, dropout=0.0, eager=False):
    if eager:
        return F.dropout((query @ key.mT).softmax(-1), p=dropout, training=module.training) @ value
    return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)


class Attention(nn.Module):
    """Attention as transformers has it: the call gets 0 in eval, whatever the children's modes."""

    def __init__(self, eager=False):
        super().__init__()
        self.qkv, self.dropout, self.eager = nn.Linear(4, 12), nn.Dropout(0.5), eager

    def forward(self, x):
        query, key, value = self.qkv(x).unflatten(-1, (2, 6)).transpose(1, 2).chunk(3, -1)
        p = 0.0 if not self.training else self.dropout.p
        return attend(self, query, key, value, dropout=p, eager=self.eager).transpose(1, 2).flatten(2)


class TorchAttention(nn.Module):
    def __init__(self, batch_first=True):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=batch_first)
        self.batch_first = batch_first

    def forward(self, x):
        x = x if self.batch_first else x.transpose(0, 1)
        y, _ = self.attention(x, x, x, need_weights=False)
        return y if self.batch_first else y.transpose(0, 1)


class TimeFirst(nn.Module):
    """Dropout on tensors whose rows lie on axis 1."""

    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, 0.3)

    def forward(self, x):
        return self.layer(x.transpose(0, 1)).transpose(0, 1)


class Recurrent(nn.Module):
    def __init__(self, kind, packed=False, **options):
        super().__init__()
        self.network = kind(4, 3, num_layers=3, dropout=0.5, batch_first=True, **options)
        self.packed = packed

    def forward(self, x):
        if self.packed:
            lengths = torch.tensor([3, 2, 1, 3, 2]).repeat(len(x) // 5 + 1)[: len(x)]
            output, _ = self.network(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            return pad_packed_sequence(output, batch_first=True, total_length=3)[0].sum(1)
        return self.network(x)[0][:, -1]


class Path(nn.Module):
    """Stochastic depth as timm and torchvision write it."""

    def __init__(self, way="bernoulli_"):
        super().__init__()
        self.drop_prob, self.way = 0.5, way

    def forward(self, x):
        if not self.training:
            return x
        shape = (len(x),) + (1,) * (x.dim() - 1)
        if self.way == "generator":
            drawn = torch.rand(size=shape, generator=torch.default_generator)
            mask = torch.floor(drawn + 1 - self.drop_prob)
        elif self.way == "rand_like":
            drawn = torch.rand_like(x.new_empty(shape), generator=torch.default_generator)
            mask = torch.floor(drawn + 1 - self.drop_prob)
        elif self.way == "bernoulli_":
            mask = x.new_empty(shape).bernoulli_(1 - self.drop_prob)
        else:
            mask = torch.floor(torch.rand(shape, dtype=x.dtype, device=x.device) + 1 - self.drop_prob)
        return x * mask / (1 - self.drop_prob)


class DropPath(Path):
    """The same, by the name that sites are found by."""


class Residual(nn.Module):
    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return x + self.branch(x)


def mlp(*inner, features=4):
    return nn.Sequential(nn.Linear(features, 8), nn.ReLU(), *inner, nn.Linear(8, 2))


def convolutional(dropout):
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), dropout, nn.Flatten(), nn.Linear(36, 2)
    )


def rows(*shape):
    return torch.randn(ROWS, *shape, generator=torch.Generator().manual_seed(0))


FLAT, IMAGE, SEQUENCE = rows(4), rows(2, 5, 5), rows(3, 4)
DECODER = {"d_model": 4, "nhead": 2, "dim_feedforward": 8, "dropout": 0.3, "batch_first": True}

# name: (model, inputs); the masks of all belong to the rows.
BY_ROWS = {
    "root is dropout": lambda: (nn.Dropout(0.5), FLAT),
    "Dropout": lambda: (mlp(nn.Dropout(0.3), nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.1)), FLAT),
    "Dropout in place": lambda: (mlp(nn.Dropout(0.3, inplace=True), nn.Linear(8, 8), nn.ReLU(inplace=True)), FLAT),
    "Dropout1d": lambda: (nn.Sequential(nn.Dropout1d(0.4), nn.Flatten(), nn.Tanh(), nn.Linear(12, 2)), SEQUENCE),
    "Dropout2d": lambda: (convolutional(nn.Sequential(nn.Dropout2d(0.4), nn.Tanh())), IMAGE),
    "Dropout3d": lambda: (nn.Sequential(nn.Dropout3d(0.4), nn.Flatten(), nn.Tanh()), rows(2, 2, 2, 2)),
    "AlphaDropout": lambda: (mlp(nn.AlphaDropout(0.4), nn.SELU(), nn.Linear(8, 8)), FLAT),
    "FeatureAlphaDropout": lambda: (convolutional(nn.Sequential(nn.FeatureAlphaDropout(0.4), nn.Tanh())), IMAGE),
    "functional": lambda: (Functional(), FLAT),
    "functional batch norm": lambda: (FunctionalNorm(), FLAT),
    "functional dropscope": lambda: (Ours(), FLAT),
    "attention as in transformers": lambda: (Attention(), SEQUENCE),
    "eager attention as in transformers": lambda: (Attention(eager=True), SEQUENCE),
    "MultiheadAttention": lambda: (TorchAttention(), SEQUENCE),
    "MultiheadAttention, time first": lambda: (TorchAttention(batch_first=False), SEQUENCE),
    "TransformerEncoder": lambda: (nn.TransformerEncoder(nn.TransformerEncoderLayer(**DECODER), 2), SEQUENCE),
    "TransformerEncoderLayer, time first": lambda: (TimeFirst(), SEQUENCE),
    "TransformerDecoderLayer": lambda: (nn.TransformerDecoderLayer(**DECODER), (SEQUENCE, SEQUENCE + 1)),
    "LSTM": lambda: (Recurrent(nn.LSTM), SEQUENCE),
    "LSTM with projections": lambda: (Recurrent(nn.LSTM, proj_size=2, bidirectional=True), SEQUENCE),
    "GRU": lambda: (Recurrent(nn.GRU, bidirectional=True), SEQUENCE),
    "RNN": lambda: (Recurrent(nn.RNN, nonlinearity="relu"), SEQUENCE),
    "drop path as in timm": lambda: (mlp(Residual(DropPath())), FLAT),
    "drop path as in transformers": lambda: (mlp(Residual(DropPath("rand")), nn.Linear(8, 8)), FLAT),
    "drop path by rand_like": lambda: (mlp(Residual(DropPath("rand_like")), nn.Linear(8, 8)), FLAT),
    "drop path with a generator": lambda: (mlp(Residual(DropPath("generator")), nn.Linear(8, 8)), FLAT),
    "layers.Dropout": lambda: (mlp(layers.Dropout(0.3), nn.Linear(8, 8), nn.ReLU()), FLAT),
    "layers.Dropout2d": lambda: (convolutional(nn.Sequential(layers.Dropout2d(0.4), nn.Tanh())), IMAGE),
    "layers.DropBlock2d": lambda: (convolutional(layers.DropBlock2d(0.3, 2)), IMAGE),
    "layers.DropPath": lambda: (mlp(Residual(layers.DropPath(0.4)), nn.ReLU()), FLAT),
    "layers.StochasticDepth": lambda: (mlp(layers.StochasticDepth(mlp(features=8)[:2], 0.4), nn.ReLU()), FLAT),
    "layers.GaussianDropout": lambda: (mlp(layers.GaussianDropout(0.3), nn.ReLU()), FLAT),
    "layers.AlphaDropout": lambda: (mlp(layers.AlphaDropout(0.3), nn.SELU()), FLAT),
    "layers.LockedDropout": lambda: (
        nn.Sequential(layers.LockedDropout(0.3, batch_first=True), nn.Tanh(), nn.Flatten()),
        SEQUENCE,
    ),
    "layers.TokenDropout": lambda: (nn.Sequential(layers.TokenDropout(0.3), nn.Tanh(), nn.Flatten()), SEQUENCE),
    "layers.ConcreteDropout": lambda: (nn.Sequential(layers.ConcreteDropout(nn.Linear(4, 2), 0.3), nn.Tanh()), FLAT),
    "layers.MultiheadAttention": lambda: (Self(layers.MultiheadAttention(4, 2, p=0.3, batch_first=True)), SEQUENCE),
    "layers.VariationalLinear": lambda: (nn.Sequential(noisy(layers.VariationalLinear(4, 2)), nn.Tanh()), FLAT),
    "layers.VariationalLSTM": lambda: (Last(layers.VariationalLSTM(4, 3, 2, p=0.3, batch_first=True)), SEQUENCE),
}

# Their masks, or some of them, belong to the whole batch.
BY_BATCHES = {
    "layers.DropConnect": lambda: (mlp(layers.DropConnect(nn.Linear(8, 8), 0.3), nn.Tanh()), FLAT),
    "layers.WeightDrop": lambda: (mlp(layers.WeightDrop(nn.Linear(8, 8), ["weight"], 0.3), nn.Tanh()), FLAT),
    "layers.LayerDrop": lambda: (mlp(layers.LayerDrop([nn.Linear(8, 8), nn.Linear(8, 8)], 0.4)), FLAT),
    "layers.EmbeddingDropout": lambda: (
        nn.Sequential(layers.EmbeddingDropout(nn.Embedding(5, 4), 0.3), nn.Flatten(), nn.Tanh()),
        torch.arange(15).view(5, 3) % 5,
    ),
    "drop path of the batch": lambda: (mlp(Residual(layers.DropPath(0.4, per=())), nn.ReLU()), FLAT),
    "DropConnect and Dropout": lambda: (
        mlp(layers.DropConnect(nn.Linear(8, 8), 0.3), nn.Tanh(), nn.Dropout(0.3), nn.Tanh()),
        FLAT,
    ),
}


class Self(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, x):
        return self.attention(x, x, x)[0]


class Last(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)[0][:, -1]


def noisy(layer):
    """Give a variational layer weights that have learned some noise."""
    layer.log_variance.data.fill_(-2.0)
    return layer


def made(case):
    """Make a model, in training mode so that whatever does not restore modes is seen, and its inputs."""
    torch.manual_seed(1)
    model, x = case()
    return model.train(), x
