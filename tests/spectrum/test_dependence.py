"""The warning about dependent blocks: closed forms of the correlation, and silence where there is nothing to say."""

import math
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from dropscope.spectrum import distill, interaction_spectrum, rank_terms, stack_spectra
from dropscope.spectrum.dependence import strongest_correlation

ROWS = 3000


def correlated(r, generator, columns=5, dtype=torch.float32):
    """Columns 1 and 3 of a normal table have correlation r, the others none."""
    table = torch.randn(ROWS, columns, generator=generator)
    table[:, 3] = r * table[:, 1] + (1 - r**2) ** 0.5 * table[:, 3]
    return table.to(dtype)


def total(x):
    return x.sum(1) + x[:, 0] * x[:, 1]


class TestStrongestCorrelation:
    def test_it_is_spearmans(self, seed):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(400, 6))
        values[:, 4] = np.exp(values[:, 1]) + 0.1 * values[:, 4]
        values[:, 2] = np.round(values[:, 2])
        correlation, one, other = strongest_correlation(values, np.arange(6))
        assert {one, other} == {1, 4}
        assert correlation == pytest.approx(spearmanr(values[:, 1], values[:, 4]).statistic, abs=1e-5)

    def test_ties_are_averaged(self):
        # Two binary columns of 100 rows that agree in 80: their rank correlation is their phi, .6.
        one = np.repeat([0.0, 1.0], 50)
        other = np.r_[np.repeat([0.0, 1.0], [40, 10]), np.repeat([1.0, 0.0], [40, 10])]
        correlation, *_ = strongest_correlation(np.tile(np.stack([one, -other], axis=1), (2, 1)), np.arange(2))
        assert correlation == pytest.approx(-0.6, abs=1e-5)

    def test_columns_of_one_block_do_not_count(self, seed):
        values = np.random.default_rng(seed).normal(size=(500, 3))
        values[:, 1] = values[:, 0]
        assert strongest_correlation(values, np.array([0, 0, 1]))[0] == 0
        assert strongest_correlation(values, np.array([0, 1, 1]))[0] == pytest.approx(1, abs=1e-5)

    def test_missing_values_and_constants_are_left_out(self, seed):
        values = np.random.default_rng(seed).normal(size=(500, 4))
        values[:, 3] = values[:, 0]
        values[::3, 3] = np.nan
        values[:, 1] = 7
        values[:, 2] = np.nan
        correlation, one, other = strongest_correlation(values, np.arange(4))
        assert {one, other} == {0, 3}
        # The present two thirds agree exactly; missing ones stand at the mean.
        assert correlation == pytest.approx(math.sqrt(2 / 3), abs=0.1)

    def test_rare_values_that_coincide_say_nothing(self):
        values = np.zeros((2000, 2))
        values[:5] = 1
        assert strongest_correlation(values, np.arange(2))[0] == 0
        values[:50] = 1
        assert strongest_correlation(values, np.arange(2))[0] == pytest.approx(1, abs=1e-5)

    @pytest.mark.parametrize("rows", [10, 60, 200])
    def test_few_rows_of_independent_columns_say_nothing(self, rows, seed):
        rng = np.random.default_rng(seed)
        assert all(strongest_correlation(rng.normal(size=(rows, 12)), np.arange(12))[0] == 0 for _ in range(20))


class TestWarning:
    @pytest.mark.parametrize("estimate", [interaction_spectrum, rank_terms])
    def test_it_names_the_columns_the_value_the_law_and_what_to_do(self, estimate, generator):
        inputs = pd.DataFrame(correlated(0.8, generator).numpy(), columns=["age", "pay", "sex", "tax", "zip"])
        expected = spearmanr(inputs["pay"], inputs["tax"]).statistic
        with pytest.warns(UserWarning, match="rank correlation") as caught:
            estimate(lambda x: x["pay"] * x["age"] + x["tax"], inputs, budget=20_000, generator=generator)

        (message,) = [str(warning.message) for warning in caught]
        said = float(
            re.match(r"`pay` and `tax` have rank correlation (\S+) but belong to different blocks", message)[1]
        )
        # Looked at are 1,000 of the 3,000 rows, whose correlation has a standard error below .016.
        assert abs(said - expected) <= 6 * 0.016 + 0.005
        assert "speaks of the product law of inputs" in message
        assert "`blocks=`" in message
        assert 'inputs_law="joint"' in message
        assert caught[0].filename == __file__

    @pytest.mark.parametrize(("r", "warned"), [(0.1, False), (0.6, True), (-0.6, True)])
    def test_the_limit_is_three_tenths(self, r, warned, generator):
        """Spearman's is 6 / pi asin(r / 2): .096 and .582, 6 and 9 standard errors of 1,000 rows from .3."""
        inputs = correlated(r, generator)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            interaction_spectrum(total, inputs, budget=5000, generator=generator)
        assert len(caught) == warned

    def test_columns_of_one_block_are_not_warned_of(self, generator):
        blocks = [(0,), (3, 1), (2,), (4,)]
        interaction_spectrum(total, correlated(0.9, generator), blocks=blocks, budget=5000, generator=generator)

    def test_it_is_silent_for_stacks_for_the_joint_law_and_for_distillation(self, generator):
        inputs = correlated(0.9, generator)
        stack_spectra(lambda x: total(x)[None, :, None], inputs, models=1, budget=5000, generator=generator)
        interaction_spectrum(total, inputs[:300], inputs_law="joint", generator=generator)
        distill(total, inputs[:300], trees=5, generator=generator)

    def test_looking_changes_no_bit_of_the_answer(self, generator):
        inputs = correlated(0.9, generator, dtype=torch.float64)
        draws = [torch.Generator().manual_seed(generator.initial_seed()) for _ in range(2)]
        with pytest.warns(UserWarning, match="rank correlation"):
            looked = interaction_spectrum(total, inputs, budget=5000, generator=draws[0])
        (silent,) = stack_spectra(
            lambda x: total(x)[None, :, None], inputs, models=1, budget=5000, generator=draws[1], point="nnls"
        )
        assert (looked.orders == silent.orders).all()

    def test_categories_are_compared_level_by_level(self, seed, generator):
        rng = np.random.default_rng(seed)
        city = rng.choice(["rome", "oslo", "lima"], size=ROWS)
        land = pd.Series(city).map({"rome": "it", "oslo": "no", "lima": "pe"}).astype("category")
        inputs = pd.DataFrame({"city": city, "age": rng.normal(size=ROWS), "land": land})
        with pytest.warns(UserWarning, match="`city` and `land` have rank correlation 1.00"):
            interaction_spectrum(lambda x: x["age"] * (x["city"] == "rome"), inputs, budget=5000, generator=generator)

        inputs["land"] = rng.permutation(inputs["land"])
        interaction_spectrum(lambda x: x["age"] * (x["city"] == "rome"), inputs, budget=5000, generator=generator)
