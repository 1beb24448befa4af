"""Every kind of model: estimators and what they stand for, their logits, and what is refused."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from streams import replay
from xgboost import XGBClassifier, XGBRegressor

from dropscope.spectrum import (
    centre_logits,
    column_blocks,
    distill,
    interaction_spectrum,
    output_spectra,
    rank_terms,
    stack_spectra,
)

BUDGET = 4000


@pytest.fixture
def x(seed):
    return np.random.default_rng(seed).normal(size=(400, 4))


@pytest.fixture
def label(x):
    return (x[:, 0] * x[:, 1] > 0).astype(int) + (x[:, 2] > 1)


def agree(f, g, inputs, generator, **options):
    """Whether two models have the same spectrum to the last bit."""
    one, other = (
        interaction_spectrum(h, inputs, budget=BUDGET, generator=replay(generator), **options) for h in (f, g)
    )
    return one.to_dict() == other.to_dict()


class TestEstimators:
    def test_a_linear_model_is_all_of_order_one(self, x, generator):
        model = LinearRegression().fit(x, x @ [1, 2, 3, 4])
        spectrum = interaction_spectrum(model, x, budget=BUDGET, generator=generator)
        assert spectrum.share == pytest.approx([1, 0, 0], abs=1e-9)

    def test_a_pipeline_finds_the_pair_it_was_taught(self, x, generator):
        model = make_pipeline(StandardScaler(), PolynomialFeatures(2), LinearRegression()).fit(x, x[:, 0] * x[:, 1])
        taught, known = (
            interaction_spectrum(f, x, budget=BUDGET, generator=replay(generator))
            for f in (model, lambda x: x[:, 0] * x[:, 1])
        )
        assert taught.share == pytest.approx(known.share, abs=1e-6)
        assert rank_terms(model, x, budget=20_000, generator=generator).pairs.members[0] == (0, 1)

    @pytest.mark.parametrize("kind", [HistGradientBoostingRegressor(max_iter=5), XGBRegressor(n_estimators=5)])
    def test_a_regressor_stands_for_predict(self, kind, x, generator):
        model = kind.fit(x, x[:, 0] * x[:, 1])
        assert agree(model, lambda x: model.predict(x), x, generator)
        assert agree(model, model.predict, torch.from_numpy(x), generator)

    def test_a_binary_classifier_stands_for_its_logit(self, x, label, generator):
        model = HistGradientBoostingClassifier(max_iter=5).fit(x, label > 0)

        def logit(x):
            yes = model.predict_proba(x)[:, 1]
            return np.log(yes / (1 - yes))

        one, other = (interaction_spectrum(f, x, budget=BUDGET, generator=replay(generator)) for f in (model, logit))
        assert one.share == pytest.approx(other.share, abs=1e-9)
        assert one.total == pytest.approx(other.total, rel=1e-9)

    def test_classes_are_centred(self, x, label, generator):
        model = LogisticRegression().fit(x, label)
        spectrum = interaction_spectrum(model, x, budget=40_000, generator=generator)
        assert spectrum.share == pytest.approx([1, 0, 0], abs=1e-9)
        scores = model.coef_ - model.coef_.mean(0)
        # Under the product law the variances of the columns add; 2,500 cubes see them to about 3 %.
        assert spectrum.total == pytest.approx((scores**2 @ x.var(0)).sum(), rel=0.3)

    def test_log_probabilities_where_there_is_no_decision_function(self, x, label, generator):
        """Naive Bayes adds one function of each column to every logit."""
        model = GaussianNB().fit(x, label)
        assert interaction_spectrum(model, x, budget=BUDGET, generator=generator).share[0] == pytest.approx(1)
        assert agree(model, lambda x: centre_logits(model.predict_log_proba(x)), x, generator)

    def test_boosted_classifiers_give_margins_that_never_saturate(self, x, label, generator):
        model = XGBClassifier(n_estimators=300, learning_rate=1, max_depth=1, reg_lambda=0).fit(x, x[:, 0] > 0)
        far = 1000 * x
        assert agree(model, lambda x: model.predict(x, output_margin=True), far, generator)
        several = XGBClassifier(n_estimators=5).fit(x, label)
        assert agree(several, lambda x: centre_logits(several.predict(x, output_margin=True)), x, generator)

    def test_lightgbm_is_asked_for_raw_scores(self, x, generator):
        def predict(rows, raw_score=False):
            assert raw_score
            return rows[:, 0] * rows[:, 1]

        model = SimpleNamespace(predict=predict, predict_proba=None, booster_=object())
        assert interaction_spectrum(model, x, budget=BUDGET, generator=generator).share[1] > 0.5

    def test_a_forest_that_is_certain_has_no_logit(self, x, label):
        model = RandomForestClassifier(5).fit(x, label)
        with pytest.raises(ValueError, match="gives one of its 3 classes the probability 0: measure the prob"):
            interaction_spectrum(model, x, budget=BUDGET)
        assert interaction_spectrum(lambda x: model.predict_proba(x)[:, 1], x, budget=BUDGET).total > 0

    def test_two_targets_are_refused(self, x, label):
        model = RandomForestClassifier(5).fit(x, np.stack([label, label], axis=1))
        with pytest.raises(TypeError, match="`f` must predict one target, got 2"):
            interaction_spectrum(model, x, budget=BUDGET)

        # Targets of three and of two classes, from a model that has no log probabilities.
        model = MultiOutputClassifier(LogisticRegression()).fit(x, np.stack([label, label > 0], axis=1))
        with pytest.raises(TypeError, match="`f` must predict one target, got 2: pass a function of one of them"):
            interaction_spectrum(model, x, budget=BUDGET)
        with pytest.raises(TypeError, match="`f` must give one array, got a list of 2: pass a function of one"):
            interaction_spectrum(model.predict_proba, x, budget=BUDGET)

    @pytest.mark.parametrize(
        ("given", "kind"), [("tensor", np.ndarray), ("array", np.ndarray), ("frame", pd.DataFrame)]
    )
    def test_estimators_are_given_arrays_or_frames(self, given, kind, x, generator):
        class Model:
            def predict(self, rows):
                assert type(rows) is kind
                return np.asarray(rows).prod(1)

        inputs = {"tensor": torch.from_numpy(x), "array": x, "frame": pd.DataFrame(x)}[given]
        assert interaction_spectrum(Model(), inputs, budget=BUDGET, generator=generator).total > 0
        assert interaction_spectrum(Model().predict, inputs, budget=BUDGET, generator=generator).total > 0

    def test_a_frame_goes_through_its_preprocessing(self, seed, generator):
        """The same model on raw columns, and on encoded ones in the blocks that its encoder makes."""
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame({"city": rng.choice(["rome", "oslo", "lima"], 300), "age": rng.normal(size=300),
                              "sex": rng.choice(["f", "m"], 300), "pay": rng.normal(size=300)})  # fmt: skip
        encoder = ColumnTransformer([("words", OneHotEncoder(), ["city", "sex"])], remainder="passthrough")
        regressor = HistGradientBoostingRegressor(max_iter=20)
        model = make_pipeline(encoder, regressor).fit(frame, frame["age"] * (frame["city"] == "rome") + frame["pay"])

        raw = interaction_spectrum(model, frame, budget=40_000, generator=generator)
        encoded, blocks = encoder.transform(frame), column_blocks(encoder)
        assert blocks == [[0, 1, 2], [3, 4], [5], [6]]
        coded = interaction_spectrum(regressor, encoded, blocks=blocks, budget=40_000, generator=generator)
        slack = raw.high - raw.low + coded.high - coded.low
        assert (np.abs(raw.share - coded.share) <= 1.5 * slack[:3] + 1e-3).all()

    @pytest.mark.parametrize(
        ("f", "message"),
        [
            ("model.pt", "`f` must be a function, a torch module or a fitted estimator, got str."),
            (LinearRegression, "`f` must be a fitted model, got the class LinearRegression."),
            (StandardScaler(), "`f` must be a function, a torch module or a fitted estimator, got StandardScaler."),
        ],
    )
    def test_what_is_no_model_is_refused(self, f, message, x):
        with pytest.raises(TypeError, match=re.escape(message)):
            interaction_spectrum(f, x)


def test_a_stack_is_given_tensors_whatever_the_table(x):
    def f(rows):
        assert isinstance(rows, torch.Tensor)
        return rows[None, :, :1]

    assert len(stack_spectra(f, x, models=1, budget=BUDGET)) == 1


@pytest.mark.parametrize("seen", ["estimator", "frame"])
def test_random_models_are_refused_however_they_enter(seen, x):
    class Model:
        def predict(self, rows):
            return torch.rand(len(rows))

    f, inputs = (Model(), x) if seen == "estimator" else (Model().predict, pd.DataFrame(x))
    for estimate in (interaction_spectrum, output_spectra, rank_terms, distill):
        with pytest.raises(ValueError, match="two passes differ"):
            estimate(f, inputs, budget=20_000)
