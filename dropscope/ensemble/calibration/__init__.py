"""Is the uncertainty true? Measured on held-out rows, corrected there, and turned into intervals with a guarantee.

`reliability` judges class probabilities, `regression_scores` numbers and their variances. `fit_temperature`,
`fit_variance` and `noise_variance` correct them; `conformal_intervals` and `conformal_sets` need no belief in them.
"""

from dropscope.ensemble.calibration.binning import Bins
from dropscope.ensemble.calibration.confidence import Reliability, reliability
from dropscope.ensemble.calibration.conformal import (
    ConformalIntervals,
    ConformalSets,
    conformal_intervals,
    conformal_sets,
)
from dropscope.ensemble.calibration.intervals import Intervals, central_intervals
from dropscope.ensemble.calibration.regression import RegressionScores, regression_scores
from dropscope.ensemble.calibration.scaling import Temperature, fit_temperature
from dropscope.ensemble.calibration.variances import VarianceScale, fit_variance, noise_variance

__all__ = [
    "Bins",
    "ConformalIntervals",
    "ConformalSets",
    "Intervals",
    "RegressionScores",
    "Reliability",
    "Temperature",
    "VarianceScale",
    "central_intervals",
    "conformal_intervals",
    "conformal_sets",
    "fit_temperature",
    "fit_variance",
    "noise_variance",
    "regression_scores",
    "reliability",
]
