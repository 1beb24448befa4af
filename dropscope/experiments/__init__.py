"""Published experiments, run again: each measures what its source measured and says whether the two agree."""

from dropscope.experiments.registry import EXPERIMENTS, Experiment

__all__ = ["EXPERIMENTS", "Experiment"]
