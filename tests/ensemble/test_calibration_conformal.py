"""Conformal intervals and sets: counted by hand, and their coverage against its known law."""

import math
from fractions import Fraction

import pytest
import torch
from torch import nn
from zoo import FLAT

from dropscope import ensemble
from dropscope.ensemble.calibration import conformal_intervals, conformal_sets


def unit(n):
    return torch.zeros(n), torch.ones(n)


class TestIntervals:
    @pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
    def test_the_quantile_is_the_score_of_the_right_rank(self, alpha):
        for n in range(math.ceil(1 / alpha) - 1 + (alpha == 0.3), 60):
            k = math.ceil((1 - Fraction(str(alpha))) * (n + 1))
            scores = torch.randperm(n) + 1.0
            assert conformal_intervals(unit(n), scores, alpha).quantile.item() == k

    def test_are_as_wide_as_the_predicted_deviation_says(self):
        held_out = (torch.zeros(9), torch.full((9,), 4.0))
        y, new = torch.arange(1.0, 10), (torch.tensor([[1.0]]), torch.tensor([[9.0]]))
        scaled, even = conformal_intervals(held_out, y, 0.2), conformal_intervals(held_out, y, 0.2, scaled=False)
        assert (scaled.quantile.item(), even.quantile.item()) == (4, 8)
        assert (scaled(new).low.item(), scaled(new).high.item()) == (1 - 12, 1 + 12)
        assert (even(new).low.item(), even(new).high.item()) == (1 - 8, 1 + 8)
        assert even(new).level == pytest.approx(0.8)

    def test_each_output_has_its_own(self):
        y = torch.stack([torch.arange(9.0), 10 * torch.arange(9.0)], 1)
        found = conformal_intervals((torch.zeros(9, 2), torch.ones(9, 2)), y, 0.5)
        assert found.quantile.tolist() == [4, 40]
        assert found((torch.zeros(3, 2), torch.ones(3, 2))).high.tolist() == [[4, 40]] * 3

    def test_coverage_is_spread_as_the_beta_law(self, generator):
        """Of scores |y| with y even on (-1, 1), the quantile is the coverage of new rows."""
        n, alpha, k = 19, 0.1, 18
        y = 2 * torch.rand(2500, n, generator=generator, dtype=torch.float64) - 1
        found = torch.tensor([conformal_intervals(unit(n), row, alpha).quantile.item() for row in y]).double()
        mean, square = k / (n + 1), k * (k + 1) / ((n + 1) * (n + 2))
        for values, expected in ((found, mean), (found**2, square)):
            assert abs(values.mean() - expected) < 5 * values.std() / math.sqrt(2500)
        low, high = conformal_intervals(unit(n), y[0], alpha).coverage_range
        inside = ((found > low) & (found < high)).double().mean().item()
        assert abs(inside - 0.95) < 5 * math.sqrt(0.95 * 0.05 / 2500)

    def test_of_a_prediction(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        found = ensemble.predict(model, FLAT)
        y = found.mean + 2 * found.std * torch.tensor([[1.0], [-1], [1], [-1], [1]])
        intervals = conformal_intervals(found, y, 0.5)
        assert intervals.quantile.item() == pytest.approx(2, rel=1e-5)
        torch.testing.assert_close(intervals(found).high.float(), found.mean + 2 * found.std)
        assert "of at least 0.5 of new rows" in str(intervals)
        plain = intervals.to_dict()
        assert plain["n_rows"] == 5
        assert plain["quantile"] == intervals.quantile.tolist()
        assert "ranks" not in plain


class TestWeights:
    def test_equal_ones_change_nothing(self):
        y = torch.rand(30)
        plain, weighted = (conformal_intervals(unit(30), y, weights=w) for w in (None, torch.ones(30)))
        assert plain.quantile == weighted.quantile
        assert weighted(unit(2), torch.ones(2)).high.tolist() == plain(unit(2)).high.tolist()

    def test_a_row_of_no_weight_is_not_there(self):
        y, weights = torch.arange(1.0, 21), torch.cat([torch.ones(10), torch.zeros(10)])
        found = conformal_intervals(unit(20), y, 0.2, weights=weights)
        assert found.quantile == conformal_intervals(unit(10), y[:10], 0.2).quantile

    def test_a_new_row_unlike_all_others_has_no_bounds(self):
        found = conformal_intervals(unit(20), torch.rand(20), weights=torch.ones(20))
        low, high = (getattr(found(unit(2), torch.tensor([1.0, 100.0])), name) for name in ("low", "high"))
        assert high.isfinite().tolist() == [True, False]
        assert low[1] == -math.inf

    def test_they_keep_coverage_where_new_rows_are_others(self, generator):
        """A tenth of the held-out rows, and half of the new ones, are of the kind that is hard to predict."""
        held = {None: [], True: []}
        for _ in range(800):
            hard = torch.rand(60, generator=generator) < torch.tensor([0.1] * 59 + [0.5])
            y = torch.rand(60, generator=generator) + hard
            weights = torch.where(hard, 0.5 / 0.1, 0.5 / 0.9)
            for used, results in held.items():
                own = weights[:59] if used else None
                found = conformal_intervals(unit(59), y[:59], 0.2, weights=own)
                results.append(found(unit(1), weights[59:] if used else None).covers(y[59:]).item())
        with_weights, without = (sum(held[used]) / 800 for used in (True, None))
        error = math.sqrt(0.8 * 0.2 / 800)
        assert with_weights > 0.8 - 5 * error
        assert without < 0.8 - 5 * error


class TestSets:
    P = torch.tensor([[0.5, 0.3, 0.2]])

    def test_scores_of_each_kind(self):
        """Labels in which class 1 has the rank that decides."""
        labels = [0] * 3 + [1] * 5 + [2]
        for method, scores in (("lac", [0.5, 0.7, 0.8]), ("aps", [0.5, 0.8, 1.0])):
            found = conformal_sets(self.P.expand(9, 3), labels, 0.2, method=method, randomised=False)
            assert found.quantile == pytest.approx(scores[1])
            assert found(self.P).tolist() == [[True, True, False]]

    def test_classes_are_put_back_in_their_order(self):
        p = torch.tensor([[0.2, 0.1, 0.7], [0.3, 0.6, 0.1]]).repeat(5, 1)
        found = conformal_sets(p, [2, 1] * 5, 0.5, randomised=False)
        assert found(p[:2]).tolist() == [[False, False, True], [False, True, False]]

    @pytest.mark.parametrize(("method", "randomised"), [("aps", True), ("aps", False), ("lac", False)])
    @pytest.mark.parametrize("classes", [1, 5])
    def test_hold_as_much_as_they_promise(self, method, randomised, classes, generator):
        """Probabilities need not be true; without ties the share is k / (n + 1)."""
        n, alpha, rounds, new = 39, 0.2, 600, 20
        rows, held = rounds * (n + new), []
        z = 2 * torch.randn(rows, max(2, classes), generator=generator, dtype=torch.float64)
        labels = torch.multinomial(z.softmax(-1), 1, generator=generator).squeeze(1)
        p = (2 * z).softmax(-1) if classes > 1 else (2 * (z[:, 1] - z[:, 0])).sigmoid()
        for p_part, y_part in zip(p.split(n + new), labels.split(n + new), strict=True):
            found = conformal_sets(
                p_part[:n], y_part[:n], alpha, method=method, randomised=randomised, generator=generator
            )
            sets = found(p_part[n:], generator=generator)
            held.append(sets.gather(1, y_part[n:].unsqueeze(1)).double().mean().item())
        share = torch.tensor(held)
        # Sums of all classes are ties at 1, except where they are randomised: sets then hold more.
        off = share.mean() - 32 / 40
        error = 5 * share.std() / math.sqrt(rounds)
        assert off > -error
        assert off < error or (method == "aps" and not randomised)

    def test_of_a_prediction_with_one_probability(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
        found = ensemble.predict(model, FLAT, 20, transform="sigmoid")
        sets = conformal_sets(found, [0, 1, 0, 1, 1], 0.5, method="lac")
        assert sets(found).shape == (5, 2)
        assert sets.single
        assert "LAC sets, from 5 held-out rows" in str(sets)
        assert sets.to_dict()["method"] == "lac"
        assert "ranks" not in sets.to_dict()


class TestBadInput:
    def test_too_few_rows_say_how_many(self):
        with pytest.raises(ValueError, match="hold out at least 9"):
            conformal_intervals(unit(8), torch.rand(8), 0.1)
        with pytest.raises(ValueError, match="hold out at least 19"):
            conformal_sets(torch.rand(18), [0, 1] * 9, 0.05)
        assert conformal_intervals(unit(9), torch.arange(9.0), 0.1).quantile == 8

    def test_what_is_unlike_the_held_out_rows_is_refused(self):
        """Of another number of outputs or classes, one quantile would silently stand for all."""
        found = conformal_intervals(unit(9), torch.rand(9), 0.2)
        with pytest.raises(ValueError, match="must have 1 outputs a row, got 3"):
            found((torch.zeros(4, 3), torch.ones(4, 3)))
        for weights in (torch.ones(3), -torch.ones(4), torch.full((4,), math.nan)):
            with pytest.raises(ValueError, match="4 finite numbers of at least 0, one for each new row"):
                found(unit(4), weights)
        sets = conformal_sets(torch.eye(3).repeat(3, 1), [0, 1, 2] * 3, 0.2)
        with pytest.raises(ValueError, match="must be of 3 classes, got 4"):
            sets(torch.eye(4))

    def test_other_faults_are_named(self):
        with pytest.raises(ValueError, match="between 0 and 1"):
            conformal_intervals(unit(9), torch.rand(9), 1.0)
        with pytest.raises(ValueError, match="scaled=False"):
            conformal_intervals((torch.zeros(9), torch.zeros(9)), torch.rand(9))
        with pytest.raises(ValueError, match="`weights`"):
            conformal_intervals(unit(9), torch.rand(9), weights=[1.0] * 8)
        with pytest.raises(ValueError, match="did you mean `aps`"):
            conformal_sets(torch.rand(20), [0, 1] * 10, method="apps")
