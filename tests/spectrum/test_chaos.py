"""Polynomials on a table's own columns, sparse expansions, and expansions as control variates of the cube."""

import itertools
import re

import numpy as np
import pytest
import torch
from oracle import anova
from streams import replay

from dropscope.spectrum import control, interaction_spectrum, known, theory
from dropscope.spectrum.arguments import check_design
from dropscope.spectrum.chaos import Expansion, fit_expansion
from dropscope.spectrum.control import measure_controlled
from dropscope.spectrum.polynomials import Polynomials


def grid(table):
    """Every mixture of the table's rows: the product of its columns' laws, by enumeration."""
    return torch.cartesian_prod(*table.T)


def as_stack(f):
    return lambda rows: f(rows).reshape(1, len(rows), -1)


class TestPolynomials:
    def test_products_are_orthonormal_under_the_product_of_the_columns(self, generator):
        table = torch.randn(5, 4, generator=generator, dtype=torch.float64) * 10 + 1000
        polynomials = Polynomials(table, highest_degree=4)
        products = polynomials.products(torch.arange(4), 4)

        values = polynomials.evaluate(products, grid(table))
        gram = values @ values.T / values.shape[1]
        assert torch.allclose(gram, torch.eye(len(products), dtype=torch.float64), atol=1e-7)
        assert values.mean(1).abs().max() < 1e-7

    def test_a_column_of_few_values_has_few_polynomials(self, generator):
        table = torch.stack([torch.full((60,), 0.1), torch.arange(60) % 2, torch.arange(60) % 3 - 0.7], dim=1)
        products = Polynomials(table).products(torch.arange(3), 1)
        assert products[:, 0].tolist() == [[1, 1], [2, 1], [2, 2]]

    def test_products_are_all_there_is_up_to_a_degree(self):
        polynomials = Polynomials(torch.linspace(0, 1, 30).repeat(25, 1).T)
        products = polynomials.products(torch.arange(25), 4)
        # C(25 + 4, 4) - 1 monomials of degree 1 to 4.
        assert len(products) == len(products.unique(dim=0)) == 23_750
        assert products[..., 1].sum(1).max() == 4
        assert (polynomials.products(torch.arange(25), 2)[..., 1] > 0).sum(1).max() == 2

    def test_many_columns_are_left_with_low_degrees(self):
        polynomials = Polynomials(torch.linspace(0, 1, 9).repeat(784, 1).T)
        assert polynomials.products(torch.arange(784), 4)[..., 1].sum(1).max() == 1


class TestExpansion:
    def test_variances_are_those_of_its_predictions_by_enumeration(self, generator):
        table = torch.randn(4, 4, generator=generator, dtype=torch.float64)
        polynomials = Polynomials(table)
        products = polynomials.products(torch.arange(4), 4)
        coefficients = torch.randn(len(products), 1, generator=generator, dtype=torch.float64)
        expansion = Expansion(polynomials, products, coefficients, torch.ones(1), 1.0)

        values = expansion.predict(grid(table)).reshape(4, 4, 4, 4).numpy()
        assert expansion.variances(4).numpy() == pytest.approx(anova(values, [np.ones(4)] * 4), rel=1e-6)

    @pytest.mark.parametrize("f", [known.product(3, 5), known.mixture(n=5), known.product(2, 25)])
    def test_a_polynomial_is_found_exactly(self, f, generator):
        inputs = f.sample(4000, generator=generator).double()
        expansion = fit_expansion(Polynomials(inputs), inputs[:3000], f(inputs[:3000])[:, None])
        missed = (expansion.predict(inputs)[:, 0] - f(inputs)).square().mean()
        assert missed < 2.5e-7 * f.variances.sum()

    def test_noise_is_not_explained(self, generator):
        inputs = torch.randn(3000, 5, generator=generator)
        noise = torch.randn(3000, 2, generator=generator)
        expansion = fit_expansion(Polynomials(inputs), inputs, noise)
        assert expansion is None or expansion.r2 < 0.05

    def test_interactions_above_the_order_allowed_are_left_out(self, generator):
        inputs = torch.randn(2000, 3, generator=generator, dtype=torch.float64)
        outputs = inputs[:, :1] + inputs[:, :1] * inputs[:, 1:2]
        expansion = fit_expansion(Polynomials(inputs), inputs, outputs, max_order=1)
        assert (expansion.products[:, 1:, 1] == 0).all()

    def test_several_outputs_share_their_products(self, generator):
        inputs = torch.randn(2000, 6, generator=generator, dtype=torch.float64)
        outputs = torch.stack([inputs[:, 0], 2 * inputs[:, 1] * inputs[:, 2]], dim=1)
        expansion = fit_expansion(Polynomials(inputs), inputs, outputs)
        assert expansion.predict(inputs) == pytest.approx(outputs, abs=2e-3)


class TestControlVariate:
    @pytest.mark.parametrize("scale", [0.3, 3.0])
    def test_a_wrong_expansion_biases_nothing(self, scale, generator, monkeypatch):
        """Random coefficients on a random function of four inputs of four levels each, whose truth is a finite sum."""
        values = torch.randn(4, 4, 4, 4, generator=generator, dtype=torch.float64)
        table = torch.arange(4).repeat(4, 1).T
        polynomials = Polynomials(table)
        products = polynomials.products(torch.arange(4), 4)
        coefficients = scale * torch.randn(len(products), 1, generator=generator, dtype=torch.float64)
        wrong = Expansion(polynomials, products, coefficients, torch.zeros(1), 1.0)
        monkeypatch.setattr(control, "fit_expansion", lambda *_: wrong)
        # A weight of one, so that the whole error of the control is subtracted.
        monkeypatch.setattr(control, "_weight", lambda *_: 1.0)

        design = check_design(table, None)
        measured, used = measure_controlled(
            as_stack(lambda rows: values[tuple(rows.T)]), design, 15_000, 5_000, generator
        )
        sample = measured.groups[0, :, 1:].numpy()
        error = sample.std(axis=0, ddof=1) / len(sample) ** 0.5
        assert used
        assert (np.abs(sample.mean(axis=0) - anova(values.numpy(), [np.ones(4)] * 4)) <= 6 * error).all()

    def test_half_of_the_cubes_weigh_the_other_half(self, generator):
        error = torch.randn(60, 6, generator=generator, dtype=torch.float64)
        model = 1 + 0.5 * error
        one = control._subtract(model, error)
        model[:30] = 5.0
        other = control._subtract(model, error)
        assert one == pytest.approx(torch.ones(60, 6).double(), abs=1e-9)
        # The first half is as it was weighted by the second, which did not change.
        assert other[:30] == pytest.approx(5 - 0.5 * error[:30], abs=1e-9)

    @pytest.mark.parametrize(("order", "n"), [(2, 4), (3, 9)])
    @pytest.mark.parametrize("point", ["smooth", "nnls"])
    def test_a_product_is_solved(self, order, n, point, generator):
        f = known.product(order, n)
        inputs = f.sample(2000, generator=generator).double()
        spectrum = interaction_spectrum(
            f, inputs, budget=20_000, point=point, control_variate="pce", generator=generator
        )
        exact = theory.product_variances(
            inputs.mean(0)[:order].tolist(), inputs.var(0, unbiased=False)[:order].tolist()
        )
        exact = np.append(exact / exact.sum(), np.zeros(3))
        assert np.append(spectrum.share, spectrum.rest)[:3] == pytest.approx(exact[:3], abs=2e-3)
        assert (spectrum.high - spectrum.low).max() < 0.02
        assert spectrum.method.endswith("cube+pce")

    @pytest.mark.parametrize("f", [known.sine_cosine(9), known.mixture(n=9)])
    def test_smooth_functions_come_out_far_more_accurate(self, f, generator):
        inputs = f.sample(20_000, generator=generator)
        truth = np.append(f.share[:3], f.share[3:].sum())
        plain, controlled = (
            interaction_spectrum(f, inputs, budget=20_000, control_variate=name, generator=generator)
            for name in (None, "pce")
        )
        # The law is that of 20,000 rows, whose moments move shares by about .01 (one standard error).
        assert np.abs(np.append(controlled.share, controlled.rest) - truth).max() < 0.06
        assert (controlled.high - controlled.low).sum() < 0.2 * (plain.high - plain.low).sum()

    def test_the_rows_of_the_fit_are_part_of_the_budget(self, generator):
        f = known.mixture()
        spectrum = interaction_spectrum(
            f, f.sample(500, generator=generator), budget=10_000, control_variate="pce", generator=generator
        )
        assert f.evaluations == spectrum.budget <= 10_000

    def test_a_model_that_writes_into_its_rows_is_measured_as_it_is(self, generator):
        def scaled(x):
            x = 3 * (x - 0.5)
            return x[:, 0] + x[:, 1] * x[:, 2]

        def scaling(x):
            x -= 0.5
            x *= 3
            return x[:, 0] + x[:, 1] * x[:, 2]

        inputs = torch.rand(500, 5, generator=generator, dtype=torch.float64)
        one, other = (
            interaction_spectrum(f, inputs, budget=5000, control_variate="pce", generator=replay(generator))
            for f in (scaled, scaling)
        )
        assert other.share == pytest.approx(one.share, abs=1e-9)

    def test_same_generator_same_answer(self, generator):
        f = known.mixture()
        inputs = f.sample(300, generator=generator)
        one, two = (
            interaction_spectrum(f, inputs, budget=10_000, control_variate="pce", generator=replay(generator))
            for _ in range(2)
        )
        assert one.to_dict() == two.to_dict()

    def test_what_polynomials_do_not_explain_is_measured_without_them(self, generator):
        f = known.parity(6, 9)
        inputs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=9)))
        with pytest.warns(UserWarning, match="no control variate: polynomials explain"):
            spectrum = interaction_spectrum(f, inputs, budget=20_000, control_variate="pce", generator=generator)
        assert spectrum.method == "cube"
        assert f.evaluations == spectrum.budget <= 20_000

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"control_variate": "gp"}, "`control_variate` must be 'pce', got 'gp'."),
            ({"inputs_law": "joint"}, "`control_variate` must be None under the joint law, got 'pce'."),
            ({"blocks": [(0, 1), *((i,) for i in range(2, 9))]}, "needs blocks of one column each, got one of 2"),
            ({"budget": 3263}, "`budget` must be at least 3264"),
            ({"budget": 3400}, "`budget` must pay for 50 cubes of 64 mixtures beside the 680 rows"),
        ],
    )
    def test_the_refusal_says_what_must_hold(self, arguments, message, generator):
        arguments = {"budget": 10_000, "control_variate": "pce"} | arguments
        inputs = torch.randn(100, 9, generator=generator)
        with pytest.raises(ValueError, match=re.escape(message)):
            interaction_spectrum(lambda x: x[:, 0], inputs, **arguments)
