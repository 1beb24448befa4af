"""A finished study in the trackers that a team already uses, through their own clients.

`MlflowTracker` logs a run with one nested run for each arm, `TensorboardTracker` event files; both are opened before a
study trains, so that a wrong address is found at once.
"""

from dropscope.integrations.mlflow_runs import MlflowTracker
from dropscope.integrations.tensorboard_events import TensorboardTracker

__all__ = ["MlflowTracker", "TensorboardTracker"]
