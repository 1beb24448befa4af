"""Calibration errors of class probabilities, against hand counts, other libraries and labels of known law."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from torch import nn
from torchmetrics.functional.classification import multiclass_calibration_error
from zoo import FLAT

from dropscope import ensemble
from dropscope.ensemble.calibration import reliability


def drawn(n, classes=3, generator=None, sharp=2.0):
    """Probabilities, and labels that have them."""
    p = (sharp * torch.randn(n, classes, generator=generator, dtype=torch.float64)).softmax(-1)
    return p, torch.multinomial(p, 1, generator=generator).squeeze(1)


def by_hand(confidence, right, bins):
    """Gaps of the bins that hold a row, and their shares."""
    place = [min(int(c * bins), bins - 1) for c in confidence]
    groups = [[i for i, at in enumerate(place) if at == b] for b in range(bins)]
    gaps = [abs(np.mean([confidence[i] - right[i] for i in group])) for group in groups if group]
    return gaps, [len(group) / len(place) for group in groups if group]


class TestNumbers:
    def test_errors_are_those_counted_by_hand(self, generator):
        p, y = drawn(200, generator=generator)
        p[:5], y[:5] = torch.tensor([1.0, 0, 0], dtype=torch.float64), torch.tensor([0, 0, 0, 0, 1])
        found = reliability(p, y, bins=10, generator=generator)
        gaps, shares = by_hand(p.amax(1).tolist(), (p.argmax(1) == y).double().tolist(), 10)
        assert found.ece == pytest.approx(np.dot(gaps, shares))
        assert found.mce == pytest.approx(max(gaps))
        each = [np.dot(*by_hand(p[:, k].tolist(), (y == k).double().tolist(), 10)) for k in range(3)]
        assert found.classwise_ece == pytest.approx(np.mean(each))

    def test_they_are_those_of_torchmetrics(self, generator):
        p, y = drawn(300, generator=generator)
        for norm, name in (("l1", "ece"), ("max", "mce")):
            known = multiclass_calibration_error(p, y, 3, n_bins=15, norm=norm).item()
            assert getattr(reliability(p, y), name) == pytest.approx(known, abs=1e-6)

    def test_bins_of_equal_mass_hold_equally_many_rows(self, generator):
        p, y = drawn(100, generator=generator)
        confidence, order = p.amax(1).sort()
        right = (p.argmax(1) == y)[order].double()
        gaps = [(c.mean() - r.mean()).abs().item() for c, r in zip(confidence.split(20), right.split(20), strict=True)]
        assert reliability(p, y, bins=5).adaptive_ece == pytest.approx(np.mean(gaps))

    def test_scores_and_bins_are_those_of_scikit_learn(self, generator):
        p, y = drawn(300, generator=generator)
        found = reliability(p, y)
        assert found.nll == pytest.approx(log_loss(y, p))
        assert found.brier == pytest.approx(brier_score_loss(y, p, labels=[0, 1, 2], scale_by_half=False))
        single = reliability(p[:, 0], y == 0, bins=8)
        assert single.brier == pytest.approx(brier_score_loss(y == 0, p[:, 0]))
        share, confidence = calibration_curve(y == 0, p[:, 0], n_bins=8)
        filled = single.bins.count > 0
        np.testing.assert_allclose(single.bins.accuracy[filled], share)
        np.testing.assert_allclose(single.bins.confidence[filled], confidence)

    def test_one_column_is_the_second_of_two(self, generator):
        p, y = drawn(200, 2, generator)
        one, two = reliability(p[:, 1:], y, n_resamples=5), reliability(p, y, of_class=1, n_resamples=5)
        assert (one.ece, one.nll, one.accuracy) == pytest.approx((two.ece, two.nll, two.accuracy))
        assert (one.of_class, one.brier) == (1, pytest.approx(two.brier / 2))
        assert reliability(p, y).of_class is None

    def test_are_plain_numbers_and_words(self, generator):
        found = reliability(*drawn(50, generator=generator), bins=20)
        plain = json.loads(json.dumps(found.to_dict()))
        assert plain["n_rows"] == 50
        assert plain["bins"]["count"] == found.bins.count.tolist()
        assert "if every confidence were true" in str(found)
        assert (found.bins.count.sum(), len(found.bins.edges)) == (50, 21)


class TestPredictions:
    def test_classes_may_be_on_any_axis(self):
        model = nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv1d(2, 3, 1), nn.Dropout(0.5))
        labels = torch.arange(10).reshape(5, 2) % 3
        found = ensemble.predict(model, FLAT, 20, transform="softmax", class_axis=1)
        known = reliability(found.mean.movedim(1, -1), labels)
        assert reliability(found, labels).ece == pytest.approx(known.ece, abs=1e-6)

    def test_a_single_sigmoid_is_the_probability_of_class_1(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        found, labels = ensemble.predict(model, FLAT, 20, transform="sigmoid"), torch.tensor([0, 1, 1, 0, 1])
        known = reliability(found.mean, labels)
        assert reliability(found, labels).ece == pytest.approx(known.ece, abs=1e-6)
        assert known.of_class == 1

    def test_must_be_of_probabilities(self):
        model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3))
        with pytest.raises(ValueError, match="transform='softmax'"):
            reliability(ensemble.predict(model, FLAT), [0] * 5)


class TestChance:
    def test_expected_errors_are_those_over_all_labels(self, generator):
        p = torch.tensor([0.1, 0.3, 0.6, 0.85, 0.9], dtype=torch.float64)
        errors, chances = [], []
        for labels in itertools.product([0, 1], repeat=5):
            y = torch.tensor(labels)
            chances.append(torch.where(y == 1, p, 1 - p).prod().item())
            errors.append(np.dot(*by_hand(p.tolist(), y.double().tolist(), 2)))
        mean = np.dot(errors, chances)
        sd = math.sqrt(np.dot(np.square(errors), chances) - mean**2)
        found = reliability(p, [0, 0, 1, 1, 1], bins=2, n_resamples=4000, generator=generator)
        assert abs(found.expected["ece"] - mean) < 5 * sd / math.sqrt(4000)

    def test_of_true_probabilities_p_values_are_even_and_errors_as_expected(self, generator):
        found = [reliability(*drawn(150, generator=generator), n_resamples=99, generator=generator) for _ in range(300)]
        low = np.mean([one.p_value <= 0.25 for one in found])
        assert abs(low - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 300)
        excess = np.array([one.ece - one.expected["ece"] for one in found])
        assert abs(excess.mean()) < 5 * excess.std() / math.sqrt(300)
        inside = [
            ((b.accuracy >= b.low) & (b.accuracy <= b.high))[b.count > 0].double() for b in (o.bins for o in found)
        ]
        assert torch.cat(inside).mean() > 0.93

    def test_overconfidence_is_found(self, generator):
        p, y = drawn(2000, generator=generator)
        sharper = (2 * p.log()).softmax(-1)
        found = reliability(sharper, y, n_resamples=200, generator=generator)
        assert found.p_value < 0.01
        assert found.overconfidence > 5 * found.errors["overconfidence"]
        assert "more than chance" in str(found)
        assert "no more than chance" not in str(found)

    def test_standard_errors_are_the_scatter_over_data(self, generator):
        found = []
        for _ in range(200):
            p, y = drawn(300, generator=generator)
            found.append(reliability((3 * p.log()).softmax(-1), y, bins=5, n_resamples=1, generator=generator))
        for name in found[0].errors:
            scatter = np.std([getattr(one, name) for one in found], ddof=1)
            ratio = math.sqrt(np.mean([one.errors[name] ** 2 for one in found])) / scatter
            assert 0.75 < ratio < 1.33, name  # the scatter is known to 1 / √(2 · 199) = 5 %

    def test_the_generator_decides(self):
        p, y = drawn(50)
        one, two = (reliability(p, y, generator=torch.Generator().manual_seed(3)) for _ in range(2))
        assert one.to_dict()["expected"] == two.to_dict()["expected"]


@pytest.mark.parametrize(
    ("probabilities", "labels", "said"),
    [
        ([[2.0, -1.0]], [0], "apply softmax"),
        ([[0.5, 0.2]], [0], "must sum to 1"),
        ([[0.5, 0.5]], [2], "from 0 to 1"),
        ([[0.5, 0.5]], [0.5], "whole numbers"),
        ([[0.5, 0.5]] * 3, [0, 1], "one class for each row"),
        (np.empty((0, 2)), [], "at least one row"),
    ],
)
def test_bad_input_is_named(probabilities, labels, said):
    with pytest.raises(ValueError, match=said):
        reliability(torch.as_tensor(probabilities), labels)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="at least 1"):
        reliability([[0.5, 0.5]], [0], bins=0)
    with pytest.raises(ValueError, match=r"whole numbers of at least 1, got 2\.5"):
        reliability([[0.5, 0.5]], [0], bins=2.5)
    for of_class in (2, "cat"):
        with pytest.raises(ValueError, match="`of_class` must be a class number from 0 to 1"):
            reliability([[0.5, 0.5]], [0], of_class=of_class)


def test_one_hot_labels_are_not_taken_for_rows_of_their_own():
    for probabilities in ([[0.5, 0.5], [0.2, 0.8]], [[[0.5, 0.5]], [[0.2, 0.8]]]):
        with pytest.raises(ValueError, match=r"got one-hot rows: give labels\.argmax\(-1\)"):
            reliability(torch.tensor(probabilities), torch.tensor([[1, 0], [0, 1]]))
