"""What the classifier says: probabilities averaged over the masks, classes that agree with them, and sets."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_models import classifier, product, words

from dropscope import ensemble, stack
from dropscope.estimators.conformal import conformal_quantile


def problem(seed, rows=150):
    x, y = product(seed, rows)
    return x, words(y)


class TestProbabilities:
    def test_are_the_mean_of_the_softmax_over_the_masks(self, seed):
        x, y = problem(seed)
        model = classifier(p=0.2).fit(x, y)
        prediction = ensemble.predict(
            model.network_, torch.from_numpy(model.encoder_.transform(x)).double(), model.n_samples, masks="fixed",
            transform="softmax", keep_samples=True, generator=torch.Generator().manual_seed(model._mask_seed),
        )  # fmt: skip
        np.testing.assert_allclose(model.predict_proba(x), prediction.samples.mean(0).numpy(), rtol=1e-12)
        assert prediction.std.max() > 0

    def test_are_the_softmax_of_the_plain_network_without_dropout(self, seed):
        x, y = problem(seed)
        model = classifier(p=0).fit(x, y)
        shape = stack.Shape(model.encoder_.columns, 3, model.width, model.depth, "classification")
        network = stack.to_sequential(model.fitted_, shape, 0.0, 0.0).double()
        logits = network(torch.from_numpy(model.encoder_.transform(x)).double()).detach()
        assert (model.predict_proba(x) == logits.softmax(1).numpy()).all()

    def test_of_a_row_do_not_depend_on_the_others(self, seed):
        x, y = problem(seed)
        model = classifier(p=(0.1, 0.2), depth=2).fit(x, y)
        together = model.predict_proba(x)
        for rows in ([5], [7, 3], range(50, 120)):
            np.testing.assert_allclose(model.predict_proba(x[rows]), together[rows], rtol=1e-12)

    def test_agree_with_the_class_that_is_predicted(self, seed):
        x, y = problem(seed)
        model = classifier(p=0.5).fit(x, y)
        assert (model.predict(x) == model.classes_[model.predict_proba(x).argmax(1)]).all()
        assert model.classes_.tolist() == ["high", "low", "middle"]


class TestSets:
    def test_hold_every_class_that_is_likely_enough(self, seed):
        x, y = problem(seed)
        model = classifier().fit(x, y)
        for alpha in (0.1, 0.4):
            quantile = conformal_quantile(model.calibration_scores_, model.calibration_weights_, alpha)
            assert (model.predict_set(x, alpha) == (1 - model.predict_proba(x) <= quantile)).all()

    def test_shrink_as_alpha_grows(self, seed):
        x, y = problem(seed)
        model = classifier().fit(x, y)
        narrow, wide = model.predict_set(x, 0.5), model.predict_set(x, 0.1)
        assert (narrow <= wide).all()


class TestLabels:
    @pytest.mark.parametrize(
        "labels",
        [["a", "b", "c"], [7, -2, 30], [True, False, True], [1.0, 2.0, 3.0], np.array(["x", "y", "z"], object)],
    )
    def test_come_back_as_they_were(self, labels, seed):
        x, y = problem(seed)
        labels = np.asarray(labels)
        given = labels[np.unique(y, return_inverse=True)[1]]
        model = classifier().fit(x, given)
        assert model.predict(x).dtype == given.dtype
        assert set(model.predict(x)) <= set(labels)
        assert (model.classes_ == np.unique(given)).all()

    def test_of_a_nullable_type_are_no_floats(self, seed):
        x, y = problem(seed)
        for given in (pd.Series(y == "low", dtype="boolean"), pd.Series(y == "low", dtype="Int64")):
            assert classifier().fit(x, given).classes_.dtype == given.dtype.numpy_dtype

    def test_names_are_only_names(self, seed):
        x, y = problem(seed)
        numbers = np.unique(y, return_inverse=True)[1]
        assert (classifier().fit(x, y).predict_proba(x) == classifier().fit(x, numbers).predict_proba(x)).all()


class TestSameNumbers:
    def test_after_pickling_and_cloning(self, seed):
        x, y = problem(seed)
        model = classifier(p=(0.1, 0.2), depth=2).fit(x, y)
        numbers = model.predict_proba(x)
        assert (pickle.loads(pickle.dumps(model)).predict_proba(x) == numbers).all()
        assert (clone(model).fit(x, y).predict_proba(x) == numbers).all()
        assert (clone(model).set_params(random_state=5).fit(x, y).predict_proba(x) != numbers).any()


class TestTraining:
    def test_learns_what_there_is_to_learn(self, seed):
        x, y = problem(seed, rows=500)
        model = classifier(p=0.05, width=32, depth=2, max_iter=40)
        assert cross_val_score(model, x, y, cv=2).min() > 0.75

    def test_all_rows_train_without_early_stopping_and_calibration(self, seed):
        x, y = problem(seed)
        model = classifier(early_stopping=False, calibration_fraction=0).fit(x, y)
        assert model.n_iter_ == model.max_iter
        np.testing.assert_allclose(model.encoder_.means, x.mean(0), rtol=1e-6)

    def test_partial_fit_improves_and_knows_classes_to_come(self, seed):
        x, y = problem(seed, rows=300)
        order = np.argsort(y == "high", kind="stable")[:200]  # without "high" at first
        model = classifier(p=0.05, width=32).partial_fit(x[order], y[order], classes=np.unique(y))
        first = model.score(x, y)
        for _ in range(15):
            model.partial_fit(x, y)
        assert model.score(x, y) > max(first, 0.75)
        with pytest.raises(NotFittedError, match="none were held out: call `fit`, not `partial_fit`"):
            model.predict_set(x)

    def test_in_a_pipeline_and_a_grid_search(self, seed):
        x, y = problem(seed)
        pipeline = make_pipeline(StandardScaler(), classifier())
        search = GridSearchCV(
            pipeline, {"dropoutclassifier__p": [0, 0.3]}, cv=2, scoring="neg_log_loss", error_score="raise"
        ).fit(x, y)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
