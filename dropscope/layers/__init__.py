"""Dropout as modules: each holds its `p` and calls its pure function in `dropscope.functional`."""

from dropscope.layers.alpha import AlphaDropout, FeatureAlphaDropout
from dropscope.layers.attention import MultiheadAttention, ScaledDotProductAttention
from dropscope.layers.base import DropoutLayer
from dropscope.layers.blocks import DropBlock1d, DropBlock2d, DropBlock3d
from dropscope.layers.channels import Dropout1d, Dropout2d, Dropout3d
from dropscope.layers.concrete import ConcreteDropout
from dropscope.layers.divergence import kl
from dropscope.layers.elementwise import Dropout
from dropscope.layers.embedding import EmbeddingDropout
from dropscope.layers.graph import EdgeDropout, FeatureDropout, NodeDropout, PathDropout
from dropscope.layers.locked import LockedDropout
from dropscope.layers.noise import GaussianDropout, UniformDropout
from dropscope.layers.paths import DropPath, LayerDrop, StochasticDepth
from dropscope.layers.recurrent import VariationalGRU, VariationalLSTM, VariationalRNN
from dropscope.layers.tokens import HeadDropout, TokenDropout
from dropscope.layers.variational import VariationalConv2d, VariationalLinear
from dropscope.layers.weights import DropConnect, WeightDrop
from dropscope.layers.zoneout import Zoneout

__all__ = [
    "AlphaDropout",
    "ConcreteDropout",
    "DropBlock1d",
    "DropBlock2d",
    "DropBlock3d",
    "DropConnect",
    "DropPath",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "DropoutLayer",
    "EdgeDropout",
    "EmbeddingDropout",
    "FeatureAlphaDropout",
    "FeatureDropout",
    "GaussianDropout",
    "HeadDropout",
    "LayerDrop",
    "LockedDropout",
    "MultiheadAttention",
    "NodeDropout",
    "PathDropout",
    "ScaledDotProductAttention",
    "StochasticDepth",
    "TokenDropout",
    "UniformDropout",
    "VariationalConv2d",
    "VariationalGRU",
    "VariationalLSTM",
    "VariationalLinear",
    "VariationalRNN",
    "WeightDrop",
    "Zoneout",
    "kl",
]
