"""Options: the protocol's defaults, and one clear sentence for whatever lies outside."""

import pytest

from dropscope.study import Options
from dropscope.study.trial import Trial, digest, trials


def test_the_default_arms_are_the_protocols():
    hidden = [0.125, 0.25, 0.375, 0.5, 0.625]
    expected = [(0, 0), *((p, 0) for p in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)), *((0, p) for p in hidden)]
    assert Options().arms() == [*expected, *((p / 4, p) for p in hidden[::2]), (0.2, 0.5), (0.4, 0.2)]
    assert Options.of(p_input=(0, 0.3)).arms()[-1] == (0.2, 0.5)


def test_zero_is_shared_and_pairs_may_be_given():
    arms = Options.of(p_input=(0, 0.1), p_hidden=(0, 0.5), pair=((0.3, 0.3),)).arms()
    assert arms == [(0, 0), (0.1, 0), (0, 0.5), (0.3, 0.3)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"p_input": 1.0}, r"`p_input` must be in \[0, 1\), got 1.0"),
        ({"p_hidden": -0.1}, r"`p_hidden` must be in \[0, 1\)"),
        ({"p_hidden": float("nan")}, r"`p_hidden` must be in \[0, 1\)"),
        ({"p_hidden": True}, r"`p_hidden` must be in \[0, 1\)"),
        ({"pair": ((0.1, 2.0),)}, r"`pair` must be in \[0, 1\)"),
        ({"pair": ((0.1,),)}, "`pair` must be"),
        ({"p_input": 0, "p_hidden": 0}, "needs a rate above 0"),
        ({"seeds": -3}, "`seeds` must be a whole number of at least 2, got -3"),
        ({"seeds": 1}, "at least 2"),
        ({"epochs": 0}, "`epochs`"),
        ({"lr": 0}, "`lr` must be positive"),
        ({"lr": (0.1, float("inf"))}, "`lr` must be positive"),
        ({"weight_decay": -1}, "`weight_decay`"),
        ({"test": 1.0}, r"must be in \(0, 1\)"),
        ({"fractions": (0.5, 0.2, 0.2)}, "sum to 1"),
        ({"task": "ranking"}, "must be one of auto, regression, classification"),
        ({"optimizer": "adagrad"}, "must be one of adamw"),
        ({"metric": "auc"}, "`metric` must be one of"),
        ({"metric": "rmse", "task": "classification"}, "log_loss"),
        ({"epochs": 3, "max_seconds": 9}, "not both"),
        ({"max_seconds": 0}, "must be positive"),
        ({"group_column": "a", "time_column": "b"}, "cannot both cut"),
        ({"budget": 100}, "at least 13000"),
    ],
)
def test_what_lies_outside_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Options.of(**given)


def test_an_unknown_option_suggests_the_closest():
    with pytest.raises(TypeError, match="did you mean `p_hidden`"):
        Options.of(p_hiden=0.5)


def test_keys_differ_by_every_field_and_by_the_study_and_not_by_noise_in_the_12th_digit():
    base = Trial(0.1, 0.5, 1e-3, 0)
    others = [Trial(0.2, 0.5, 1e-3, 0), Trial(0.1, 0.4, 1e-3, 0), Trial(0.1, 0.5, 1e-2, 0), Trial(0.1, 0.5, 1e-3, 1)]
    keys = {trial.key("s") for trial in [base, *others]} | {base.key("t")}
    assert len(keys) == 6
    assert Trial(0.1 + 0.2 - 0.2, 0.5, 1e-3, 0).key("s") == base.key("s")
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_seed_comes_with_all_its_arms():
    listed = trials([(0, 0), (0, 0.5)], (1e-3, 1e-2), seeds=2)
    assert [trial.seed for trial in listed] == [0] * 4 + [1] * 4
