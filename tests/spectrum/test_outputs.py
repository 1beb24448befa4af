"""Every kind of output: what containers and numbers a model may give, single outputs, and probabilities."""

import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from streams import replay

from dropscope.spectrum import centre_logits, distill, interaction_spectrum, output_spectra, rank_terms

BUDGET = 4000


@pytest.fixture
def x(seed):
    return np.random.default_rng(seed).normal(size=(400, 4))


def agree(f, g, inputs, generator):
    """Whether two models have the same spectrum to the last bit."""
    one, other = (interaction_spectrum(h, inputs, budget=BUDGET, generator=replay(generator)) for h in (f, g))
    return one.to_dict() == other.to_dict()


class TestOutputs:
    @pytest.mark.parametrize(
        "convert",
        [
            torch.from_numpy,
            np.asarray,
            lambda y: y.tolist(),
            lambda y: tuple(map(tuple, y)),
            lambda y: [torch.from_numpy(row) for row in y],
            pd.DataFrame,
            lambda y: pd.DataFrame(y, index=range(9, 9 + len(y)), dtype="Float64"),
            pl.DataFrame,
            lambda y: y.astype(object),
            lambda y: y[:, :, None],
        ],
    )
    def test_any_container_gives_the_same_bits(self, convert, x, generator):
        def f(x):
            return np.stack([x[:, 0] * x[:, 1], x[:, 2]], axis=1)

        assert agree(f, lambda x: convert(f(x)), x, generator)
        assert agree(f, lambda x: convert(f(x.numpy())), torch.from_numpy(x), generator)

    @pytest.mark.parametrize("convert", [pd.Series, pl.Series, list, lambda y: torch.tensor(y, requires_grad=True)])
    def test_one_output_may_come_without_an_axis(self, convert, x, generator):
        assert agree(lambda x: x[:, 0] * x[:, 1], lambda x: convert(x[:, 0] * x[:, 1]), x, generator)

    @pytest.mark.parametrize("dtype", [bool, np.int8, np.float16, np.float32, np.uint32])
    def test_numbers_of_any_type_do(self, dtype, x, generator):
        def f(x):
            return (x[:, 0] * x[:, 1] > 0).astype(dtype)

        assert agree(lambda x: f(x).astype(float), f, x, generator)
        assert agree(lambda x: f(x).astype(float), lambda x: torch.from_numpy(f(x)).clone(), x, generator)

    @pytest.mark.parametrize(
        ("f", "message"),
        [
            (lambda x: {"logits": x}, "`f` must give real numbers, got dict."),
            (lambda x: None, "`f` must give real numbers, got NoneType."),
            (
                lambda x: np.where(x[:, 0] > 0, "yes", "no"),
                "`f` must give real numbers, got ndarray of str: pass the classifier itself",
            ),
            (lambda x: np.array([None, "yes"] * (len(x) // 2)), "got ndarray of NoneType and str: pass"),
            (lambda x: (x[:, 0], x), "`f` must give one array, got a tuple of 2: pass a function of one of them"),
            (lambda x: [x[:, :2], x[:, :3]], "`f` must give one array, got a list of 2: pass a function of one"),
            (lambda x: x[:, 0] * 1j, "`f` must give real numbers, got ndarray of complex."),
            (lambda x: torch.tensor(x[:, 0] * 1j), "`f` must give real numbers, got a tensor of torch.complex128."),
        ],
    )
    def test_anything_else_is_refused(self, f, message, x):
        with pytest.raises(TypeError, match=re.escape(message)):
            interaction_spectrum(f, x, budget=BUDGET)

    def test_the_value_shown_is_the_one_that_is_not_finite(self, x):
        with pytest.raises(ValueError, match=r"got inf for the row \["):
            interaction_spectrum(lambda x: np.stack([x[:, 0], np.where(x[:, 1] > 0, np.inf, 1)], 1), x)


class TestSingleOutputs:
    def f(self, x):
        return np.stack([x[:, 0], x[:, 0] * x[:, 1], x[:, 1] + x[:, 2] * x[:, 3], 0 * x[:, 0] + 1], axis=1)

    @pytest.mark.parametrize(("law", "target"), [("product", 0), ("product", 1), ("product", 2), ("joint", 1)])
    def test_a_target_is_measured_alone(self, law, target, x, generator):
        options = {"inputs_law": law, "max_order": 2, "budget": BUDGET}
        one = interaction_spectrum(self.f, x, target=target, generator=replay(generator), **options)
        other = interaction_spectrum(lambda x: self.f(x)[:, target], x, generator=replay(generator), **options)
        assert one.to_dict() == other.to_dict()

    def test_kin_take_a_target_too(self, x, generator):
        assert rank_terms(self.f, x, target=1, budget=20_000, generator=generator).pairs.members[0] == (0, 1)
        assert distill(self.f, x, target=1, trees=5).total == pytest.approx((x[:, 0] * x[:, 1]).var())

    def test_a_target_that_is_none_of_the_outputs_is_refused(self, x):
        with pytest.raises(ValueError, match=re.escape("`target` must be in 0 to 3, the outputs of f, got 4.")):
            interaction_spectrum(self.f, x, target=4)

    def test_all_outputs_in_one_pass(self, x, generator):
        rows = []

        def counted(x):
            rows.append(len(x))
            return self.f(x)

        spectra = output_spectra(counted, x, budget=BUDGET, generator=replay(generator))
        assert sum(rows) == spectra[0].budget <= BUDGET
        for target, spectrum in enumerate(spectra[:3]):
            alone = interaction_spectrum(self.f, x, budget=BUDGET, target=target, generator=replay(generator))
            assert spectrum.to_dict() == alone.to_dict()
        assert spectra[3].total == 0
        assert np.isnan(spectra[3].share).all()

        whole = interaction_spectrum(self.f, x, budget=BUDGET, generator=replay(generator))
        assert whole.total == pytest.approx(sum(spectrum.total for spectrum in spectra), rel=1e-9)

    def test_constant_outputs_alone_are_refused(self, x):
        with pytest.raises(ValueError, match="`f` must vary with its inputs"):
            output_spectra(lambda x: np.ones((len(x), 2)), x, budget=BUDGET)


class TestProbabilities:
    def logits(self, x):
        return np.stack([x[:, 0], x[:, 1], x[:, 2] * x[:, 3]], axis=1)

    def softmax(self, x):
        return torch.from_numpy(self.logits(x)).softmax(1).numpy()

    def test_they_are_warned_of_once(self, x, generator):
        with pytest.warns(UserWarning, match="look like probabilities") as caught:
            interaction_spectrum(self.softmax, x, budget=BUDGET, generator=generator)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        with pytest.warns(UserWarning, match="look like probabilities"):
            output_spectra(lambda x: self.softmax(x).astype(np.float16), x, budget=BUDGET, generator=generator)

    def test_what_it_says_to_do_silences_it_and_gives_the_logits(self, x, generator):
        one, other = (
            interaction_spectrum(f, x, budget=BUDGET, generator=replay(generator))
            for f in (lambda x: centre_logits(np.log(self.softmax(x))), lambda x: centre_logits(self.logits(x)))
        )
        assert one.share == pytest.approx(other.share, abs=1e-9)

    def test_other_outputs_in_the_unit_interval_are_not(self, x, generator):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for f in (lambda x: self.softmax(x)[:, :2], lambda x: self.softmax(x)[:, 0], centre_logits):
                interaction_spectrum(f, x, budget=BUDGET, generator=generator)
