"""The estimators on functions with known answers: exact where it can be exact, else in standard errors."""

import itertools
import math

import numpy as np
import pytest
import torch
from oracle import anova
from streams import replay
from torch import nn

from dropscope.spectrum import centre_logits, interaction_spectrum, known, stack_spectra
from dropscope.spectrum.arguments import check_design
from dropscope.spectrum.cube import measure
from dropscope.spectrum.fit import OrderFit
from dropscope.spectrum.grouping import occupancy


def all_signs(n):
    return torch.tensor(list(itertools.product([-1.0, 1.0], repeat=n)))


def group_fit(f, inputs, cubes, generator):
    """The fit of a one-output function, for its ratios and their standard errors."""
    design = check_design(inputs, None)
    measured = measure(lambda rows: f(rows).reshape(1, len(rows), -1), design, cubes, generator)
    return OrderFit(measured.groups[0, :, 1:].numpy(), len(design.blocks))


class TestExactAnswers:
    @pytest.mark.parametrize("n", [5, 25])
    def test_an_additive_function_has_order_one_alone(self, n, generator):
        f = known.additive(n)
        spectrum = interaction_spectrum(
            f, f.sample(500, generator=generator).double(), budget=10_000, generator=generator
        )
        assert spectrum.share == pytest.approx([1, 0, 0], abs=1e-6)
        # What the cubes agree on, fewer than two hundred may still have missed.
        assert 0.95 < spectrum.low[0] < spectrum.high[0] == 1
        assert (spectrum.high[1:] < 0.05).all()
        assert spectrum.mean_order == pytest.approx(1, abs=1e-6)

    @pytest.mark.parametrize("n", [9, 25])
    def test_orders_above_a_products_own_are_exactly_empty(self, n, generator):
        f = known.product(2, n)
        spectrum = interaction_spectrum(
            f, f.sample(500, generator=generator), budget=10_000, point="nnls", generator=generator
        )
        assert spectrum.share[2] == pytest.approx(0, abs=1e-6)
        assert spectrum.rest == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("singles", [4, 16])
    def test_an_interaction_inside_a_block_is_of_order_one(self, singles, generator):
        inputs = torch.randn(300, 4 + singles, generator=generator, dtype=torch.float64)
        blocks = [(0, 1), (3, 2), *((4 + i,) for i in range(singles))]
        spectrum = interaction_spectrum(
            lambda x: x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3] + x[:, 4],
            inputs, budget=20_000, blocks=blocks, generator=generator,
        )  # fmt: skip
        assert spectrum.n_orders == 2 + singles
        assert spectrum.blocks == tuple(blocks)
        assert spectrum.share == pytest.approx([1, 0, 0], abs=1e-6)

    def test_the_counter_agrees_with_the_budget(self, generator):
        f = known.g_function()
        spectrum = interaction_spectrum(f, f.sample(200, generator=generator), budget=10_000, generator=generator)
        assert f.evaluations == spectrum.budget <= 10_000

    def test_the_point_estimate_is_the_one_asked_for(self, generator):
        f = known.mixture()
        inputs = f.sample(500, generator=generator)
        smooth, nnls = (
            interaction_spectrum(f, inputs, budget=20_000, point=point, generator=replay(generator))
            for point in ("smooth", "nnls")
        )
        assert (smooth.point, nnls.point) == ("smooth", "nnls")
        order = np.arange(1, 26)
        assert np.square(np.diff(order * smooth.orders)).sum() < np.square(np.diff(order * nnls.orders)).sum()
        assert (smooth.low == nnls.low).all()

        exact = interaction_spectrum(known.ishigami(), inputs[:, :3], budget=20_000, point="smooth")
        assert (exact.method, exact.point) == ("exact-cube", "nnls")

    def test_same_generator_same_answer(self, generator):
        f = known.g_function()
        inputs = f.sample(200, generator=generator)
        one, two = (interaction_spectrum(f, inputs, budget=5000, generator=replay(generator)) for _ in range(2))
        assert one.to_dict() == two.to_dict()


class TestWithinStandardErrors:
    def test_a_random_table_agrees_with_its_brute_force_spectrum(self, generator):
        """Four levels of four inputs: the law is the table's own, so the truth is a finite sum."""
        values = torch.randn(4, 4, 4, 4, generator=generator, dtype=torch.float64)
        inputs = torch.arange(4).repeat(4, 1).T
        exact = anova(values.numpy(), [np.ones(4)] * 4)

        fit = group_fit(lambda x: values[tuple(x.T)], inputs, 4000, generator)
        assert (np.abs(fit.ratio - exact / exact.sum()) <= 6 * fit.standard_error).all()

    @pytest.mark.parametrize("f", [known.mixture(), known.g_function(), known.product(3, 12), known.sine_cosine(10)])
    def test_group_orders_follow_the_occupancy(self, f, generator):
        fit = group_fit(f, f.sample(200_000, generator=generator), 8000, generator)
        expected = occupancy(f.n, 6) @ f.share
        # A table of 200,000 rows is itself a sample: its law moves shares by about 1 / sqrt(rows).
        assert (np.abs(fit.ratio - expected) <= 6 * np.hypot(fit.standard_error, 1 / math.sqrt(200_000))).all()

    @pytest.mark.parametrize("order", [1, 2, 3, 6])
    def test_parity_is_all_at_its_order(self, order, generator):
        fit = group_fit(known.parity(order, 6), all_signs(6), 4000, generator)
        assert (np.abs(fit.ratio - np.eye(6)[order - 1]) <= 6 * fit.standard_error + 1e-12).all()

    def test_survival_is_the_covariance_under_resampling(self, generator):
        f = known.g_function([0.0, 0.5, 1.0, 2.0])
        inputs = f.sample(100_000, generator=generator).double()
        spectrum = interaction_spectrum(f, inputs, budget=400_000, generator=generator)

        p, rows = 0.4, 100_000
        one, other = (f.sample(rows, generator=generator).double() for _ in range(2))
        resampled = torch.where(torch.rand(one.shape, generator=generator) < p, other, one)
        y, z = f(one), f(resampled)
        products = (y - y.mean()) * (z - z.mean()) / y.var()
        error = products.std().item() / math.sqrt(rows)
        # The fitted curve has an error of its own, of the size of the mean order's interval.
        slack = (spectrum.mean_order_high - spectrum.mean_order_low) / 2
        assert abs(spectrum.survival(p) - products.mean().item()) <= 6 * error + 1.5 * slack

    @pytest.mark.parametrize("method", ["exact-cube", "cube"])
    def test_intervals_cover(self, method, generator):
        """Pooled over functions, replicates and shares, at most 15 % of 95 % intervals may miss, plus five sigmas."""
        if method == "cube":
            functions = [known.mixture(), known.g_function(), known.mixture((0.2, 0.3, 0.5), n=12)]
        else:
            functions = [known.ishigami(), known.g_function([0.0, 1.0, 1.0, 3.0]), known.mixture((0.5, 0.5), n=6)]

        missed = []
        for f, _ in itertools.product(functions, range(10)):
            inputs = f.sample(50_000, generator=generator)
            spectrum = interaction_spectrum(f, inputs, budget=30_000, generator=generator)
            truth = np.append(f.share[:3], f.share[3:].sum())
            # Shares that are exactly empty and known to be empty have intervals of no width.
            missed += list((truth < spectrum.low - 2e-3) | (truth > spectrum.high + 2e-3))
        assert sum(missed) <= 0.15 * len(missed) + 5 * math.sqrt(0.15 * 0.85 * len(missed))

    def test_intervals_shrink_with_the_budget(self, generator):
        f = known.g_function()
        inputs = f.sample(20_000, generator=generator)
        small, large = (interaction_spectrum(f, inputs, budget=b, generator=generator) for b in (10_000, 640_000))
        assert (large.high[0] - large.low[0]) < 0.5 * (small.high[0] - small.low[0])


class TestInvariance:
    @pytest.fixture
    def f(self):
        return known.g_function([0.0, 0.5, 1.0, 2.0, 4.0, 0.0, 0.5, 1.0, 2.0, 4.0])

    @pytest.fixture
    def inputs(self, f, generator):
        return f.sample(300, generator=generator).double()

    def test_scaling_by_a_power_of_two_changes_no_bit(self, f, inputs, generator):
        plain = interaction_spectrum(f, inputs, budget=20_000, generator=replay(generator))
        scaled = interaction_spectrum(lambda x: -8 * f(x), inputs, budget=20_000, generator=replay(generator))
        assert (scaled.orders == plain.orders).all()
        assert (scaled.low == plain.low).all()
        assert scaled.total == 64 * plain.total

    def test_affine_maps_of_the_output_change_nothing_but_rounding(self, f, inputs, generator):
        plain = interaction_spectrum(f, inputs, budget=20_000, point="nnls", generator=replay(generator))
        moved = interaction_spectrum(
            lambda x: 3 - 0.7 * f(x), inputs, budget=20_000, point="nnls", generator=replay(generator)
        )
        assert moved.share == pytest.approx(plain.share, abs=1e-7)
        assert moved.total == pytest.approx(0.49 * plain.total, rel=1e-9)

    def test_the_order_of_the_columns_does_not_matter(self, f, inputs, generator):
        permutation = torch.randperm(10, generator=generator)
        # Column i of the permuted table is column permutation[i]; blocks list the same columns in the same order.
        place = permutation.argsort()
        plain = interaction_spectrum(f, inputs, budget=20_000, generator=replay(generator))
        permuted = interaction_spectrum(
            lambda x: f(x[:, place]),
            inputs[:, permutation],
            budget=20_000,
            blocks=[(int(i),) for i in place],
            generator=replay(generator),
        )
        assert (permuted.orders == plain.orders).all()

    def test_numpy_and_torch_tables_agree(self, f, inputs, generator):
        plain = interaction_spectrum(f, inputs, budget=5000, generator=replay(generator))
        array = interaction_spectrum(
            lambda x: f(torch.from_numpy(x)).numpy(), inputs.numpy(), budget=5000, generator=replay(generator)
        )
        assert array.to_dict() == plain.to_dict()

    def test_outputs_add_their_variances(self, inputs, generator):
        def f(x):
            return torch.stack([x.sum(1).exp(), 3 * x.sum(1).sin()], dim=1)

        both = interaction_spectrum(f, inputs, budget=20_000, generator=replay(generator))
        single = [
            interaction_spectrum(lambda x, i=i: f(x)[:, i], inputs, budget=20_000, generator=replay(generator))
            for i in range(2)
        ]
        assert both.total == pytest.approx(single[0].total + single[1].total, rel=1e-12)

    def test_centred_logits_ignore_what_is_common_to_all_classes(self, inputs, generator):
        def logits(x):
            return torch.stack([x[:, 0], x[:, 1] * x[:, 2], x[:, 3] - x[:, 4]], dim=1)

        def shifted(x):
            return logits(x) + 100 * x.prod(1, keepdim=True)

        assert centre_logits(shifted(inputs)).sum(1).abs().max() < 1e-12
        one, two = (
            interaction_spectrum(lambda x, g=g: centre_logits(g(x)), inputs, budget=5000, generator=replay(generator))
            for g in (logits, shifted)
        )
        assert one.share == pytest.approx(two.share, abs=1e-6)


class TestModules:
    def test_modes_are_restored_and_dropout_is_off_meanwhile(self, generator):
        model = nn.Sequential(nn.Linear(9, 16), nn.Dropout(0.5), nn.ReLU(), nn.BatchNorm1d(16), nn.Linear(16, 1))
        model.train()
        model[3].eval()
        before = {name: value.clone() for name, value in model.state_dict().items()}

        inputs = torch.randn(100, 9, generator=generator, dtype=torch.float64).numpy()
        spectrum = interaction_spectrum(model, inputs, budget=5000, generator=generator)

        assert spectrum.total > 0
        assert [module.training for module in model] == [True, True, True, False, True]
        assert model.training
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_modes_are_restored_after_an_error(self, generator):
        class Broken(nn.Module):
            def forward(self, x):
                raise RuntimeError("broken")

        model = Broken().train()
        with pytest.raises(RuntimeError, match="broken"):
            interaction_spectrum(model, torch.randn(10, 9, generator=generator), budget=5000)
        assert model.training


class TestStacks:
    FUNCTIONS = (
        lambda x: x[:, 0] * x[:, 1],
        lambda x: x.sum(1).exp(),
        lambda x: torch.full_like(x[:, 0], 0.1) * (1 + 1e-8 * x[:, 0]),
        lambda x: x[:, 0] / 0,
        lambda x: x[:, 2] * x[:, 3] * x[:, 4] + x[:, 0],
    )

    def stack(self, *functions):
        return lambda x: torch.stack([function(x)[:, None] for function in functions])

    @pytest.fixture
    def inputs(self, generator):
        return torch.randn(200, 12, generator=generator)

    def test_companions_do_not_change_a_bit(self, inputs, generator):
        together = stack_spectra(
            self.stack(*self.FUNCTIONS), inputs, models=5, budget=20_000, generator=replay(generator)
        )
        for i in (0, 1, 4):
            (alone,) = stack_spectra(
                self.stack(self.FUNCTIONS[i]), inputs, models=1, budget=20_000, generator=replay(generator)
            )
            assert together[i].to_dict() == alone.to_dict()

        # A budget too small for a search of groups, which a stack does not make.
        single = interaction_spectrum(self.FUNCTIONS[1], inputs, budget=4000, generator=replay(generator))
        spectra = stack_spectra(
            self.stack(*self.FUNCTIONS[:2]), inputs, models=2, budget=4000, generator=replay(generator)
        )
        assert spectra[1].to_dict() == single.to_dict()

    def test_dead_and_diverged_models_do_not_stop_the_others(self, inputs, generator):
        spectra = stack_spectra(self.stack(*self.FUNCTIONS), inputs, models=5, budget=5000, generator=generator)
        assert spectra[2].total == 0
        assert np.isnan(spectra[2].share).all()
        assert np.isnan(spectra[2].mean_order)
        assert spectra[3] is None
        assert spectra[4].total > 0

    def test_without_intervals_the_points_stay_the_same(self, inputs, generator):
        stack = self.stack(self.FUNCTIONS[1])
        (with_them,) = stack_spectra(stack, inputs, models=1, budget=5000, generator=replay(generator))
        (without,) = stack_spectra(stack, inputs, models=1, budget=5000, intervals=False, generator=replay(generator))
        assert np.isnan(without.low).all()
        assert np.isnan(without.mean_order_high)
        assert (without.orders == with_them.orders).all()
