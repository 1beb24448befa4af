"""Telling two sets apart by a score: counted by hand, against scikit-learn and torchmetrics, and what is refused."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.functional.classification import binary_roc
from zoo import FLAT

from dropscope import ensemble
from dropscope.errors import NoDropoutFound

NAMES = ("auroc", "aupr_out", "aupr_in", "fpr95")
ERRORS = tuple(f"{name}_error" for name in NAMES)


def numbers(found, names=NAMES):
    return [getattr(found, name) for name in names]


def tied(generator, levels=8, rows=(60, 40)):
    """Scores with many ties within and between the sets."""
    return (
        torch.randint(low, low + levels, (n,), generator=generator) / 7 for low, n in zip((0, 2), rows, strict=True)
    )


class TestNumbers:
    def test_by_hand(self):
        found = ensemble.detection([0.1, 0.2, 0.3, 0.6], [0.3, 0.9])
        assert found.auroc == (4 + 2.5) / 8
        assert found.aupr_out == (1 + 2 / 4) / 2  # 0.9 alone, then 0.9, 0.6, 0.3, 0.3
        assert found.aupr_in == (1 + 1 + 3 / 4 + 4 / 5) / 4  # 0.1; 0.2; both 0.3; 0.6
        assert found.fpr95 == 2 / 4

        beaten, beating = [2.5 / 4, 1.0], [1.0, 1.0, 0.75, 0.5]
        expected = math.sqrt(np.var(beaten, ddof=1) / 2 + np.var(beating, ddof=1) / 4)
        assert found.auroc_error == pytest.approx(expected, rel=1e-14)

    @pytest.mark.parametrize("levels", [2, 8, 10_000])
    def test_are_those_of_scikit_learn(self, generator, levels):
        inside, outside = tied(generator, levels)
        found = ensemble.detection(inside, outside)
        truth, scores = np.repeat([0, 1], [60, 40]), torch.cat([inside, outside]).numpy()
        assert found.auroc == pytest.approx(roc_auc_score(truth, scores), abs=1e-14)
        assert found.aupr_out == pytest.approx(average_precision_score(truth, scores), abs=1e-14)
        assert found.aupr_in == pytest.approx(average_precision_score(1 - truth, -scores), abs=1e-14)
        false, true, _ = roc_curve(truth, scores)
        assert found.fpr95 == pytest.approx(false[true >= 0.95][0], abs=1e-14)

        false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
        for mine, theirs in zip(found.curve(), (false, true), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-14)
        # torchmetrics takes scores outside [0, 1] through a sigmoid.
        theirs = binary_roc(torch.tensor(scores) / (levels + 2), torch.tensor(truth))
        for mine, other in zip(found.curve(), theirs[:2], strict=True):
            torch.testing.assert_close(mine, other.double(), rtol=0, atol=1e-6)

    def test_depend_on_the_order_of_the_scores_alone(self, generator):
        inside, outside = tied(generator)
        found = ensemble.detection(inside, outside)
        for change in (torch.exp, lambda s: s**3 - 7, lambda s: s * 1e-9, lambda s: (50 * s).sinh()):
            assert numbers(ensemble.detection(change(inside), change(outside))) == numbers(found)
        shuffled = ensemble.detection(inside.flip(0), outside[torch.randperm(40, generator=generator)])
        assert numbers(shuffled) == numbers(found)

    def test_are_those_of_the_numbers_in_any_form(self):
        found = numbers(ensemble.detection([1.0, 2.0, 4.0], [3.0, 4.0]))
        backwards = np.array([4, 2, 1])[::-1]
        assert numbers(ensemble.detection(backwards, torch.tensor([3.0, 4.0]).half())) == found
        # In float32 these two are equal.
        assert ensemble.detection(torch.tensor([2**24]), torch.tensor([2.0**24 + 1], dtype=torch.float64)).auroc == 1
        assert ensemble.detection(torch.tensor([2**24 + 1]), torch.tensor([2.0**24])).auroc == 0

    def test_of_swapped_sets_are_mirrored(self, generator):
        inside, outside = tied(generator)
        found = ensemble.detection(inside, outside)
        assert ensemble.detection(outside, inside).auroc == pytest.approx(1 - found.auroc, abs=1e-15)
        mirrored = ensemble.detection(-outside, -inside)
        assert mirrored.auroc == found.auroc
        assert (mirrored.aupr_in, mirrored.aupr_out) == (found.aupr_out, found.aupr_in)
        assert mirrored.auroc_error == pytest.approx(found.auroc_error, rel=1e-12)
        kept = sorted(inside.tolist())[56]  # 57 of 60 from inside are accepted at or below it
        assert mirrored.fpr95 == pytest.approx((outside <= kept).double().mean().item())

    def test_at_the_ends(self):
        apart = ensemble.detection([0.0, 1.0, 1.0], [2.0, 3.0])
        assert numbers(apart) == [1, 1, 1, 0]
        assert apart.auroc_error == 0
        wrong = ensemble.detection([2.0, 3.0], [0.0, 1.0, 1.0])
        assert (wrong.auroc, wrong.fpr95) == (0, 1)
        equal = ensemble.detection([1.0] * 30, [1.0] * 10)
        assert numbers(equal) == [0.5, 0.25, 0.75, 1]
        assert numbers(equal, ERRORS) == [0, 0, 0, 0]
        infinite = ensemble.detection([-math.inf, 0.0], [0.0, math.inf])
        assert infinite.auroc == 3.5 / 4

    def test_nineteen_of_twenty_are_95_percent(self):
        for n in (20, 40, 60, 180, 340, 1100, 1980):
            outside = torch.arange(n)
            inside = torch.tensor([n // 20 - 0.5])  # as many outside rows lie below as may be missed
            assert ensemble.detection(inside, outside).fpr95 == 0
            assert ensemble.detection(inside + 1, outside).fpr95 == 1


class TestStandardErrors:
    def test_of_all_numbers_are_their_scatter(self, seed):
        generator = torch.Generator().manual_seed(seed)
        found = []
        for _ in range(150):
            inside, outside = torch.randn(300, generator=generator), 1 + torch.randn(200, generator=generator)
            found.append(ensemble.detection((4 * inside).round(), (4 * outside).round(), generator=generator))
        scatter = torch.tensor([numbers(one) for one in found]).std(0)
        claimed = torch.tensor([numbers(one, ERRORS) for one in found]).square().mean(0).sqrt()
        assert ((claimed / scatter - 1).abs() < 5 / math.sqrt(2 * 149)).all(), claimed / scatter

    def test_are_repeated_by_a_generator(self):
        inside, outside = torch.arange(30.0), torch.arange(20.0, 40)
        one, two, other = (
            ensemble.detection(inside, outside, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)
        )
        assert numbers(one, ERRORS) == numbers(two, ERRORS)
        assert one.auroc_error == other.auroc_error
        assert one.fpr95_error != other.fpr95_error

    def test_of_one_row_are_unknown(self):
        for inside, outside in (([1.0], [2.0, 0.5]), ([1.0, 3.0], [2.0]), ([1.0], [1.0])):
            found = ensemble.detection(inside, outside)
            assert found.auroc == 0.5
            assert all(map(math.isnan, numbers(found, ERRORS)))
            assert "+-" not in str(found)


@pytest.mark.parametrize(
    ("inside", "outside", "said"),
    [
        ([], [1.0], "`inside` must hold one score for each of at least one row"),
        ([1.0], [], "`outside` must hold one score"),
        ([[1.0, 2.0]], [1.0], r"got shape \(1, 2\)"),
        ([1.0], [math.nan, 1.0, math.nan], "`outside` must not hold nan, got 2 of 3"),
    ],
)
def test_what_holds_no_scores_is_refused(inside, outside, said):
    with pytest.raises(ValueError, match=said):
        ensemble.detection(inside, outside)


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3))


def found_by(score, inside=FLAT, outside=4 * FLAT, model=None, **options):
    generator = torch.Generator().manual_seed(3)
    return ensemble.out_of_distribution(
        model or classifier(), inside, outside, score, 20, generator=generator, **options
    )


class TestModels:
    def test_scores_are_those_of_two_predictions(self):
        generator = torch.Generator().manual_seed(3)
        predictions = [
            ensemble.predict(classifier(), x, 20, generator=generator, transform="softmax") for x in (FLAT, 4 * FLAT)
        ]
        found = found_by("mutual_information", transform="softmax")
        assert torch.equal(found.inside, predictions[0].mutual_information())
        assert torch.equal(found.outside, predictions[1].mutual_information())
        variance = found_by("variance", transform="softmax")
        assert torch.equal(variance.inside, predictions[0].variance.mean(1))

    def test_several_scores_share_one_prediction(self):
        calls = []

        def lowest(prediction):
            calls.append(prediction)
            return -prediction.mean.amax(-1)

        scores = ["entropy", "std", lowest]
        together = found_by(scores, transform="softmax")
        assert list(together) == ["entropy", "std", "lowest"]
        assert len(calls) == 2
        for name, score in zip(together, scores, strict=True):
            alone = found_by(score, transform="softmax")
            assert numbers(together[name]) == numbers(alone)
            assert torch.equal(together[name].inside, alone.inside)
        assert together["lowest"].score == "lowest"

    def test_loaders_are_read_whole(self):
        inside, outside = (
            DataLoader(TensorDataset(x, torch.zeros(len(x))), batch_size=2) for x in (FLAT, 4 * FLAT[:3])
        )
        found = found_by("std", inside, outside)
        assert (found.n_inside, found.n_outside) == (5, 3)
        torch.testing.assert_close(found.inside, found_by("std").inside)

    def test_positions_of_a_row_are_averaged(self):
        model = nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 3, 1), nn.Dropout(0.5))
        found = found_by("entropy", model=model, transform="softmax", class_axis=1)
        assert found.inside.shape == (5,)

    def test_noise_of_a_variance_head_is_a_score(self):
        model = nn.Sequential(nn.Linear(4, 2), nn.Softplus(), nn.Dropout(0.5))
        found = found_by(["aleatoric", "total"], model=model, output=lambda y: (y[:, 0], y[:, 1]))
        assert (found["total"].inside > found["aleatoric"].inside).all()

    def test_far_rows_are_uncertain(self, seed):
        torch.manual_seed(seed)
        x, labels = torch.randn(400, 4), torch.arange(400) % 3
        x[:, 0] += 4 * labels
        model = classifier()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(150):
            nn.functional.cross_entropy(model(x), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
        found = ensemble.out_of_distribution(model, x, x + torch.tensor([0.0, 12.0, 0.0, 0.0]), "variance")
        assert found.auroc > 0.5 + 5 * found.auroc_error

    def test_mistakes_are_named(self):
        def flat(prediction):
            return prediction.mean.sum()

        with pytest.raises(ValueError, match="did you mean `entropy`"):
            found_by("entropie")
        with pytest.raises(ValueError, match="transform='softmax'"):
            found_by("mutual_information")
        with pytest.raises(ValueError, match="each once, got 2: std"):
            found_by(["std", "std"])
        with pytest.raises(ValueError, match="each once, got 0"):
            found_by([])
        with pytest.raises(ValueError, match="`flat` must give a tensor with a score for each of the 5 rows"):
            found_by(flat)
        with pytest.raises(ValueError, match="at least one row"):
            found_by("std", FLAT[:0])
        with pytest.raises(NoDropoutFound):
            found_by("std", model=nn.Linear(4, 1))


def test_describes_itself_and_goes_to_json():
    found = ensemble.detection([0.1, 0.2, 0.3], [0.3, 0.9], score="entropy")
    assert str(found).startswith(
        "rows from outside told by entropy: 2 among 3 from inside\n  AUROC           0.9167 ± "
    )
    assert "AUPR, outside   0.8333 ± " in str(found)
    assert str(found).count("by chance 0.40") == 1
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["auroc"] == found.auroc
    assert plain["outside"] == pytest.approx([0.3, 0.9])
