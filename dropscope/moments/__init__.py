"""Mean and variance of a network's outputs over its dropout masks, without sampling any."""

from dropscope.errors import UnsupportedModule
from dropscope.moments.heads import last_layer
from dropscope.moments.propagation import propagate
from dropscope.moments.result import Moments
from dropscope.moments.rules import activation, register
from dropscope.moments.values import Uncertain

__all__ = ["Moments", "Uncertain", "UnsupportedModule", "activation", "last_layer", "propagate", "register"]
