"""Change the dropout of a model that is already built: its rates, its kinds, its places, its masks."""

from dropscope.surgery.fixing import freeze
from dropscope.surgery.inserting import insert
from dropscope.surgery.modules import replace
from dropscope.surgery.rates import set_p
from dropscope.surgery.removal import strip

__all__ = ["freeze", "insert", "replace", "set_p", "strip"]
