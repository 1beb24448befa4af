"""Pure functions that apply a random mask. `training` has no default: nothing is dropped, or kept, by accident."""

from dropscope.functional.elementwise import dropout

__all__ = ["dropout"]
