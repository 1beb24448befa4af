"""p="auto": the rates that a study of the training rows advises."""

import math
import warnings

import numpy as np
import polars as pl
import pytest
from sklearn.exceptions import ConvergenceWarning
from small_models import classifier, product, regressor, words

from dropscope import estimators, study

QUICK = {"p_input": 0.1, "p_hidden": 0.4, "seeds": 2, "epochs": 2, "budget": 13_000}


@pytest.fixture
def advised(monkeypatch):
    """Let the study advise what a test wants to see, and keep what it was asked."""
    asked = {}

    def advise(kind, p_input=0.0, p_hidden=0.0):
        def run(table, target, **options):
            asked.update(options, table=table, target=target)
            advice = study.Advice(kind, p_input, p_hidden, ("The answer.", "The reason."), "", 0, 0, 0, None)
            return type("Result", (), {"advice": advice})()

        monkeypatch.setattr(study, "run", run)
        return asked

    return advise


def test_the_study_is_kept_and_its_advice_followed(seed):
    x, y = product(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # two epochs may not suffice
        model = regressor(p="auto", study_options=QUICK).fit(x, y)
    advice = model.study_.advice
    assert model.p_ == (advice.p_input, advice.p_hidden)  # a best guess, where the study cannot tell
    assert isinstance(model.study_, study.StudyResult)
    assert model.study_.task == "regression"
    assert model.study_.options["width"] == model.width
    assert model.study_.rows["all"] == 108  # not those that calibrate


def test_the_advised_rates_are_those_of_the_network(advised):
    asked = advised("dropout", 0.125, 0.5)
    x, y = product(0)
    model = regressor(p="auto", max_iter=2, study_options={"lr": 0.003, "name": "Mine"}).fit(x, y)
    assert model.p_ == (0.125, 0.5)
    assert [layer.p for layer in model.network_ if hasattr(layer, "p")] == [0.5]
    assert model.network_[0].dropout.p == 0.125
    assert asked["name"] == "Mine"
    assert (asked["task"], asked["lr"], asked["epochs"], asked["depth"]) == ("regression", 0.003, 2, 1)


@pytest.mark.parametrize("kind", ["no dropout", "cannot tell"])
def test_no_dropout_is_used_where_none_is_advised(kind, advised):
    advised(kind)
    assert regressor(p="auto", max_iter=2).fit(*product(0)).p_ == (0.0, 0.0)


def test_a_best_guess_is_followed(advised):
    advised("cannot tell", 0.1)
    assert regressor(p="auto", max_iter=2).fit(*product(0)).p_ == (0.1, 0.0)


@pytest.mark.parametrize(("closest", "used"), [((0.1, 0.5), (0.1, 0.5)), ((math.nan, math.nan), (0.0, 0.0))])
def test_a_void_study_is_said_and_what_comes_closest_is_used(closest, used, advised):
    advised("void", *closest)
    with pytest.warns(ConvergenceWarning, match="The answer. The reason."):
        assert regressor(p="auto", max_iter=2).fit(*product(0)).p_ == used


def test_the_study_sees_the_table_and_the_labels(advised):
    asked = advised("dropout", 0.0, 0.25)
    x, y = product(0)
    frame = pl.DataFrame({"x": x[:, 0], "word": np.where(x[:, 1] > 0, "up", "down")})
    classifier(p="auto", max_iter=2).fit(frame, words(y))
    assert asked["table"].columns == ["x", "word"]
    assert set(asked["target"]) == {"low", "middle", "high"}


def test_the_study_may_plan_by_time(advised):
    asked = advised("no dropout")
    regressor(p="auto", max_iter=2, study_options={"max_seconds": 5}).fit(*product(0))
    assert asked["max_seconds"] == 5
    assert "epochs" not in asked


def test_a_study_has_one_target():
    x, y = product(0)
    with pytest.raises(ValueError, match="`p` must be a number or a pair for more than one output"):
        regressor(p="auto").fit(x, np.stack([y, y], 1))


def test_a_study_needs_all_rows_at_once():
    with pytest.raises(ValueError, match="`p` must be a number or a pair for `partial_fit`"):
        estimators.DropoutRegressor(p="auto").partial_fit(*product(0))
