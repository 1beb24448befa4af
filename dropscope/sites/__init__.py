"""Find every dropout site of any model, whoever wrote it: where it is, its `p`, and when it drops."""

from dropscope.sites.finding import Site, find

__all__ = ["Site", "find"]
