"""The spectrum under the joint law: the correlated product has a closed form, independent columns the product's."""

import re
import sys

import numpy as np
import pytest
import torch
from streams import replay

from dropscope.errors import MissingExtra
from dropscope.spectrum import interaction_spectrum, known, nested
from dropscope.spectrum.surrogate import SurrogateSpectrum


def joint(f, inputs, **options):
    return interaction_spectrum(f, inputs, inputs_law="joint", **options)


def standard_errors(spectrum):
    """Of each share, then of the rest; the intervals' halves are cut where they leave [0, 1]."""
    shares = np.append(spectrum.share, spectrum.rest)
    return np.maximum(spectrum.high - shares, shares - spectrum.low) / 1.96


class TestKnownAnswers:
    @pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
    def test_a_product_of_correlated_normals(self, r, generator):
        """The best additive fit of x0 x1 explains 4 r^2 / (1 + r^2)^2; independent columns leave it nothing."""
        one, other = torch.randn(2, 10_000, generator=generator, dtype=torch.float64)
        inputs = torch.stack([one, r * one + (1 - r**2) ** 0.5 * other], dim=1)
        spectrum = joint(lambda x: x[:, 0] * x[:, 1], inputs, max_order=2, generator=generator)

        exact = 4 * r**2 / (1 + r**2) ** 2
        # A fit to 8,000 rows explains a little less than the best one.
        assert abs(spectrum.share[0] - exact) <= 6 * standard_errors(spectrum)[0] + 0.01
        assert spectrum.r2[1] > 0.97

    def test_under_the_product_law_the_same_product_is_all_of_order_two(self, generator):
        one, other = torch.randn(2, 10_000, generator=generator, dtype=torch.float64)
        inputs = torch.stack([one, 0.9 * one + 0.19**0.5 * other], dim=1)
        with pytest.warns(UserWarning, match="`x0` and `x1` have rank correlation"):
            spectrum = interaction_spectrum(
                lambda x: x[:, 0] * x[:, 1], inputs, max_order=2, budget=20_000, generator=generator
            )
        assert spectrum.share[1] > 0.9
        assert joint(lambda x: x[:, 0] * x[:, 1], inputs, max_order=2, generator=generator).share[0] > 0.9

    def test_independent_columns_give_the_spectrum_of_the_product_law(self, generator):
        f = known.mixture((0.5, 0.3, 0.2), n=4, terms=2)
        spectrum = joint(f, f.sample(4000, generator=generator), generator=generator)
        assert (np.abs(spectrum.share - f.share[:3]) <= 6 * standard_errors(spectrum)[:3] + 0.02).all()

    def test_steps_are_learned_by_the_trees(self, generator):
        inputs = torch.randn(3000, 3, generator=generator)
        spectrum = joint(lambda x: (x[:, 0] > 0).float() + ((x[:, 1] > 0) & (x[:, 2] > 0)), inputs, generator=generator)
        # Variances of 1/4 and 3/16; the pair's own part, of two centred steps, is 1/16.
        expected = np.array([6, 1, 0, 0]) / 7
        shares = np.append(spectrum.share, spectrum.rest)
        assert (np.abs(shares - expected) <= 6 * standard_errors(spectrum) + 0.03).all()

    def test_what_no_model_learns_stays_in_the_rest(self, generator):
        inputs = torch.rand(2000, 4, generator=generator, dtype=torch.float64)
        spectrum = joint(lambda x: (1e5 * x.sum(1)).sin(), inputs, generator=generator)
        assert spectrum.rest > 0.95

    def test_outputs_add_their_variances(self, generator):
        inputs = torch.randn(3000, 4, generator=generator, dtype=torch.float64)
        spectrum = joint(lambda x: torch.stack([x[:, 0], 2 * x[:, 1] * x[:, 2]], dim=1), inputs, generator=generator)
        assert (np.abs(spectrum.share - [0.2, 0.8, 0]) <= 6 * standard_errors(spectrum)[:3] + 0.01).all()


def memorise(_, rows, target, order):
    """A learner that knows every row it was shown and nothing else."""
    seen = {row.tobytes(): value for row, value in zip(rows, target, strict=True)}
    return lambda rows: np.array([seen.get(row.tobytes(), np.zeros_like(target[0])) for row in rows])


def test_no_row_is_predicted_by_a_model_that_saw_it(generator, monkeypatch):
    monkeypatch.setattr(nested, "_polynomial", memorise)
    monkeypatch.setattr(nested, "_trees", lambda *learned: memorise(None, *learned))
    inputs = torch.randn(203, 3, generator=generator)
    spectrum = joint(lambda x: x[:, 0], inputs, generator=generator)
    assert spectrum.r2.tolist() == [0, 0, 0]
    assert spectrum.rest == 1


class TestResult:
    @pytest.fixture
    def spectrum(self, generator):
        f = known.mixture(n=8, terms=2)
        return joint(f, f.sample(800, generator=generator), budget=500, generator=generator)

    def test_shares_are_the_steps_of_the_held_out_r2(self, spectrum):
        assert spectrum.share.cumsum() == pytest.approx(spectrum.r2)
        assert spectrum.share.sum() + spectrum.rest == pytest.approx(1)
        assert (spectrum.share >= 0).all()

    def test_intervals_hold_their_shares(self, spectrum):
        shares = np.append(spectrum.share, spectrum.rest)
        assert (spectrum.low <= shares).all()
        assert (shares <= spectrum.high).all()

    def test_it_says_which_law_and_what_was_explained(self, spectrum):
        text = str(spectrum)
        assert "joint law of inputs" in text
        assert f"held-out R2 {spectrum.r2[-1]:.3f}" in text
        assert "order > 3, or not learned" in text
        assert "lower bound" in text

    def test_it_survives_json(self, spectrum):
        again = SurrogateSpectrum.from_dict(spectrum.to_dict())
        assert again.to_dict() == spectrum.to_dict()
        assert str(again) == str(spectrum)

    def test_the_budget_is_kept(self, generator):
        f = known.additive(5)
        spectrum = joint(f, f.sample(800, generator=generator), budget=500, generator=generator)
        assert f.evaluations == spectrum.budget == 500

    def test_same_generator_same_answer(self, generator):
        f = known.g_function([0.0, 1.0, 2.0])
        inputs = f.sample(400, generator=generator)
        one, two = (joint(f, inputs, budget=300, generator=replay(generator)) for _ in range(2))
        assert one.to_dict() == two.to_dict()


class TestRefusals:
    @pytest.mark.parametrize(
        ("f", "options", "message"),
        [
            (
                lambda x: x[:, 0],
                {"blocks": [(0, 1), (2,), (3,)]},
                "`blocks` must hold one column each under the joint law, got one of 2",
            ),
            (lambda x: x[:, 0], {"budget": 113}, "must allow 50 rows or more beside 64 evaluations"),
            (lambda x: 0 * x[:, 0], {}, "`f` must vary with its inputs"),
            (lambda x: torch.rand(len(x)), {}, "two passes differ"),
            (lambda x: x[:, 0].log(), {}, "`f` must give finite outputs, got nan"),
        ],
    )
    def test_the_refusal_says_what_must_hold(self, f, options, message, generator):
        inputs = torch.randn(200, 4, generator=generator)
        with pytest.raises(ValueError, match=re.escape(message)):
            joint(f, inputs, **options)

    def test_without_xgboost_it_says_which_extra_brings_it(self, generator, monkeypatch):
        monkeypatch.setitem(sys.modules, "xgboost", None)
        with pytest.raises(MissingExtra, match="needs `xgboost`"):
            joint(lambda x: x[:, 0], torch.randn(200, 4, generator=generator))
