"""Where dropout is studied: as arms, in names, in the advice, in the code to paste, in the report and in the store."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from torch import nn

from dropscope import study
from dropscope.errors import StoreConflict
from dropscope.report import write_report
from dropscope.report.reading import arm_name, place_arms
from dropscope.study import Options, advise
from dropscope.study.decision import at_edge
from dropscope.study.rates import PLACES, place_of, profile, single
from dropscope.study.result import arms_of
from dropscope.study.runner import LATER

SMALL = {"p_input": (0.1,), "p_hidden": (0.2, 0.4), "pair": (), "seeds": 2, "epochs": 80, "width": 8, "depth": 3,
         "budget": 13_000, "batch_size": 20, "lr": 0.01, "patience": 10}  # fmt: skip
FIRST, LAST = [(0.2, 0.0, 0.0), (0.4, 0.0, 0.0)], [(0.0, 0.0, 0.2), (0.0, 0.0, 0.4)]


def table():
    x = np.random.default_rng(0).normal(size=(150, 3))
    return x, x[:, 0] + x[:, 1] + 0.3 * x[:, 2] ** 2


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("places")
    return study.run(*table(), out=folder, places=("last", "hidden", "first"), **SMALL), folder


class TestArms:
    def test_places_that_are_not_named_leave_the_study_as_it_was(self):
        assert Options().places == LATER["places"] == ("input", "hidden", "both")
        every = Options().arms()
        assert Options.of(places=PLACES).arms()[: len(every)] == every

    @pytest.mark.parametrize("place", ["input", "hidden", "both"])
    def test_a_place_alone_has_its_own_arms_of_the_default_study(self, place):
        assert Options.of(places=place).arms() == [
            arm for arm in Options().arms() if arm == (0, 0) or place_of(arm) == place
        ]

    @pytest.mark.parametrize("depth", [2, 3, 5])
    def test_first_and_last_drop_in_one_hidden_layer_at_every_hidden_rate(self, depth):
        arms = Options.of(places=("last", "first"), p_hidden=(0.5, 0, 0.25), depth=depth).arms()
        rest = (0.0,) * (depth - 1)
        hidden = [(0.25, *rest), (0.5, *rest), (*rest, 0.25), (*rest, 0.5)]
        assert arms == [(0, 0), *((0.0, rates) for rates in hidden)]

    def test_places_and_profiles_combine(self):
        arms = Options.of(places=("input", "first"), profile="rising", p_input=0.1, p_hidden=0.2).arms()
        assert arms == [(0, 0), (0.1, 0), (0, (0.2, 0, 0)), (0, (0.1, 0.2, 0.3))]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"places": "middle"}, "`places` must be one of input, hidden, both, first, last, got 'middle'"),
            ({"places": "first", "depth": 1}, "with one, both are `hidden`"),
            ({"places": "hidden", "pair": ((0.1, 0.5),)}, "`pair` is studied at `both`"),
            ({"places": "input", "p_input": 0}, "needs a rate above 0"),
            ({"places": ()}, "needs a rate above 0"),
        ],
    )
    def test_what_cannot_be_studied_is_refused(self, given, message):
        with pytest.raises(ValueError, match=message):
            Options.of(**given)

    def test_every_arm_knows_its_place(self):
        places = {"none": [(0.0, 0.0), (0.0, (0.0, 0.0))], "input": [(0.1, 0.0)], "both": [(0.1, 0.2), (0.1, (0.2, 0))],
                  "hidden": [(0.0, 0.2), (0.0, profile("rising", 0.2, 3)), (0.0, (0.0, 0.2, 0.0)), (0.0, (0.2, 0.2))],
                  "first": [(0.0, single("first", 0.2, 4))], "last": [(0.0, single("last", 0.2, 2))]}  # fmt: skip
        for place, arms in places.items():
            assert [place_of(arm) for arm in arms] == [place] * len(arms)

    def test_the_widest_rate_of_its_own_place_is_an_edge(self):
        arms = ((0.0, 0.0), (0.0, 0.6), (0.0, FIRST[0]), (0.0, FIRST[1]))
        for best, edge in ((2, False), (3, True), (1, False)):
            assert at_edge(arms, arms[best]) is edge


class TestStudies:
    def test_arms_survive_the_store_and_the_file(self, ran):
        result, folder = ran
        expected = [0.0, 0.2, 0.4, *FIRST, *LAST]
        assert [arm.p_hidden for arm in result.arms] == expected
        loaded = study.StudyResult.load(folder / "result.json")
        assert [arm.place for arm in loaded.arms] == ["none", *(p for p in ("hidden", "first", "last") for _ in "ab")]
        assert advise(loaded).sentences == result.advice.sentences

    def test_a_network_dropping_in_its_first_layer_is_that_network_whatever_else_is_studied(self, ran):
        """Also: a store grows by places, and its trials keep their numbers."""
        result, folder = ran
        alone = study.run(*table(), places="first", **SMALL)
        wider = study.run(*table(), out=folder, places=("input", "hidden", "first", "last"), **SMALL)
        numbers = {t["key"]: {k: v for k, v in t.items() if k not in ("seconds", "pid")} for t in alone.trials}
        for found in (result, wider):
            mine = {t["key"]: {k: v for k, v in t.items() if k not in ("seconds", "pid")} for t in found.trials}
            assert numbers.items() <= mine.items()
        assert len(wider.trials) == len(result.trials) + 2

    def test_an_advised_place_is_named_and_pasted(self, ran):
        result, _ = ran
        for place, rates, layer in (("first", FIRST[0], 1), ("last", LAST[1], 3)):
            advice = advised(result, rates)
            assert advice.p_hidden == rates
            assert f"Use p={max(rates)} after the {place} hidden layer alone" in advice.sentences[0]
            assert advice.code == f"nn.Dropout(p={max(rates)})  # after the activation of hidden layer {layer}"

    def test_the_report_has_a_panel_for_every_place(self, ran, tmp_path):
        result, _ = ran
        assert [p for p, _ in place_arms(result, "last")] == [0.0, 0.2, 0.4]
        assert [arm_name(arm) for arm in result.arms if arm.place == "first"] == [
            "first hidden layer p = 0.2", "first hidden layer p = 0.4",
        ]  # fmt: skip
        page = next(path for path in write_report(result, tmp_path) if path.endswith(".html"))
        words = Words()
        with open(page, encoding="utf8") as text:
            words.feed(text.read())
        for place in ("first", "last"):
            assert f"Dropout at the {place} hidden layer alone" in words.text

    def test_halved_studies_of_the_usual_places_know_their_stores(self, tmp_path):
        options = {**SMALL, "epochs": 8, "halving": True}
        study.run(*table(), out=tmp_path, **options)
        assert "places" not in json.loads((tmp_path / "trials.jsonl").read_text().splitlines()[0])["config"]
        with pytest.raises(StoreConflict, match="places"):
            study.run(*table(), out=tmp_path, places="first", **options)

    def test_the_kept_model_drops_where_it_was_advised(self, tmp_path):
        result = study.run(*table(), out=tmp_path, places="last", **SMALL)
        rates = [layer.p for layer in study.load_model(tmp_path).network if isinstance(layer, nn.Dropout)]
        advice = result.advice.p_hidden
        assert rates == ([max(advice)] if isinstance(advice, tuple) else [])


def advised(result, rates):
    """The advice of this study, had these rates done far better than all others."""
    losses = [{"rmse": 0.01 * t["seed"] + (1.0 if t["p_hidden"] == list(rates) else 8.0)} for t in result.trials]
    trials = [
        {**t, "best_epoch": 9, "select": loss, "held": loss} for t, loss in zip(result.trials, losses, strict=True)
    ]
    references = ({"name": "constant", "label": "", "select": [{"rmse": 99.0}] * 2, "test": []},)
    return advise(replace(result, trials=tuple(trials), arms=arms_of(trials, "rmse", result.epochs),
                          references=references))  # fmt: skip


class Words(HTMLParser):
    """All that a page holds, scripts too, where figures lie."""

    text = ""

    def handle_data(self, data):
        self.text += data
