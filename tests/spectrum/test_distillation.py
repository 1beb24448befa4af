"""The source paper's distillation: what it computes, and how far it lies from functions with known answers."""

import re

import numpy as np
import pytest
import torch
from xgboost import XGBRegressor

from dropscope.spectrum import distill, interaction_spectrum, known


class TestSchemes:
    @pytest.fixture
    def inputs(self, generator):
        return torch.randn(300, 4, generator=generator, dtype=torch.float64)

    def f(self, x):
        return x[:, 0] + x[:, 1] * x[:, 2] + x[:, 1:].prod(1)

    def test_code_fits_trees_of_each_depth_by_themselves(self, inputs):
        y = self.f(inputs).numpy()
        one, two = (XGBRegressor(max_depth=k, n_estimators=50, n_jobs=1).fit(inputs, y).predict(inputs) for k in (1, 2))
        parts = np.array([one.var(), (two - one).var(), (y - two).var()])

        spectrum = distill(self.f, inputs, max_order=2, scheme="code", trees=50)
        assert np.append(spectrum.share, spectrum.rest) == pytest.approx(parts / parts.sum(), rel=1e-3)
        assert spectrum.method == "distill-code"

    def test_text_fits_deeper_trees_to_what_shallower_ones_left(self, inputs):
        y = self.f(inputs).numpy()
        one = XGBRegressor(max_depth=1, n_estimators=50, n_jobs=1).fit(inputs, y).predict(inputs)
        two = XGBRegressor(max_depth=2, n_estimators=50, n_jobs=1).fit(inputs, y - one).predict(inputs)
        parts = np.array([one.var(), two.var(), (y - one - two).var()])

        spectrum = distill(self.f, inputs, max_order=2, scheme="text", trees=50)
        assert np.append(spectrum.share, spectrum.rest) == pytest.approx(parts / parts.sum(), rel=1e-3)
        assert spectrum.r2 == pytest.approx([1 - (y - one).var() / y.var(), 1 - (y - one - two).var() / y.var()])

    def test_outputs_add_their_variances(self, inputs):
        both = distill(lambda x: torch.stack([x[:, 0], 3 * x[:, 1]], dim=1), inputs, trees=50)
        assert both.total == pytest.approx(float(inputs[:, 0].var(correction=0) + 9 * inputs[:, 1].var(correction=0)))

    def test_the_result_is_flagged(self, inputs):
        spectrum = distill(self.f, inputs, trees=20)
        assert "biased" in str(spectrum)
        assert "in-sample R2" in str(spectrum)
        assert np.isnan(spectrum.low).all()
        assert not spectrum.identified.any()
        assert spectrum.share.sum() + spectrum.rest == pytest.approx(1)

    def test_a_larger_table_is_sampled(self, generator):
        f = known.additive(3)
        spectrum = distill(f, f.sample(900, generator=generator), budget=400, trees=20, generator=generator)
        assert f.evaluations == spectrum.budget == 400


class TestBiasBesideTheTruth:
    def test_an_additive_function_is_recognised(self, generator):
        f = known.additive(3)
        assert distill(f, f.sample(1000, generator=generator), trees=300).share[0] > 0.9

    @pytest.mark.parametrize("scheme", ["text", "code"])
    def test_a_pure_interaction_of_three_is_reported_as_one_of_two(self, scheme, generator):
        """x0 x1 x2 among five columns: all of order three, of which 1,000 rows show about a tenth."""
        f = known.product(3, 5)
        shares = np.array([distill(f, f.sample(1000, generator=generator), scheme=scheme).share for _ in range(4)])
        error = shares.std(axis=0, ddof=1) / len(shares) ** 0.5
        assert shares[:, 2].mean() + 5 * error[2] < 0.4
        assert shares[:, 1].mean() - 5 * error[1] > 0.5

        honest = interaction_spectrum(f, f.sample(1000, generator=generator), budget=20_000, generator=generator)
        assert honest.low[2] > shares[:, 2].max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "paper"}, "`scheme` must be 'text' or 'code', got 'paper'."),
        ({"trees": 0}, "`trees` must be at least 1, got 0."),
        ({"max_order": 5}, "`max_order` must be in 1 to 4"),
        ({"budget": 60}, "must allow 50 rows or more"),
    ],
)
def test_the_refusal_says_what_must_hold(options, message, generator):
    with pytest.raises(ValueError, match=re.escape(message)):
        distill(lambda x: x[:, 0], torch.randn(200, 4, generator=generator), **options)
