"""Which blocks, pairs and triples carry the variance: closed forms, exact zeros, and intervals that cover."""

import itertools
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from streams import replay
from torch import nn

from dropscope.spectrum import Terms, interaction_spectrum, known, rank_terms
from dropscope.spectrum.ranking import _triangles


def product_share(variances, members):
    """Share of all terms that hold the members, for a product of factors with mean one."""
    factors = [variance + (i not in members) for i, variance in enumerate(variances)]
    return math.prod(factors) / (math.prod(1 + variance for variance in variances) - 1)


def mixture_share(members, shares=(0.4, 0.3, 0.2, 0.1), n=25):
    """The same for `known.mixture`."""
    terms = [{(start * n // 4 + i) % n for i in range(order)} for order in range(1, 5) for start in range(4)]
    return sum(shares[len(term) - 1] / 4 for term in terms if set(members) <= term)


class TestExactAnswers:
    @pytest.mark.parametrize("n", [2, 6, 25])
    def test_an_additive_function_has_no_pair(self, n, generator):
        f = known.additive(n)
        terms = rank_terms(f, f.sample(200, generator=generator), budget=30_000, generator=generator)
        assert len(terms.totals) == n
        assert not terms.interacting.members
        assert not terms.pairs.members
        assert not terms.triples.members
        assert terms.skipped == 0

    def test_a_product_is_one_triple(self, generator):
        f = known.product(3, 25)
        terms = rank_terms(f, f.sample(500, generator=generator), budget=30_000, generator=generator)
        assert set(terms.totals.members) == {(0,), (1,), (2,)}
        assert set(terms.pairs.members) == {(0, 1), (0, 2), (1, 2)}
        assert terms.triples.members == ((0, 1, 2),)

    def test_disjoint_pairs_make_no_triple(self, generator):
        inputs = torch.randn(300, 8, generator=generator)
        terms = rank_terms(
            lambda x: x[:, 0] * x[:, 5] + x[:, 2] * x[:, 3] + x[:, 7], inputs, budget=30_000, generator=generator
        )
        assert set(terms.pairs.members) == {(0, 5), (2, 3)}
        assert not terms.triples.members
        assert {members for (members,) in terms.interacting.members} == {0, 2, 3, 5}

    def test_a_block_is_toggled_as_a_whole(self, generator):
        inputs = torch.randn(300, 6, generator=generator, dtype=torch.float64)
        blocks = [(0, 3), (1,), (5, 2), (4,)]
        terms = rank_terms(
            lambda x: x[:, 0] * x[:, 3] + x[:, 2] * x[:, 5] * x[:, 1],
            inputs, budget=30_000, blocks=blocks, feature_names=list("abcdef"), generator=generator,
        )  # fmt: skip
        assert set(terms.totals.members) == {(0,), (1,), (2,)}
        assert terms.pairs.members == ((1, 2),)
        assert terms.names == ("a + d", "b", "f + c", "e")
        assert terms.label((1, 2)) == "b × (f + c)"
        assert "b × (f + c)" in str(terms)

    def test_outputs_are_summed(self, generator):
        f = known.ishigami()
        inputs = f.sample(500, generator=generator).double()
        one, two = (
            rank_terms(lambda x, k=k: f(x)[:, None].expand(-1, k), inputs, budget=20_000, generator=replay(generator))
            for k in (1, 4)
        )
        assert two.variance == pytest.approx(4 * one.variance, rel=1e-12)
        assert two.pairs.share == pytest.approx(one.pairs.share, rel=1e-12)

    def test_same_generator_same_answer(self, generator):
        f = known.g_function()
        inputs = f.sample(200, generator=generator)
        one, two = (rank_terms(f, inputs, budget=30_000, generator=replay(generator)) for _ in range(2))
        assert one.to_dict() == two.to_dict()

    @pytest.mark.parametrize("budget", [12_864, 50_000])
    def test_the_counter_agrees_with_the_budget(self, budget, generator):
        f = known.g_function()
        terms = rank_terms(f, f.sample(200, generator=generator), budget=budget, generator=generator)
        assert 0.98 * budget <= f.evaluations == terms.budget <= budget

    def test_a_module_is_measured_in_evaluation_mode_and_given_back(self, generator):
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 2))
        terms = rank_terms(model, torch.randn(100, 4, generator=generator), budget=20_000, generator=generator)
        assert len(terms.pairs) == 6
        assert model[1].training

    def test_triples_come_in_the_order_of_their_weakest_pair(self, seed):
        rng = np.random.default_rng(seed)
        pairs = list(itertools.combinations(range(7), 2))
        strength = dict(zip(pairs, rng.permutation(len(pairs)), strict=True))

        found = list(_triangles(sorted(pairs, key=strength.get, reverse=True)))
        weakest = [min(strength[pair] for pair in itertools.combinations(triple, 2)) for triple in found]
        assert sorted(found) == list(itertools.combinations(range(7), 3))
        assert weakest == sorted(weakest, reverse=True)


class TestWithinIntervals:
    """Truths lie within intervals of three times the width, which is six sigmas."""

    def close(self, ranking, truth):
        expected = np.array([truth(members) for members in ranking.members])
        width = np.log(ranking.high / ranking.low)
        # The table of 200,000 rows is itself a sample.
        return (np.abs(np.log(ranking.share / expected)) <= 1.5 * width + 5e-3).all()

    def test_ishigami(self, generator):
        f = known.ishigami()
        terms = rank_terms(f, f.sample(200_000, generator=generator), budget=400_000, generator=generator)
        assert [members for (members,) in terms.totals.members] == [0, 1, 2]
        assert self.close(terms.totals, lambda members: [0.5576, 0.4424, 0.2437][members[0]])
        assert self.close(terms.interacting, lambda members: 0.2437)
        assert terms.pairs.members == ((0, 2),)
        assert self.close(terms.pairs, lambda members: 0.2437)
        assert not terms.triples.members
        assert terms.variance == pytest.approx(13.845, rel=0.1)

    def test_the_g_function(self, generator):
        a = [0.0, 0.5, 1.0, 2.0, 4.0, 9.0, 0.0, 3.0, 9.0, 99.0]
        variances = [1 / 3 / (1 + i) ** 2 for i in a]
        f = known.g_function(a)
        terms = rank_terms(f, f.sample(200_000, generator=generator), budget=400_000, generator=generator)

        for ranking in (terms.totals, terms.pairs, terms.triples):
            assert self.close(ranking, lambda members: product_share(variances, members))
            assert (np.diff(ranking.share) <= 0).all()
        assert terms.pairs.members[0] == (0, 6)
        assert terms.triples.members[0] == (0, 1, 6)

    def test_a_mixture_of_orders(self, generator):
        f = known.mixture()
        terms = rank_terms(f, f.sample(200_000, generator=generator), budget=400_000, generator=generator)
        for ranking in (terms.totals, terms.pairs, terms.triples):
            assert self.close(ranking, mixture_share)
        assert set(terms.pairs.members[:4]) == {(0, 1), (6, 7), (12, 13), (18, 19)}
        assert set(terms.triples.members[:4]) == {(0, 1, 2), (6, 7, 8), (12, 13, 14), (18, 19, 20)}

    def test_totals_sum_to_the_mean_order(self, generator):
        f = known.g_function([0.0, 1.0, 1.0, 3.0])
        inputs = f.sample(1000, generator=generator)
        terms = rank_terms(f, inputs, budget=200_000, generator=generator)
        spectrum = interaction_spectrum(f, inputs, budget=200_000, generator=generator)

        slack = (terms.totals.high - terms.totals.low).sum()
        slack += spectrum.mean_order_high - spectrum.mean_order_low
        assert abs(terms.totals.share.sum() - spectrum.mean_order) <= 1.5 * slack

    def test_intervals_cover(self, generator):
        """Pooled over functions and terms, at most 15 % of 95 % intervals may miss, plus five sigmas."""
        a = [0.0, 0.5, 1.0, 2.0, 4.0, 0.0, 0.5, 1.0, 2.0, 4.0]
        variances = [1 / 3 / (1 + i) ** 2 for i in a]
        cases = [
            (known.mixture(), mixture_share),
            (known.g_function(a), lambda members: product_share(variances, members)),
        ]

        rates = []
        for (f, truth), _ in itertools.product(cases, range(15)):
            terms = rank_terms(f, f.sample(100_000, generator=generator), budget=30_000, generator=generator)
            missed = []
            for ranking in (terms.totals, terms.pairs, terms.triples):
                exact = np.array([truth(members) for members in ranking.members])
                # The table of 100,000 rows is itself a sample.
                missed += list((exact < 0.99 * ranking.low) | (exact > 1.01 * ranking.high))
            rates.append(np.mean(missed))
        # Terms of one replicate share their rows: the replicate is what is independent.
        assert np.mean(rates) <= 0.15 + 5 * np.std(rates, ddof=1) / math.sqrt(len(rates))

    def test_intervals_shrink_with_the_budget(self, generator):
        f = known.ishigami()
        inputs = f.sample(20_000, generator=generator)
        small, large = (rank_terms(f, inputs, budget=b, generator=generator) for b in (10_000, 640_000))
        assert (large.pairs.high[0] - large.pairs.low[0]) < 0.4 * (small.pairs.high[0] - small.pairs.low[0])


class TestManyBlocks:
    def test_pairs_that_are_not_looked_at_are_bounded(self, generator):
        """Thirty blocks all interact; a third of what the survey leaves affords 50 draws of the pairs of 13."""
        weights = torch.linspace(1, 0.2, 30)
        inputs = torch.randn(500, 30, generator=generator)
        terms = rank_terms(lambda x: (x @ weights).square(), inputs, top=5, budget=20_000, generator=generator)
        assert len(terms.interacting) == 30
        assert terms.skipped == terms.interacting.high[13:].max() > 0
        assert "pairs of other blocks were not measured: none has a share above" in str(terms)

    @pytest.mark.parametrize("budget", [12_000, 40_000])
    def test_a_part_is_never_above_its_whole(self, budget, generator):
        """All but a sliver of each total is shared with others, so that noise alone would turn many around."""
        inputs = torch.randn(500, 12, generator=generator)
        terms = rank_terms(lambda x: x.sum(1).cos(), inputs, budget=budget, generator=generator)
        rankings = (terms.totals, terms.interacting, terms.pairs, terms.triples)
        found = {one: ends for ranking in rankings[1:] for one, ends in ranking._ends().items()}
        assert len(terms.triples)

        for block, ends in terms.totals._ends().items():
            assert (found[block] <= ends).all()
        for members in (*terms.pairs.members, *terms.triples.members):
            parts = (part for size in (1, 2) for part in itertools.combinations(members, size) if part in found)
            assert all((found[members] <= found[part]).all() for part in parts)

    def test_the_smallest_budget_still_finds_a_pair(self, generator):
        inputs = torch.randn(500, 2, generator=generator)
        terms = rank_terms(lambda x: x.prod(1), inputs, top=1, budget=764, generator=generator)
        assert terms.pairs.members == ((0, 1),)

    def test_one_pair_among_three_hundred_inputs_is_found(self, generator):
        inputs = torch.randn(500, 300, generator=generator)
        weights = torch.randn(300, generator=generator)
        terms = rank_terms(lambda x: x @ weights + x[:, 17] * x[:, 205], inputs, budget=150_000, generator=generator)
        assert terms.pairs.members == ((17, 205),)
        assert terms.skipped == 0


class TestSaying:
    @pytest.fixture
    def terms(self, generator):
        f = known.ishigami()
        inputs = f.sample(500, generator=generator)
        return rank_terms(f, inputs, budget=20_000, feature_names=["a", "b", "c"], generator=generator)

    def test_the_description_names_law_and_terms(self, terms):
        lines = str(terms).splitlines()
        assert lines[0] == "terms over 3 blocks (3 columns), product law of inputs"
        assert lines[1].startswith(f"{terms.budget:,} evaluations, variance ")
        assert [line.strip() for line in lines if line.startswith("  ") and line[2] != " "] == [
            "totals", "interacting", "pairs", "triples",
        ]  # fmt: skip
        assert re.search(r"a × c  0\.\d{4}  \[0\.\d{4}, 0\.\d{4}\]", str(terms))
        assert lines[-1].strip() == "none"

    def test_long_names_are_cut_in_their_middle(self, terms):
        wordy = replace(terms, names=("first " * 20, "b", "last\n" * 20))
        assert wordy.label((0, 2)) == f"{('first ' * 20).strip()} × {('last ' * 20).strip()}"
        assert wordy.label((0, 1, 2), 30) == "first…irst × b × last …last"
        assert max(map(len, str(wordy).splitlines())) < 100

    def test_long_rankings_show_their_head(self, generator):
        f = known.additive(25)
        text = str(rank_terms(f, f.sample(100, generator=generator), budget=20_000, generator=generator))
        assert "    and 15 more" in text

    def test_json_holds_everything(self, terms):
        plain = json.loads(json.dumps(terms.to_dict(), allow_nan=False))
        assert plain["pairs"]["members"] == [[0, 2]]
        assert plain["pairs"]["share"] == terms.pairs.share.tolist()
        assert plain["names"] == ["a", "b", "c"]
        assert set(plain) == set(Terms.__dataclass_fields__)


@pytest.mark.filterwarnings("ignore:.* have rank correlation")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs_law": "joint"}, "`inputs_law` must be 'product', got 'joint'."),
        ({"top": 0}, "`top` must be at least 1, got 0."),
        ({"feature_names": ["a"]}, "`feature_names` must name all 9 columns, got 1 names."),
        ({"budget": 11_263}, "`budget` must be at least 11264 for 9 blocks and `top=10`, got 11263."),
        ({"blocks": [(0, 1), (1,)]}, "`blocks` must not overlap"),
        ({"f": lambda x: 0 * x[:, 0] + 2}, "`f` must vary with its inputs"),
        ({"f": lambda x: 1e6 + 1e-3 * x[:, 0]}, "`f` must vary with its inputs"),
        ({"f": lambda x: torch.rand(len(x))}, "two passes differ"),
        ({"f": lambda x: x[:, 0].log()}, "`f` must give finite outputs"),
        ({"f": lambda x: x.sum()}, "`f` must give one output per row"),
    ],
)
def test_the_refusal_says_what_must_hold(arguments, message):
    inputs = torch.linspace(-1, 1, 60).repeat(9, 1).T.clone()
    arguments = {"f": lambda x: x[:, 0], "budget": 20_000} | arguments
    with pytest.raises(ValueError, match=re.escape(message)):
        rank_terms(arguments.pop("f"), inputs, **arguments)
