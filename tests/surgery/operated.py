"""What the tests of surgery operate on: a network with every kind of site, and every layer of dropscope."""

import importlib.util
from pathlib import Path

import pytest
from torch import nn

from dropscope import layers, sites


class ScaleBy(nn.Module):
    """An own kind of another package, that fails on what it cannot take."""

    def __init__(self, drop_prob):
        super().__init__()
        self.drop_prob = drop_prob

    def __setattr__(self, name, value):
        if name == "drop_prob" and value > 0.5:
            raise RuntimeError("too much")
        super().__setattr__(name, value)


DropPath = type("DropPath", (ScaleBy,), {})


class Holder(nn.Module):
    """Calls one layer with whatever it takes."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, *inputs):
        return self.layer(*inputs)


def network():
    return nn.Sequential(
        nn.Linear(6, 6),
        nn.Dropout(0.5),
        nn.LSTM(6, 6, num_layers=2, dropout=0.3),
        nn.MultiheadAttention(6, 2, dropout=0.2),
        layers.Dropout(0.1),
        DropPath(0.4),
    )


def rates(model):
    return {site.path: site.p for site in sites.find(model)}


def layer_cases():
    """Every case of every layer's own tests."""
    for path in sorted((Path(__file__).parent.parent / "layers").glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"cases_of_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        cases = [
            case for name, value in vars(module).items() if name.isupper() and isinstance(value, list) for case in value
        ]
        yield from (pytest.param(case, id=f"{path.stem}-{case}") for case in cases if hasattr(case, "make"))
