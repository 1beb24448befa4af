"""scikit-learn's own checks of what calls itself an estimator, all of them."""

import os
import subprocess
import sys

from sklearn.utils.estimator_checks import parametrize_with_checks

from dropscope.estimators import DropoutClassifier, DropoutRegressor

SMALL = {"width": 16, "depth": 1, "lr": 0.02, "max_iter": 25, "n_samples": 4}
IMPOSSIBLE = {
    # Two copies of a row can be cut apart, one to train on and one to stop on; a row of weight 2 cannot. That rows of
    # weight 0 are as good as not there is shown in test_sample_weights.py.
    "check_sample_weight_equivalence_on_dense_data": "rows are cut and shuffled at random, repeated ones one by one",
}
ARRAY_API = f"""
from sklearn.utils.estimator_checks import estimator_checks_generator
from dropscope.estimators import DropoutClassifier, DropoutRegressor

for kind in (DropoutClassifier, DropoutRegressor):
    chosen = [pair for pair in estimator_checks_generator(kind(**{SMALL})) if "array_api" in str(pair[1])]
    for estimator, check in chosen:
        check(estimator)
        print("passed", check.func.__name__)
"""


@parametrize_with_checks(
    [DropoutRegressor(**SMALL), DropoutClassifier(**SMALL)], expected_failed_checks=lambda _: IMPOSSIBLE
)
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


def test_nor_where_scipy_speaks_the_array_api():
    # The checks of it are skipped above: they need a variable that is set before scipy is imported.
    command = [sys.executable, "-c", ARRAY_API]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "SCIPY_ARRAY_API": "1"}
    )
    assert run.stdout.count("passed check_array_api_input") == 2, run.stderr
