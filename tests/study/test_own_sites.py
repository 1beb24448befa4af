"""Where a user's own network drops, and every mistake in what a user gives: one clear line before anything trains."""

from functools import partial

import pytest
import torch
from own_examples import SMALL, build, load
from torch import nn
from torch.utils.data import DataLoader, Dataset

from dropscope import study
from dropscope.errors import NoDropoutFound
from dropscope.layers import ConcreteDropout
from dropscope.study.own.options import Grid
from dropscope.study.own.result import own_result
from dropscope.study.own.scores import Metric
from dropscope.study.own.sites import build_model, roles_of


def taking_rates(p_input, p_hidden):
    """A network that is told where it drops."""
    return nn.Sequential(nn.Dropout(p_input), nn.Linear(3, 4), nn.Dropout(p_hidden), nn.Linear(4, 1))


class TestSites:
    def test_roles_say_which_rate_a_site_gets(self):
        network = nn.Sequential(
            nn.Dropout(), nn.Linear(2, 2), nn.Dropout(0.3), nn.Dropout(0.4), ConcreteDropout(nn.Linear(2, 2), 0.2)
        )
        roles = {"0": "input", "2": "fixed"}
        assert roles_of(network, roles) == {"0": "input", "2": "fixed", "3": "hidden", "4": "fixed"}
        model = build_model(lambda: network, roles, (0.1, 0.6), seed=0)
        assert [model[0].p, model[2].p, model[3].p] == [0.1, 0.3, 0.6]
        assert float(model[4].p) == pytest.approx(0.2)
        by_kind = roles_of(network, lambda site: "hidden" if site.kind == "ConcreteDropout" else "fixed")
        assert set(by_kind.values()) == {"fixed", "hidden"}

    def test_build_may_take_rates_and_the_seed(self):
        asked = []

        def own(p_input, p_hidden, seed):
            asked.append((p_input, p_hidden, seed))
            return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))

        result = study.run_model(own, load, **{**SMALL, "p": None, "pair": ((0.1, 0.5),)})
        assert asked[2:] == [(0, 0, 0), (0.1, 0.5, 0), (0, 0, 1), (0.1, 0.5, 1)]
        assert [arm.rates for arm in result.arms] == [(0, 0), (0.1, 0.5)]

    @pytest.mark.parametrize(
        ("grid", "places", "arms"),
        [
            (Grid(), {"hidden"}, [(0, 0), (0, 0.1), (0, 0.25), (0, 0.5)]),
            (Grid(p=0.3), {"input"}, [(0, 0), (0.3, 0)]),
            (Grid(p=(0, 0.3)), {"input", "hidden"}, [(0, 0), (0.3, 0.3)]),
            (Grid(p_input=0.1), {"input", "hidden"}, [(0, 0), (0.1, 0)]),
            (Grid(p_hidden=(0.2, 0.4)), {"hidden"}, [(0, 0), (0, 0.2), (0, 0.4)]),
            (Grid(p_input=0.1, p_hidden=0.5, pair=()), {"input", "hidden"}, [(0, 0), (0.1, 0), (0, 0.5)]),
        ],
    )
    def test_grids(self, grid, places, arms):
        assert grid.arms(places) == arms

    def test_initial_weights_that_depend_on_the_rate_are_said(self):
        def own(p):
            torch.rand(1 + int(10 * p))
            return nn.Sequential(nn.Linear(3, 1), nn.Dropout(p))

        [note] = study.run_model(own, load, **SMALL).notes
        assert note.startswith("the initial weights of a seed differ between rates")

    @pytest.mark.parametrize(
        ("network", "roles", "arm", "words", "code"),
        [
            (build, None, (0.0, 0.5), "p=0.5 at all dropout sites", "dropscope.surgery.set_p(model, 0.5)"),
            (
                build, {"0": "input"}, (0.25, 0.5), "p=0.25 at the input sites and p=0.5 at the hidden sites",
                "dropscope.surgery.set_p(model, {'0': 0.25, '3': 0.5})",
            ),
            (
                build, {"0": "fixed"}, (0.0, 0.5), "p=0.5 at the hidden sites",
                "dropscope.surgery.set_p(model, {'3': 0.5})",
            ),
            (
                taking_rates, None, (0.25, 0.5), "p=0.25 at the input sites and",
                "model = taking_rates(p_input=0.25, p_hidden=0.5)",
            ),
        ],
    )  # fmt: skip
    def test_advice_and_code_speak_of_the_users_sites(self, network, roles, arm, words, code):
        """Losses that dropout halves, in every seed, after as many epochs as were needed."""
        rates = {"p": None, "pair": (arm,)} if arm[0] else {"p": arm[1]}
        trials = study.run_model(network, load, sites=roles, **{**SMALL, **rates}).trials
        losses = [{"rmse": 0.5 if trial["p_hidden"] else 1 + 0.001 * trial["seed"]} for trial in trials]
        reference = {"select": {"rmse": 2.0}, "test": {"rmse": 2.0}}
        records = [
            {**trial, "select": loss, "held": loss, "reference": reference}
            for trial, loss in zip(trials, losses, strict=True)
        ]
        found = {} if network is taking_rates else roles_of(network(), roles)
        told = {"name": "", "target": "", "options": {}, "source": "", "features": (), "blocks": (), "notes": ()}
        advice = own_result(records, 100, Metric("rmse"), network, found, **told).advice
        assert (advice.kind, (advice.p_input, advice.p_hidden)) == ("dropout", arm)
        assert advice.sentences[0].startswith(f"Use {words}")
        assert advice.code == code


class Empty(Dataset):
    def __len__(self):
        return 0


def spent(seed):
    """A generator that runs out after one epoch."""
    fit, *parts = load(seed)
    return [iter(DataLoader(fit, 20)), *parts]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"build": partial(nn.Linear, 3, 1)}, NoDropoutFound, "must have dropout sites, got no module that drops"),
        ({"sites": {"0": "fixed", "3": "fixed"}}, NoDropoutFound, r"got only fixed ones \(0, 3\)"),
        ({"sites": {"1": "hidden"}}, ValueError, "`sites` must name dropout sites, got '1'"),
        ({"sites": {"0": "first"}}, ValueError, "`sites` must say input, hidden, fixed of a site, got 'first'"),
        ({"build": lambda width: nn.Linear(width, 1)}, TypeError, "got `width`: give it a value with functools"),
        ({"build": partial(nn.Sequential, *build())}, ValueError, "`build` must make a new network at every call"),
        ({"build": lambda: "network"}, TypeError, "`build` must make an nn.Module, got str"),
        ({"load": lambda seed: load(seed)[:3]}, ValueError, r"must give \(fit, stop, select, test\), got 3 of them"),
        ({"load": lambda seed: [None, *load(seed)[1:]]}, ValueError, "must give fit rows, got None"),
        ({"load": lambda seed: [Empty(), *load(seed)[1:]]}, ValueError, "must give fit rows, got none for seed 0"),
        ({"load": lambda seed: [load(0)[0], [], *load(seed)[2:]]}, ValueError, "must give stop rows, got none"),
        ({"load": lambda seed: [*load(seed)[:2], [], None]}, ValueError, "must give select rows, got none"),
        ({"load": spent}, ValueError, "must give fit rows, got none for seed 0 in epoch 1: a loader must give"),
        ({"load": lambda seed: [[torch.ones(2, 3)]] * 3 + [None]}, ValueError, r"batches of \(inputs, target\)"),
        ({"loss": nn.MSELoss(reduction="none")}, ValueError, r"must give a tensor of one number, got shape \(15, 1\)"),
        ({"metric": "accuracy"}, ValueError, "`metric` must be a metric or a function, got 'accuracy'"),
        ({"metric": "log_loss"}, ValueError, "`metric` log_loss needs logits"),
        ({"p": 1.5}, ValueError, r"`p` must be in \[0, 1\), got 1.5"),
        ({"p": 0.0}, ValueError, "`p` must hold a rate above 0"),
        ({"p_hidden": 0.5}, ValueError, "give it or `p_hidden`, not both"),
        ({"p": None, "p_input": 0.5}, ValueError, "`p_input` needs input sites, which the model has not"),
        ({"device": "cuda:99"}, ValueError, "`device` must be available, got 'cuda:99'"),
        ({"seeds": 1}, ValueError, "`seeds` must be a whole number of at least 2"),
        ({"workers": 0}, ValueError, "`workers` must be a whole number of at least 1"),
    ],
)
def test_what_cannot_be_studied_is_refused_before_anything_is_written(change, error, message, tmp_path):
    out = tmp_path / "new"
    asked = {"build": build, "load": load, **SMALL, "out": out, **change}
    with pytest.raises(error, match=message):
        study.run_model(asked.pop("build"), asked.pop("load"), **asked)
    assert not out.exists()
