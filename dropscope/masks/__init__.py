"""The laws of random masks that every dropout method draws from, and the one fast sampler behind them.

A law is a mask and a scale. `law.sample(shape)` is mask times scale and has mean one, so that dropout leaves
expectations alone; `law.sample(shape, scaled=False)` is the bare mask: 0 and 1 for `Bernoulli`, as in the older
texts. `per` names the axes that get their own draw, the others share it.
"""

from dropscope.masks.arguments import check_p, draw_shape
from dropscope.masks.checkpointing import rewinding
from dropscope.masks.draws import keep, normal, scale, uniform
from dropscope.masks.laws import Bernoulli, Concrete, Gaussian, Law, Uniform
from dropscope.masks.rows import per_sample, refuse_seeds
from dropscope.masks.sampler import drop
from dropscope.masks.sources import is_traced
from dropscope.masks.tickets import ticket

__all__ = [
    "Bernoulli",
    "Concrete",
    "Gaussian",
    "Law",
    "Uniform",
    "check_p",
    "draw_shape",
    "drop",
    "is_traced",
    "keep",
    "normal",
    "per_sample",
    "refuse_seeds",
    "rewinding",
    "scale",
    "ticket",
    "uniform",
]
