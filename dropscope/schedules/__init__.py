"""Rates that differ: over the depth of a network, and over the steps of its training."""

from dropscope.schedules.base import Schedule
from dropscope.schedules.depth import depth_rates
from dropscope.schedules.rules import Constant, Curriculum, Early, Late, Linear

__all__ = ["Constant", "Curriculum", "Early", "Late", "Linear", "Schedule", "depth_rates"]
