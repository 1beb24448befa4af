"""The average of a model over its dropout masks, and how far they disagree: sampled fast, or exact where possible."""

from dropscope.ensemble import calibration as calibration
from dropscope.ensemble.detecting import Detection, detection, out_of_distribution
from dropscope.ensemble.enumeration import exact, geometric_mean, weight_scaling
from dropscope.ensemble.monte_carlo import predict
from dropscope.ensemble.orders import OrderBias
from dropscope.ensemble.prediction import Prediction
from dropscope.ensemble.switching import dropout_on

__all__ = [
    "Detection",
    "OrderBias",
    "Prediction",
    "calibration",
    "detection",
    "dropout_on",
    "exact",
    "geometric_mean",
    "out_of_distribution",
    "predict",
    "weight_scaling",
]
