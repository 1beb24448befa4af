"""Networks and rows of one's own, at the top level of a file: what other processes can import."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

SMALL = {"loss": nn.MSELoss(), "metric": "rmse", "p": 0.5, "seeds": 2, "epochs": 3, "patience": 3, "budget": 13_000}


def rows(count=80, columns=3):
    """A table whose target is an interaction."""
    x = torch.randn(count, columns, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x[:, :1] + x[:, :1] * x[:, 1:2])


def load(seed):
    """Datasets of the four parts, cut anew by each seed."""
    return random_split(rows(), [40, 15, 15, 10])


def load_batches(seed):
    """The same rows in loaders of one's own, without a test part."""
    fit, stop, select, _ = load(seed)
    return DataLoader(fit, 20, shuffle=True), DataLoader(stop, 15), DataLoader(select, 15), None


def build():
    """A network with dropout at two sites."""
    return nn.Sequential(nn.Dropout(0.9), nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.9), nn.Linear(8, 1))
