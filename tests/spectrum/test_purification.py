"""Pure effects against closed forms, least squares, and any other way to write the same function as a sum."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from oracle import anova

from dropscope.spectrum import purification, purify, tabulate_density, tabulate_sample

SHAPES = [(5,), (4, 6), (3, 5, 4), (3, 4, 2, 3)]


@pytest.fixture
def rng(seed):
    return np.random.default_rng(seed)


def dependent_law(shape, rng):
    """A law whose axes depend on one another, of moderate strength."""
    return 0.2 + rng.exponential(size=shape)


def expanded(effect, axes, shape):
    return np.broadcast_to(np.expand_dims(effect, [axis for axis in range(len(shape)) if axis not in axes]), shape)


def summed(effects, shape):
    return sum(expanded(effect, axes, shape) for axes, effect in effects.items())


def best_fit(values, law, order):
    """Best fit by functions of `order` axes each, by weighted least squares on indicators."""
    cells = list(np.ndindex(values.shape))
    columns = []
    for axes in itertools.combinations(range(values.ndim), order):
        labels = [tuple(cell[axis] for axis in axes) for cell in cells]
        columns += [[label == level for label in labels] for level in sorted(set(labels))]

    root = np.sqrt(law.ravel())
    system = root[:, None] * np.array(columns, dtype=float).T
    coefficients = np.linalg.lstsq(system, root * values.ravel(), rcond=1e-12)[0]
    return (np.array(columns, dtype=float).T @ coefficients).reshape(values.shape)


def variance(values, law):
    return np.average((values - np.average(values, weights=law)) ** 2, weights=law)


class TestEveryLaw:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_effects_sum_to_the_function(self, shape, rng):
        values = rng.normal(size=shape)
        effects = purify(values, dependent_law(shape, rng)).effects
        assert len(effects) == 2 ** len(shape)
        assert np.abs(summed(effects, shape) - values).max() <= 1e-12

    @pytest.mark.parametrize("shape", SHAPES)
    def test_effects_have_mean_zero_along_each_of_their_axes(self, shape, rng):
        law = dependent_law(shape, rng)
        for axes, effect in purify(rng.normal(size=shape), law).effects.items():
            marginal = law.sum(tuple(axis for axis in range(len(shape)) if axis not in axes))
            for place in range(len(axes)):
                assert np.abs(np.average(effect, axis=place, weights=marginal)).max() <= 1e-8

    @pytest.mark.parametrize("shape", SHAPES)
    def test_any_split_of_the_function_ends_in_the_same_effects(self, shape, rng):
        values, law = rng.normal(size=shape), dependent_law(shape, rng)
        straight = purify(values, law).effects

        split = {axes: rng.normal(size=effect.shape) for axes, effect in straight.items()}
        everything = tuple(range(len(shape)))
        split[everything] += values - summed(split, shape)

        for axes, effect in purification._move_means(split, law / law.sum(), (1e-11, 10_000)).items():
            assert np.abs(effect - straight[axes]).max() <= 1e-8

    @pytest.mark.parametrize("shape", SHAPES)
    def test_shares_are_those_of_nested_least_squares(self, shape, rng):
        values, law = rng.normal(size=shape), dependent_law(shape, rng)
        explained = [variance(best_fit(values, law, order), law) for order in range(1, len(shape))]
        expected = np.diff([0.0, *explained, variance(values, law)]) / variance(values, law)
        assert purify(values, law).share == pytest.approx(expected, abs=1e-8)

    def test_main_effects_of_two_axes_are_the_additive_fit(self, rng):
        values, law = rng.normal(size=(6, 5)), dependent_law((6, 5), rng)
        pure = purify(values, law)
        additive = pure.effects[()] + pure.effects[(0,)][:, None] + pure.effects[(1,)]
        assert np.abs(additive - best_fit(values, law, 1)).max() <= 1e-8
        assert pure.share[1] == pytest.approx(pure.variances[(0, 1)] / pure.total, abs=1e-8)

    def test_purifying_a_pure_effect_changes_nothing(self, rng):
        law = dependent_law((5, 4, 3), rng)
        interaction = purify(rng.normal(size=(5, 4, 3)), law).effects[(0, 1, 2)]
        again = purify(interaction, law)
        assert np.abs(again.effects[(0, 1, 2)] - interaction).max() <= 1e-8
        assert again.share == pytest.approx([0, 0, 1], abs=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_independent_axes_give_the_functional_anova(shape, rng):
    values, weights = rng.normal(size=shape), [rng.dirichlet(np.ones(size)) for size in shape]
    law = math.prod(np.ix_(*weights))
    pure = purify(values, law)

    exact = anova(values, weights)
    assert pure.share == pytest.approx(exact / exact.sum(), abs=1e-12)
    assert sum(pure.variances.values()) == pytest.approx(pure.total, rel=1e-12)
    assert pure.total == pytest.approx(exact.sum(), rel=1e-12)


class TestCorrelatedProduct:
    """x0 x1 under Gaussians with correlation r: the additive fit is r + r (x0^2 + x1^2 - 2) / (1 + r^2)."""

    POINTS = np.linspace(-8, 8, 161)

    def law(self, r, dimensions=2):
        precision = np.eye(dimensions)
        precision[:2, :2] = np.linalg.inv([[1, r], [r, 1]])
        return lambda x: torch.exp(-0.5 * torch.einsum("ri,ij,rj->r", x, torch.tensor(precision), x))

    @pytest.mark.parametrize("r", [0.0, 0.01, 0.3, -0.5, 0.9, 0.99])
    def test_the_share_of_order_one_is_exact(self, r):
        grid = tabulate_density(lambda x: x[:, 0] * x[:, 1], self.law(r), [self.POINTS] * 2)
        pure = purify(grid.values, grid.weights)
        expected = 4 * r**2 / (1 + r**2) ** 2

        assert pure.share == pytest.approx([expected, 1 - expected], abs=1e-9)
        assert pure.total == pytest.approx(1 + r**2, rel=1e-9)
        assert float(pure.effects[()]) == pytest.approx(r, abs=1e-9)

    def test_main_effects_are_parabolas(self):
        r = 0.5
        grid = tabulate_density(lambda x: x[:, 0] * x[:, 1], self.law(r), [self.POINTS] * 2)
        main = purify(grid.values, grid.weights).effects[(0,)]
        inside = np.abs(self.POINTS) < 4
        assert main[inside] == pytest.approx(r / (1 + r**2) * (self.POINTS[inside] ** 2 - 1), abs=1e-7)

    def test_a_third_independent_factor_raises_each_order_by_one(self):
        r, points = 0.6, np.linspace(-7, 7, 57)
        grid = tabulate_density(lambda x: x.prod(1), self.law(r, 3), [points] * 3)
        # E[x0 x1 | x2] = r: the product has the main effect r x2, of variance r^2.
        additive = 4 * r**2 / (1 + r**2)
        expected = np.array([r**2, additive, 1 + r**2 - additive]) / (1 + 2 * r**2)
        assert purify(grid.values, grid.weights).share == pytest.approx(expected, abs=1e-8)


class TestCellsWithoutWeight:
    def test_what_they_hold_does_not_matter(self, rng):
        values, law = rng.normal(size=(5, 6)), dependent_law((5, 6), rng)
        law[2, 3] = law[4] = 0
        other = values.copy()
        other[2, 3], other[4], other[4, 0] = 1e3, np.nan, np.inf

        one, two = purify(values, law), purify(other, law)
        assert two.share == pytest.approx(one.share, abs=1e-9)
        assert two.effects[(0, 1)][law > 0] == pytest.approx(one.effects[(0, 1)][law > 0], abs=1e-8)
        assert all(np.isfinite(effect).all() for effect in two.effects.values())

    def test_the_effects_still_sum_to_the_function_there(self, rng):
        values, law = rng.normal(size=(4, 3, 3)), dependent_law((4, 3, 3), rng)
        law[0, 1] = law[:, 2] = 0
        assert np.abs(summed(purify(values, law).effects, values.shape) - values).max() <= 1e-12

    def test_one_axis_that_copies_another_leaves_no_interaction(self, rng):
        values = rng.normal(size=(6, 6))
        pure = purify(values, np.diag(rng.dirichlet(np.ones(6))))
        assert pure.share == pytest.approx([1, 0], abs=1e-12)


class TestTables:
    def test_a_density_is_weighed_by_the_volume_of_its_cells(self):
        grid = tabulate_density(lambda x: x[:, 0] + 10 * x[:, 1], lambda x: torch.ones(len(x)), [[0, 1, 3], [0, 2]])
        assert grid.values.tolist() == [[0, 20], [1, 21], [3, 23]]
        # Widths of the first axis: 1, then the way from 0 to 3 weighed by distance, then 2.
        assert grid.weights[:, 0] / grid.weights[0, 0] == pytest.approx([1, np.gradient([0.0, 1, 3])[1], 2])

    def test_few_values_are_their_own_cells(self):
        sample = np.array([[0, 2.5], [0, 2.5], [1, 2.5], [1, -1], [3, -1]])
        grid = tabulate_sample(lambda x: x[:, 0] * x[:, 1], sample)
        assert [axis.tolist() for axis in grid.axes] == [[0, 1, 3], [-1, 2.5]]
        assert grid.weights.tolist() == [[0, 2], [1, 1], [1, 0]]
        assert grid.values.tolist() == [[0, 0], [-1, 2.5], [-3, 7.5]]

    def test_many_values_are_cut_at_quantiles_and_keep_their_mean(self, rng):
        sample = rng.exponential(size=(10_000, 2))
        grid = tabulate_sample(lambda x: x[:, 0], sample, bins=20)
        assert grid.weights.sum() == 10_000
        assert grid.weights.sum(1) == pytest.approx(np.full(20, 500), abs=1)
        assert np.average(grid.axes[0], weights=grid.weights.sum(1)) == pytest.approx(sample[:, 0].mean(), rel=1e-12)

    @pytest.mark.parametrize("sign", [-1, 1])
    def test_a_value_that_fills_a_column_keeps_a_piece_of_its_own(self, sign):
        sample = sign * np.c_[np.r_[np.zeros(90), np.arange(1.0, 11)], np.arange(100.0)]
        grid = tabulate_sample(lambda x: x[:, 0], sample, bins=5)
        assert 0 in grid.axes[0]
        assert sorted(grid.weights.sum(1)) == [10, 90]
        assert all((np.diff(axis) > 0).all() for axis in grid.axes)

    def test_shares_of_a_sample_are_those_of_a_regression_on_it(self, rng):
        one = rng.integers(4, size=500)
        sample = np.c_[one, (one + rng.integers(3, size=500)) % 5]
        grid = tabulate_sample(lambda x: x[:, 0] * x[:, 1] ** 2, sample)

        outcome = sample[:, 0] * sample[:, 1] ** 2.0
        indicators = np.hstack([np.eye(4)[sample[:, 0]], np.eye(5)[sample[:, 1]]])
        fit = indicators @ np.linalg.lstsq(indicators, outcome, rcond=1e-12)[0]
        assert purify(grid.values, grid.weights).share[0] == pytest.approx(fit.var() / outcome.var(), abs=1e-8)


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        (np.ones(()), None, "`values` must have 1 to 4 dimensions, none empty, got shape ()"),
        (np.ones((1,) * 5), None, "`values` must have 1 to 4 dimensions"),
        (np.ones((2, 0)), None, "none empty"),
        (np.eye(2), np.ones(2), "`weights` must have the shape (2, 2) of `values`, got (2,)"),
        (np.eye(2), -np.eye(2), "`weights` must be finite, not negative"),
        (np.eye(2), np.zeros((2, 2)), "positive somewhere"),
        (np.array([0, np.nan]), None, "`values` must be finite where `weights` are positive, got nan in cell (1,)"),
        (np.full((3, 3), 0.1), None, "`values` must vary where `weights` are positive"),
        (np.eye(2), np.array([[1, 0], [0, 1]]), "`values` must vary where `weights` are positive"),
    ],
)
def test_the_refusal_says_what_must_hold(values, weights, message):
    with pytest.raises(ValueError) as error:
        purify(values, weights)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tabulate_density(torch.sum, torch.sum, [[0, 1]]), "`f` must give one output per row"),
        (lambda: tabulate_density(torch.sum, torch.sum, [[0]]), "two or more increasing points"),
        (lambda: tabulate_density(torch.sum, torch.sum, [[1, 0]]), "two or more increasing points"),
        (lambda: tabulate_sample(torch.sum, np.ones(3)), "`sample` must be a table of finite numbers"),
        (lambda: tabulate_sample(torch.sum, np.array([[np.nan]])), "`sample` must be a table of finite numbers"),
        (lambda: tabulate_sample(torch.sum, np.ones((3, 2)), bins=1), "`bins` must be at least 2, got 1"),
    ],
)
def test_tables_refuse_what_they_cannot_hold(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_sweeps_that_do_not_settle_are_an_error(rng):
    law = np.eye(4) + 1e-3
    with pytest.raises(RuntimeError, match="still moving after 3 sweeps: raise `max_sweeps` or `tolerance`"):
        purify(rng.normal(size=(4, 4)), law, max_sweeps=3)


def test_the_description_names_every_order_and_effect(rng):
    lines = str(purify(np.multiply.outer([1.0, -1], [1.0, -1]))).splitlines()
    assert lines[0] == "pure effects of 2 axes, joint law of inputs, variance 1"
    assert [line.split() for line in lines[1:3]] == [["order", "1", "0.000"], ["order", "2", "1.000"]]
    assert lines[-1].split() == ["axes", "0", "×", "1", "1"]


def test_json_holds_every_effect(rng):
    pure = purify(rng.normal(size=(2, 3)))
    plain = json.loads(json.dumps(pure.to_dict(), allow_nan=False))
    assert plain["axes"] == [[], [0], [1], [0, 1]]
    assert plain["effects"][3] == pure.effects[(0, 1)].tolist()
    assert plain["variances"] == [0, *pure.variances.values()]
