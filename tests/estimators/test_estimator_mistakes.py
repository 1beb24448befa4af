"""Every mistake is one clear line that names the argument."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from small_models import classifier, product, regressor, words


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"p": 1.0}, r"`p` must be in \[0, 1\), got 1.0: it is the probability of dropping"),
        ({"p": -0.1}, r"`p` must be in \[0, 1\)"),
        ({"p": (0.1, 1.5)}, r"`p` must be in \[0, 1\), got \(0.1, 1.5\)"),
        ({"p": (0.1, 0.2, 0.3)}, r"`p` must be a number, a pair \(input p, hidden p\) or 'auto'"),
        ({"p": "automatic"}, "`p` must be a number, a pair .* or 'auto', got 'automatic'"),
        ({"p": None}, "`p` must be a number, a pair"),
        ({"p": float("nan")}, "`p` must be a number, a pair"),
        ({"width": 0}, "`width` must be a whole number of at least 1, got 0"),
        ({"depth": 1.5}, "`depth` must be a whole number of at least 1, got 1.5"),
        ({"max_iter": 0}, "`max_iter` must be a whole number of at least 1"),
        ({"batch_size": "auto"}, "`batch_size` must be a whole number of at least 1, got 'auto'"),
        ({"n_samples": 1}, "`n_samples` must be a whole number of at least 2, got 1"),
        ({"n_iter_no_change": True}, "`n_iter_no_change` must be a whole number"),
        ({"lr": 0}, "`lr` must be a positive number, got 0"),
        ({"weight_decay": -1}, "`weight_decay` must be a number of at least 0, got -1"),
        ({"optimizer": "adamx"}, "`optimizer` must be a known name, got 'adamx': did you mean `adam`"),
        ({"activation": "logistic"}, "`activation` must be a known name, got 'logistic'"),
        ({"validation_fraction": 0}, r"`validation_fraction` must be in \(0, 1\), got 0"),
        ({"calibration_fraction": 1}, r"`calibration_fraction` must be in \[0, 1\), got 1"),
        ({"early_stopping": "no"}, "`early_stopping` must be True or False, got 'no'"),
        ({"study_options": ["seeds"]}, "`study_options` must be a dict of options or None, got"),
        ({"validation_fraction": 0.5, "calibration_fraction": 0.4}, "must leave a fifth of the rows to fit"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_arguments_out_of_range_are_refused_when_fitting_begins(changed, message, method):
    with pytest.raises(ValueError, match=message):
        getattr(regressor(**changed), method)(*product(0))


def test_targets_are_numbers_that_fit_the_rows():
    x, y = product(0)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        regressor().fit(x, y[1:])
    with pytest.raises(ValueError, match="dim 3"):
        regressor().fit(x, y[:, None, None])
    with pytest.raises(ValueError, match="could not convert string to float"):
        regressor().fit(x, words(y))
    with pytest.raises(ValueError, match="requires y to be passed"):
        regressor().fit(x, None)
    with pytest.raises(ValueError, match=r"`y` must have as many outputs as before \(1\), got 2"):
        regressor().fit(x, y).partial_fit(x, np.stack([y, y], 1))


def test_rows_held_out_must_leave_some_to_train_on():
    x, y = product(0)
    with pytest.raises(ValueError, match="n_samples=2: those held out leave none to train on"):
        regressor(validation_fraction=0.3, calibration_fraction=0.5).fit(x[:2], y[:2])


def test_numbers_too_far_from_those_fitted_are_refused():
    x, y = product(0)
    with pytest.raises(ValueError, match="within 1e38 standard deviations"):
        regressor().fit(x, y).predict(1e50 * x)


@pytest.mark.parametrize("labels", [["a", None], ["a", 1]])
def test_labels_are_of_one_kind(labels):
    x, _ = product(0)
    with pytest.raises(ValueError, match="`y` must hold labels of one kind"):
        classifier().fit(x, np.array(labels * 60, object))


def test_classes_are_two_or_more_and_known():
    x, y = product(0)
    with pytest.raises(ValueError, match="`y` must hold two classes or more, got one class: `a`"):
        classifier().fit(x, np.full(120, "a"))
    with pytest.raises(ValueError, match="`classes` must be given at the first call of `partial_fit`"):
        classifier().partial_fit(x, words(y))
    with pytest.raises(ValueError, match=r"`y` must hold the classes \['high' 'low'\] alone, got `middle`"):
        classifier().partial_fit(x, words(y), classes=["low", "high"])
    with pytest.raises(ValueError, match="`classes` must be those of before"):
        classifier().fit(x, words(y)).partial_fit(x, words(y), classes=["low", "high"])


def test_an_interval_needs_calibration_rows_and_enough_of_them():
    x, y = product(0)
    with pytest.raises(NotFittedError, match="none were held out: call `fit`"):
        regressor(calibration_fraction=0).fit(x, y).predict_interval(x)
    with pytest.raises(ValueError, match=r"= 0.0769 with 12 held-out rows, got 0.05: hold out at least 19"):
        regressor().fit(x, y).predict_interval(x, 0.05)


def test_nothing_is_predicted_before_fitting():
    for ask in (
        regressor().predict,
        regressor().predict_interval,
        classifier().predict_proba,
        classifier().predict_set,
    ):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            ask(np.zeros((2, 3)))


def test_training_that_diverges_is_said():
    x, y = product(0)
    wild = {"optimizer": "sgd", "lr": 1e8, "depth": 3, "max_iter": 30}
    with pytest.raises(ValueError, match="training diverged in epoch 1: lower `lr`"):
        regressor(**wild).fit(x, y)
    later = {"optimizer": "sgd", "lr": 0.05, "p": 0, "width": 64, "max_iter": 300, "n_iter_no_change": 300}
    with pytest.warns(ConvergenceWarning, match="training diverged in epoch .* The network is that of epoch"):
        model = regressor(**later).fit(x, y)
    assert np.isfinite(model.predict(x)).all()


def test_scikit_learn_is_asked_for_by_its_extra():
    program = "import sys; sys.modules['sklearn'] = None; import dropscope.estimators"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "MissingExtra: this part needs `sklearn`" in run.stderr
    assert "pip install 'dropscope[study]'" in run.stderr
