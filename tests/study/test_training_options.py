"""Activations and label smoothing: they reach the networks, the kept model, and the name of a study."""

import json

import numpy as np
import pytest
from torch import nn

from dropscope import study
from dropscope.errors import StoreConflict
from dropscope.study import Options

SMALL = {"p_input": (), "p_hidden": (0.3,), "pair": (), "seeds": 2, "epochs": 80, "width": 8, "depth": 2,
         "budget": 13_000, "batch_size": 20, "lr": 0.01, "patience": 10}  # fmt: skip


def table():
    x = np.random.default_rng(0).normal(size=(150, 3))
    return x, x[:, 0] + x[:, 1] + 0.3 * x[:, 2] ** 2


@pytest.mark.parametrize(("name", "module"), [("gelu", nn.GELU), ("tanh", nn.Tanh), ("silu", nn.SiLU)])
def test_the_kept_model_has_the_activation_it_was_trained_with(tmp_path, name, module):
    x, y = table()
    result = study.run(x, y, out=tmp_path, activation=name, **SMALL)
    kept = study.load_model(tmp_path)
    assert sum(isinstance(layer, module) for layer in kept.network) == 2
    assert json.loads((tmp_path / "model.json").read_text())["activation"] == name
    assert np.corrcoef(kept.predict(x), y)[0, 1] > 0.8
    assert result.options["activation"] == name


def test_another_activation_is_another_study(tmp_path):
    study.run(*table(), out=tmp_path, **SMALL)
    with pytest.raises(StoreConflict, match="activation"):
        study.run(*table(), out=tmp_path, activation="tanh", **SMALL)


def test_smoothed_labels_make_less_certain_networks(tmp_path):
    x, y = table()
    labels = np.where(y > 0, "up", "down")
    plain, smooth = (
        study.run(x, labels, out=tmp_path / str(share), label_smoothing=share, **SMALL) for share in (0.0, 0.4)
    )
    # With a share s of the label spread over two classes, no training loss lies below the entropy of (s/2, 1 - s/2).
    floor = -(0.2 * np.log(0.2) + 0.8 * np.log(0.8))
    assert min(min(trial["fit_curve"]) for trial in smooth.trials) > floor
    assert min(min(trial["fit_curve"]) for trial in plain.trials) < floor


def test_numbers_have_no_labels_to_smooth(tmp_path):
    with pytest.raises(ValueError, match="`label_smoothing` needs labels"):
        study.run(*table(), out=tmp_path / "new", label_smoothing=0.1, **SMALL)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="`label_smoothing` needs labels"):
        Options.of(task="regression", label_smoothing=0.1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"activation": "sigmoid"}, "`activation` must be one of relu, gelu, tanh, silu"),
        ({"label_smoothing": 1.0}, r"`label_smoothing` must be in \[0, 1\)"),
    ],
)
def test_what_lies_outside_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Options.of(**given)
