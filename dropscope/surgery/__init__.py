"""Change the dropout of a model that is already built: its rates, its kinds, its places, its masks."""

from dropscope.surgery.fixing import freeze
from dropscope.surgery.modules import insert, replace, strip
from dropscope.surgery.rates import set_p

__all__ = ["freeze", "insert", "replace", "set_p", "strip"]
