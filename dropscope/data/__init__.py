"""Tables that come with dropscope, each with the schema that makes it a fair study."""

from dropscope.data.tables import Bundled, bundled, names

__all__ = ["Bundled", "bundled", "names"]
