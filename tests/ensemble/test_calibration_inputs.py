"""What is given to be judged, in any form: the same numbers from each, and no shape taken for another."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from zoo import FLAT

from dropscope import ensemble
from dropscope.ensemble.calibration import (
    Intervals,
    central_intervals,
    conformal_intervals,
    conformal_sets,
    fit_temperature,
    fit_variance,
    regression_scores,
    reliability,
)
from dropscope.ensemble.calibration.predictives import law_of
from dropscope.report.coverage_figures import draw_coverage
from dropscope.report.interval_figure import draw_intervals

N = 12
MEAN, Y = np.linspace(-1, 1, N), np.linspace(-1, 1.5, N) ** 3


def forms(values):
    """The same values as different libraries and callers hold them."""
    fixed = values.copy()
    fixed.flags.writeable = False
    return [
        fixed, values[::-1].copy()[::-1], values.tolist(), pd.Series(values, index=range(5, 5 + len(values))),
        torch.from_numpy(values), values[:, None],
    ]  # fmt: skip


def test_numbers_come_in_any_form():
    expected = regression_scores((MEAN.copy(), np.full(N, 0.5)), Y.copy())
    for mean, y in zip(forms(MEAN), forms(Y), strict=True):
        assert regression_scores((mean, 0.5), y).crps == pytest.approx(expected.crps, rel=1e-12)
        assert regression_scores([mean, 0.5], y).crps == pytest.approx(expected.crps, rel=1e-12)


def test_probabilities_and_labels_come_in_any_form():
    p, labels = np.linspace(0.1, 0.9, N), np.arange(N) % 2
    expected = reliability(p.copy(), labels.copy()).ece
    for one, truth in zip(forms(p), forms(labels), strict=True):
        assert reliability(one, truth).ece == pytest.approx(expected, rel=1e-12)
    assert reliability(p, labels.astype(bool)).ece == pytest.approx(expected, rel=1e-12)
    assert reliability(p.reshape(3, 4), labels.reshape(3, 4)).ece == pytest.approx(expected, rel=1e-12)


def test_passes_come_in_any_form():
    passes = np.stack([MEAN, MEAN + 1, MEAN - 0.3])
    for given in (passes, torch.from_numpy(passes), torch.from_numpy(passes).requires_grad_()):
        assert regression_scores(given, Y, mixture=True).crps == regression_scores(passes, Y, mixture=True).crps


def test_gradients_are_left_behind():
    mean = torch.from_numpy(MEAN).requires_grad_()
    scores = regression_scores((mean, 0.5), Y)
    assert not scores.pit.requires_grad
    assert draw_coverage(scores).name == "coverage"
    assert not central_intervals((mean, 0.5)).low.requires_grad
    logits = torch.tensor([[1.0, 0.0], [2.0, 0.0], [2.0, 0.0]], requires_grad=True)
    assert fit_temperature(logits, [0, 0, 1]).value > 0


def test_a_single_number_is_one_row():
    assert regression_scores((1.0, 4.0), 2.0).n_rows == 1
    assert central_intervals((1.0, 4.0), 0.5).covers(2.0).all()


@pytest.mark.parametrize("transposed", ["y", "variance", "noise"])
def test_a_transposed_table_is_not_taken_for_its_values(transposed):
    given = {"y": Y.reshape(4, 3), "variance": np.full((4, 3), 0.5), "noise": torch.ones(4, 3)}
    given[transposed] = given[transposed].T
    with pytest.raises(ValueError, match=f"`{transposed}` must"):
        regression_scores((MEAN.reshape(4, 3), given["variance"]), given["y"], noise=given["noise"])


def test_transposed_labels_are_not_taken_for_their_values():
    p = torch.rand(4, 3, 5).softmax(-1)
    with pytest.raises(ValueError, match=r"one class for each row of probabilities, got shape \(3, 4\)"):
        reliability(p, torch.zeros(3, 4))
    with pytest.raises(ValueError, match="one class for each row"):
        conformal_sets(p, torch.zeros(3, 4), 0.5)


def test_several_labels_a_row_are_no_classes():
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    found = ensemble.predict(model, FLAT, 20, transform="sigmoid")
    labels = torch.arange(15).reshape(5, 3) % 2
    assert reliability(found, labels).nll == pytest.approx(reliability(found.mean, labels).nll, rel=1e-6)
    with pytest.raises(ValueError, match="must sum to 1"):
        reliability(found, [0] * 5)


@pytest.mark.parametrize(
    ("mean", "variance", "said"),
    [
        ([math.nan], [1.0], "the mean must be finite"),
        ([math.inf], [1.0], "the mean must be finite"),
        ([], [], "at least one row"),
        ([0.0], [math.inf], "`variance` must be finite"),
        ([0.0], [-1.0], "`variance` must be finite and at least 0"),
        (["a"], [1.0], "`mean` must be numbers, got <U1"),
    ],
)
def test_numbers_that_are_none_are_refused(mean, variance, said):
    for judge in (regression_scores, fit_variance, conformal_intervals):
        with pytest.raises(ValueError, match=said):
            judge((mean, variance), [1.0] * len(mean))


def test_other_faults_are_named():
    with pytest.raises(ValueError, match="a pair of means and variances, got 3"):
        regression_scores([MEAN, MEAN, MEAN], Y)
    with pytest.raises(ValueError, match="`noise` must be finite"):
        regression_scores((MEAN, 0.5), Y, noise=math.inf)
    with pytest.raises(ValueError, match="`labels` must be numbers"):
        reliability(np.full(N, 0.5), ["a"] * N)


def test_the_mixture_of_many_passes_needs_little_memory():
    """All pairs of 4000 passes at once are 128 MB."""
    passes = np.random.default_rng(0).normal(size=(4000, 1))
    law = law_of(passes, 0.3, mixture=True)
    with torch.autograd.profiler.profile(profile_memory=True) as seen:
        law.crps(torch.zeros(1, dtype=torch.float64))
    assert max(event.cpu_memory_usage for event in seen.function_events) < 1e6


def test_intervals_of_one_value_are_drawn():
    zeros = torch.zeros(3)
    low, high = (
        draw_intervals(Intervals(zeros, zeros, zeros, 0.9), pd.Series(np.zeros(3), index=[7, 8, 9])).panels[0].y_range
    )
    assert low < high
