"""Momentum and max-norm: they reach the networks and the kept model, name the study, and are silent by default."""

import json

import numpy as np
import pytest
from torch import nn

from dropscope import study
from dropscope.errors import StoreConflict
from dropscope.study import Options, runner

SMALL = {"p_input": (), "p_hidden": (0.3,), "pair": (), "seeds": 2, "epochs": 40, "width": 8, "depth": 2,
         "budget": 13_000, "batch_size": 20, "lr": 0.01, "patience": 10}  # fmt: skip
C = 0.7


def table():
    x = np.random.default_rng(0).normal(size=(150, 3))
    return x, x[:, 0] + x[:, 1] + 0.3 * x[:, 2] ** 2


def test_the_kept_model_has_weights_within_the_bound(tmp_path):
    study.run(*table(), out=tmp_path, max_norm=C, **SMALL)
    *hidden, last = (layer for layer in study.load_model(tmp_path).network if isinstance(layer, nn.Linear))
    norms = [layer.weight.double().norm(dim=1).max().item() for layer in (*hidden, last)]
    assert max(norms[:-1]) <= C < norms[-1]


@pytest.mark.parametrize("given", [{"momentum": 0.5}, {"nesterov": True}, {"max_norm": C}])
def test_another_descent_is_another_study_and_other_networks(tmp_path, given):
    usual = study.run(*table(), out=tmp_path, optimizer="sgd", **SMALL)
    with pytest.raises(StoreConflict, match=next(iter(given))):
        study.run(*table(), out=tmp_path, optimizer="sgd", **given, **SMALL)
    other = study.run(*table(), optimizer="sgd", **given, **SMALL)
    assert other.trials[0]["stop_curve"] != usual.trials[0]["stop_curve"]


def test_the_usual_values_say_nothing_in_the_store(tmp_path):
    told = {name: getattr(Options(), name) for name in ("momentum", "nesterov", "max_norm")}
    assert told.items() <= runner.LATER.items()
    study.run(*table(), out=tmp_path, **told, **{**SMALL, "epochs": 2})
    config = json.loads((tmp_path / "trials.jsonl").read_text().splitlines()[0])["config"]
    assert not {*config} & {*told}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "sgd", "momentum": 1}, r"`momentum` must be in \[0, 1\), got 1"),
        ({"momentum": 0.5}, "`momentum` is that of `optimizer` sgd, got adamw"),
        ({"nesterov": True, "optimizer": "adam"}, "`nesterov` is that of `optimizer` sgd, got adam"),
        ({"nesterov": True, "optimizer": "sgd", "momentum": 0}, "`nesterov` needs a `momentum` above 0"),
        ({"max_norm": 0}, "`max_norm` must be positive, got 0"),
        ({"max_norm": float("inf")}, "`max_norm` must be positive, got inf"),
    ],
)
def test_what_lies_outside_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Options.of(**given)
