"""Which blocks may share a group: found where they never interact, and refused where they do."""

import numpy as np
import pytest
import torch

from dropscope.spectrum import interaction_spectrum, known
from dropscope.spectrum.mixtures import Design
from dropscope.spectrum.separation import _colouring, measure_separated


def singles(n):
    return tuple((i,) for i in range(n))


def separated(f, n, generator, budget=100_000):
    """The design, the cubes and the rows evaluated, for a function of n independent inputs."""
    table = torch.rand(2000, n, generator=generator, dtype=torch.float64) * 2 - 1
    rows = 0

    def evaluate(x):
        nonlocal rows
        rows += len(x)
        return f(x).reshape(1, len(x), -1)

    design, measured, spent = measure_separated(evaluate, Design(table, singles(n)), budget, generator)
    assert spent == rows <= budget
    assert (design.partition is None) == (measured is None)
    return design, measured, spent


def partition_of(f, n, generator, budget=100_000, spent_at_most=None):
    design, _, spent = separated(f, n, generator, budget)
    assert spent <= (spent_at_most or budget)
    return design.partition


@pytest.mark.parametrize("order", [2, 3, 6])
def test_the_factors_of_a_product_get_groups_of_their_own(order, generator):
    partition = partition_of(known.product(order, 25), 25, generator)
    assert sorted(partition[:order]) == list(range(order))
    assert set(partition) == set(range(order))


def test_inactive_blocks_are_spread_evenly(generator):
    partition = partition_of(known.product(3, 25), 25, generator)
    assert sorted(np.bincount(partition)) == [8, 8, 9]


def test_interacting_blocks_are_never_in_one_group(generator):
    terms = [(0, 1), (1, 2), (2, 0), (5, 6), (7, 11), (3, 4, 8, 9)]
    partition = partition_of(lambda x: sum(x[:, list(term)].prod(1) for term in terms), 12, generator)
    assert all(len({partition[i] for i in term}) == len(term) for term in terms)
    assert max(partition) == 3


@pytest.mark.parametrize(
    "f",
    [known.g_function(), known.product(7, 25), known.additive(25), lambda x: torch.zeros(len(x))],
    ids=["everything interacts", "seven factors", "nothing interacts", "constant"],
)
def test_without_structure_groups_stay_random(f, generator):
    assert partition_of(f, 25, generator) is None


def test_a_network_costs_one_look_at_all_pairs(generator):
    weights = torch.randn(25, 8, generator=generator, dtype=torch.float64)
    assert partition_of(lambda x: (x @ weights).tanh().sum(1), 25, generator, spent_at_most=16 * 26 + 326) is None


@pytest.mark.parametrize(("n", "budget"), [(25, 4100), (784, 100_000)])
def test_what_costs_too_much_is_not_tried(n, budget, generator):
    assert partition_of(known.product(2, n), n, generator, budget, spent_at_most=1) is None


def test_pairs_that_cost_too_much_are_not_tried(generator):
    """The 66 pairs of twelve active blocks, sixteen times over, are more than a tenth of this budget."""

    def f(x):
        return (x[:, :12:2] * x[:, 1:12:2]).sum(1)

    assert partition_of(f, 14, generator, 10_000, spent_at_most=16 * 15) is None
    assert partition_of(f, 14, generator, 100_000) is not None


def rare(x):
    """A strong pair of blocks that are never toggled together where it shows in one pair of rows in four hundred."""
    return x[:, 0] * x[:, 1] + 20 * (x[:, 2] > 0.9) * (x[:, 4] > 0.9)


def test_a_rare_interaction_ends_the_measurement_and_leaves_enough_for_another(generator, monkeypatch):
    monkeypatch.setattr("dropscope.spectrum.separation.PAIRS", 1)
    for _ in range(10):
        design, _, spent = separated(rare, 10, generator, 200_000)
        assert design.partition is None or design.partition[2] != design.partition[4]
        assert design.partition is not None or 200_000 - spent >= 50 * 64


@pytest.mark.parametrize("chance", [0.05, 0.02])
def test_rare_interactions_are_not_confidently_missed(chance, generator):
    """Half of the variance in a pair effect that shows rarely: it is seen, or its order is not identified."""
    inputs = torch.rand(100_000, 25, generator=generator, dtype=torch.float64)
    weight = (12 / 25) ** 0.5

    def f(x):
        return weight * x.sum(1) + ((x[:, 0] < chance) & (x[:, 2] < chance)) / chance

    spectrum = interaction_spectrum(f, inputs, budget=1_000_000, generator=generator)
    # The pair effect's share is (1 - p)^2 / 2 of about 1.03, less half the chance for what it adds to order 1.
    assert spectrum.low[0] - 0.15 <= 0.5 <= spectrum.high[0] + 0.15
    assert spectrum.low[1] - 0.15 <= 0.5 <= spectrum.high[1] + 0.15


def test_the_spectrum_of_separated_groups_is_exact_at_its_order(generator):
    f = known.product(2, 25)
    inputs = f.sample(300, generator=generator).double()
    inputs = torch.cat([inputs, -inputs])
    spectrum = interaction_spectrum(f, inputs, budget=20_000, max_order=4, generator=generator)
    assert spectrum.method == "separated-cube"
    assert spectrum.share[2:].tolist() == [0, 0]
    assert spectrum.rest == 0
    assert spectrum.high[2:].tolist() == [0, 0, 0]
    assert spectrum.n_orders == 25
    assert 1 - spectrum.share[1] <= 5 * (spectrum.share[1] - spectrum.low[1]) / 1.96  # five standard errors
    assert len(spectrum.orders) == 25


@pytest.mark.parametrize("f", [known.mixture(), known.sine_cosine(25), known.product(3, 25)])
def test_separated_groups_agree_with_the_truth(f, generator):
    """Within five half-widths of a two-sided 95 % interval, which is ten standard errors."""
    inputs = f.sample(200_000, generator=generator)
    spectrum = interaction_spectrum(f, inputs, budget=100_000, generator=generator)
    truth = np.append(f.share[:3], f.share[3:].sum())

    assert spectrum.method == "separated-cube"
    centre, half = (spectrum.low + spectrum.high) / 2, (spectrum.high - spectrum.low) / 2
    assert (np.abs(truth - centre) <= 5 * half + 0.01).all()


def test_a_colouring_is_proper_and_small(seed):
    rng = np.random.default_rng(seed)
    edges = np.triu(rng.random((30, 30)) < 0.2, 1)
    edges |= edges.T
    colours = _colouring(edges)
    assert not (edges & (colours[:, None] == colours)).any()
    assert colours.max() <= edges.sum(1).max()

    even = (np.arange(20)[:, None] + np.arange(20)) % 2 == 1
    assert _colouring(even).max() == 1
