"""Rates that rise or fall over the layers: as arms, in the records, in the advice and in the kept model."""

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from dropscope import study
from dropscope.report import write_report
from dropscope.study import Losses, Options, advise, decide
from dropscope.study.rates import largest, middle, profile, rate_text
from dropscope.study.result import arms_of

SMALL = {"p_input": (), "p_hidden": (0.2,), "pair": (), "seeds": 2, "epochs": 80, "width": 8, "depth": 3,
         "budget": 13_000, "batch_size": 20, "lr": 0.01, "patience": 10}  # fmt: skip
RISING, FALLING = (0.1, 0.2, 0.3), (0.3, 0.2, 0.1)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    x = np.random.default_rng(0).normal(size=(150, 3))
    y = x[:, 0] + x[:, 1] + 0.3 * x[:, 2] ** 2
    folder = tmp_path_factory.mktemp("profiles")
    return study.run(x, y, out=folder, profile=("rising", "falling"), **SMALL), folder


@pytest.mark.parametrize("depth", [2, 3, 6])
@pytest.mark.parametrize("p", [0.125, 0.6])
def test_a_profile_keeps_its_mean_and_mirrors(p, depth):
    rising, falling = profile("rising", p, depth), profile("falling", p, depth)
    assert rising == falling[::-1] == tuple(sorted(rising))
    assert middle(rising) == pytest.approx(p)
    assert (rising[0], largest(rising)) == pytest.approx((p / 2, 3 * p / 2))


def test_profiles_are_arms_after_all_others():
    plain = Options.of(**SMALL).arms()
    assert Options.of(profile="rising,falling".split(","), **SMALL).arms() == [*plain, (0.0, RISING), (0.0, FALLING)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"profile": "steep"}, "`profile` must be one of rising, falling"),
        ({"profile": "rising", "depth": 1}, "two hidden layers"),
        ({"profile": "rising", "p_hidden": 0.7}, "below 2/3"),
    ],
)
def test_what_no_profile_can_be_made_of_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Options.of(**given)


def test_profiles_survive_the_store_the_file_and_the_report(result, tmp_path):
    one, folder = result
    assert [arm.rates for arm in one.arms] == [(0.0, 0.0), (0.0, 0.2), (0.0, RISING), (0.0, FALLING)]
    loaded = study.StudyResult.load(folder / "result.json")
    assert [arm.rates for arm in loaded.arms] == [arm.rates for arm in one.arms]
    assert advise(loaded).sentences == one.advice.sentences
    again = study.run(*_data(), out=folder, profile=("rising", "falling"), **SMALL)  # every trial comes from the store
    assert again.trials == one.trials
    page = next(path for path in write_report(loaded, tmp_path) if path.endswith(".html"))
    with open(page, encoding="utf8") as text:
        assert "0.1/0.2/0.3" in text.read()


def _data():
    x = np.random.default_rng(0).normal(size=(150, 3))
    return x, x[:, 0] + x[:, 1] + 0.3 * x[:, 2] ** 2


def test_an_advised_profile_is_named_layer_by_layer(result):
    one, _ = result
    gain = {0.0: 9.0, 0.2: 8.0, rate_text(RISING): 1.0, rate_text(FALLING): 8.0}
    losses = [{"rmse": 0.01 * t["seed"] + gain[_name(t["p_hidden"])]} for t in one.trials]
    trials = [{**t, "best_epoch": 9, "select": loss, "held": loss} for t, loss in zip(one.trials, losses, strict=True)]
    references = ({"name": "constant", "label": "", "select": [{"rmse": 99.0}] * 2, "test": []},)
    made = replace(one, trials=tuple(trials), arms=arms_of(trials, "rmse", one.epochs), references=references)
    advice = advise(made)
    assert advice.p_hidden == RISING
    assert "Use p=0.1/0.2/0.3 after the hidden layers in turn" in advice.sentences[0]
    assert advice.code.splitlines() == [
        f"nn.Dropout(p={p})  # after the activation of hidden layer {layer}" for layer, p in enumerate(RISING, 1)
    ]


def _name(p_hidden):
    return rate_text(tuple(p_hidden)) if isinstance(p_hidden, list) else p_hidden


def test_of_equals_the_flat_rate_is_advised():
    arms = ((0.0, 0.0), (0.0, RISING), (0.0, 0.2), (0.0, FALLING))
    values = np.array([2.0, 1.0, 1.0, 1.0])[:, None] + 0.05 * np.outer([1, -1, 1, -1], [1, -1, 0])
    assert arms[decide(Losses(arms, values, values.mean(1), ratio=1 / 3)).arm] == (0.0, 0.2)


def test_the_kept_model_drops_layer_by_layer(tmp_path):
    result = study.run(*_data(), out=tmp_path, profile="rising", **{**SMALL, "p_hidden": (0.2,)})
    kept = study.load_model(tmp_path)
    rates = [layer.p for layer in kept.network if isinstance(layer, nn.Dropout)]
    advised = result.advice.p_hidden
    assert rates == (list(advised) if isinstance(advised, tuple) else [advised] * 3 if advised else [])
