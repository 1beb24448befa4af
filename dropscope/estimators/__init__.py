"""The scikit-learn face: networks with dropout that fit, predict and say how sure they are."""

from dropscope.errors import need

need("sklearn", "study")

from dropscope.estimators.classifier import DropoutClassifier  # noqa: E402
from dropscope.estimators.regressor import DropoutRegressor  # noqa: E402

__all__ = ["DropoutClassifier", "DropoutRegressor"]
