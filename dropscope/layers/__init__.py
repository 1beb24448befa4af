"""Dropout as modules: each holds its `p` and calls its pure function in `dropscope.functional`."""

from dropscope.layers.base import DropoutLayer
from dropscope.layers.elementwise import Dropout

__all__ = ["Dropout", "DropoutLayer"]
