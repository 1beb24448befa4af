"""The average of a model over its dropout masks, and how far they disagree: sampled fast, or exact where possible."""

from dropscope.ensemble.enumeration import exact, geometric_mean, weight_scaling
from dropscope.ensemble.monte_carlo import predict
from dropscope.ensemble.orders import OrderBias
from dropscope.ensemble.prediction import Prediction
from dropscope.ensemble.switching import dropout_on

__all__ = ["OrderBias", "Prediction", "dropout_on", "exact", "geometric_mean", "predict", "weight_scaling"]
