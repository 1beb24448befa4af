"""Pure functions that apply a random mask. `training` has no default: nothing is dropped, or kept, by accident."""

from dropscope.functional.alpha import alpha_dropout, feature_alpha_dropout
from dropscope.functional.attention import attention_weights, scaled_dot_product_attention
from dropscope.functional.blocks import drop_block1d, drop_block2d, drop_block3d
from dropscope.functional.channels import dropout1d, dropout2d, dropout3d
from dropscope.functional.elementwise import dropout
from dropscope.functional.graph import edge_dropout, node_dropout, path_dropout
from dropscope.functional.learned import concrete_dropout, variational_dropout, variational_kl
from dropscope.functional.locked import locked_dropout
from dropscope.functional.noise import gaussian_dropout, uniform_dropout
from dropscope.functional.paths import drop_path, layer_drop, stochastic_depth
from dropscope.functional.recurrent import variational_rnn
from dropscope.functional.tokens import head_dropout, token_dropout
from dropscope.functional.updates import zoneout
from dropscope.functional.weights import drop_connect_moments, embedding_dropout

__all__ = [
    "alpha_dropout",
    "attention_weights",
    "concrete_dropout",
    "drop_block1d",
    "drop_block2d",
    "drop_block3d",
    "drop_connect_moments",
    "drop_path",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "edge_dropout",
    "embedding_dropout",
    "feature_alpha_dropout",
    "gaussian_dropout",
    "head_dropout",
    "layer_drop",
    "locked_dropout",
    "node_dropout",
    "path_dropout",
    "scaled_dot_product_attention",
    "stochastic_depth",
    "token_dropout",
    "uniform_dropout",
    "variational_dropout",
    "variational_kl",
    "variational_rnn",
    "zoneout",
]
