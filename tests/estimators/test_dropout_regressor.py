"""What the regressor says: exactly where there is a formula, and the same wherever it is asked."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_models import product, regressor

from dropscope import ensemble, stack
from dropscope.estimators.conformal import conformal_quantile


def shape_of(model, outputs=1):
    return stack.Shape(model.encoder_.columns, outputs, model.width, model.depth, "regression")


class TestMean:
    def test_is_the_plain_network_bit_for_bit(self, seed):
        x, y = product(seed)
        model = regressor(p=(0.1, 0.2)).fit(x, y)
        network = stack.to_sequential(model.fitted_, shape_of(model), 0.1, 0.2).double()
        encoded = torch.from_numpy(model.encoder_.transform(x)).double()
        expected = network(encoded).detach().numpy()[:, 0] * model._scale + model._shift
        assert (model.predict(x) == expected).all()

    def test_of_a_row_does_not_depend_on_the_others(self, seed):
        x, y = product(seed)
        model = regressor(p=0.2).fit(x, y)
        together = np.stack([*model.predict(x, return_std=True), *model.predict_interval(x, 0.2).T])
        for rows in ([5], [7, 3], range(50, 120)):
            some = np.stack([*model.predict(x[rows], return_std=True), *model.predict_interval(x[rows], 0.2).T])
            np.testing.assert_allclose(some, together[:, rows], rtol=1e-12)

    def test_learns_what_there_is_to_learn(self, seed):
        x, y = product(seed, rows=400, noise=0.1)
        model = regressor(p=0.05, width=32, depth=2, max_iter=60).fit(x[:300], y[:300])
        assert model.score(x[300:], y[300:]) > 0.7


class TestStandardDeviation:
    def test_is_that_of_the_masks_and_the_noise(self, seed):
        x, y = product(seed)
        model = regressor(p=0.2, depth=2).fit(x, y)
        over_masks = ensemble.predict(
            model.network_, torch.from_numpy(model.encoder_.transform(x)).double(), model.n_samples, masks="fixed",
            generator=torch.Generator().manual_seed(model._mask_seed),
        )  # fmt: skip
        expected = np.sqrt(over_masks.variance.numpy()[:, 0] * model._scale**2 + model.noise_variance_)
        np.testing.assert_allclose(model.predict(x, return_std=True)[1], expected, rtol=1e-12)

    def test_has_the_right_square_on_the_validation_rows(self, seed):
        x, y = product(seed, noise=1.0)
        model = regressor(p=0.01, calibration_fraction=0.0).fit(x, y)
        # Without calibration rows the validation rows are the first of the permutation.
        rows = np.random.RandomState(0)
        rows.randint(2**31 - 1)
        held = rows.permutation(len(y))[:12]
        mean, std = model.predict(x[held], return_std=True)
        assert model.noise_variance_ > 0
        np.testing.assert_allclose(np.square(std).mean(), np.square(y[held] - mean).mean(), rtol=1e-12)

    def test_is_exact_before_a_last_layer(self, seed):
        x, y = product(seed)
        model = regressor(p=0.2, depth=1).fit(x, y)
        few = model.predict(x, return_std=True)[1]
        assert (model.set_params(n_samples=500).predict(x, return_std=True)[1] == few).all()

    def test_is_all_noise_without_dropout(self, seed):
        x, y = product(seed)
        model = regressor(p=0).fit(x, y)
        assert (model.predict(x, return_std=True)[1] == np.sqrt(model.noise_variance_)).all()

    def test_is_small_but_not_zero_for_a_constant(self):
        x, y = product(0)
        model = regressor(p=0).fit(x, np.full_like(y, 5.0))
        interval = model.predict_interval(x, 0.5)
        assert np.isfinite(interval).all()
        assert (interval[:, 0] <= interval[:, 1]).all()


class TestInterval:
    def test_is_the_quantile_times_the_standard_deviation(self, seed):
        x, y = product(seed)
        model = regressor(p=0.2).fit(x, y)
        mean, std = model.predict(x, return_std=True)
        half = conformal_quantile(model.calibration_scores_, model.calibration_weights_, 0.2)[0] * std
        np.testing.assert_array_equal(model.predict_interval(x, 0.2), np.stack([mean - half, mean + half], 1))

    def test_holds_at_least_the_rows_that_calibrated_it(self, seed):
        x, y = product(seed)
        model = regressor(calibration_fraction=0.3, validation_fraction=0.2).fit(x, y)
        assert len(model.calibration_scores_) == 36
        for alpha, k in ((0.1, 34), (0.5, 19), (0.9, 4)):
            assert (
                model.calibration_scores_ <= conformal_quantile(model.calibration_scores_, np.ones(36), alpha)
            ).sum() == k

    def test_grows_as_alpha_falls(self, seed):
        x, y = product(seed)
        model = regressor().fit(x, y)
        widths = [np.diff(model.predict_interval(x, alpha))[:, 0] for alpha in (0.1, 0.3, 0.6)]
        assert (widths[0] >= widths[1]).all()
        assert (widths[1] >= widths[2]).all()


class TestManyOutputs:
    def test_are_shaped_as_the_targets(self, seed):
        x, y = product(seed)
        both = np.stack([y, -3 * y + 1], axis=1)
        model = regressor(p=0.1).fit(x, both)
        mean, std = model.predict(x, return_std=True)
        assert mean.shape == std.shape == both.shape
        assert model.predict_interval(x, 0.2).shape == (120, 2, 2)
        assert model.noise_variance_.shape == (2,)
        assert model.score(x, both) > 0.2

    def test_one_column_stays_one_column_with_the_same_numbers(self, seed):
        x, y = product(seed)
        flat, column = regressor().fit(x, y), regressor().fit(x, y[:, None])
        assert (column.predict(x) == flat.predict(x)[:, None]).all()
        assert (column.predict_interval(x) == flat.predict_interval(x)[:, None]).all()


class TestSameNumbers:
    def numbers(self, model, x):
        return np.stack([*model.predict(x, return_std=True), *model.predict_interval(x, 0.2).T])

    def test_with_the_same_random_state(self, seed):
        x, y = product(seed)
        numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
        torch_state = torch.get_rng_state()
        first, second = (regressor(random_state=3, depth=2).fit(x, y) for _ in range(2))
        assert (self.numbers(first, x) == self.numbers(second, x)).all()
        assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
        assert (torch.get_rng_state() == torch_state).all()
        assert (self.numbers(regressor(random_state=4, depth=2).fit(x, y), x) != self.numbers(first, x)).any()

    def test_after_pickling_and_cloning(self, seed):
        x, y = product(seed)
        model = regressor(p=(0.1, 0.2), depth=2).fit(x, y)
        numbers = self.numbers(model, x)
        assert (self.numbers(pickle.loads(pickle.dumps(model)), x) == numbers).all()
        assert (self.numbers(clone(model).fit(x, y), x) == numbers).all()
        assert (self.numbers(model.fit(x, y), x) == numbers).all()

    def test_predicting_leaves_the_model_as_it_was(self, seed):
        x, y = product(seed)
        model = regressor(p=0.2).fit(x, y)
        before = pickle.dumps(model)
        self.numbers(model, x)
        assert pickle.dumps(model) == before

    def test_from_several_threads(self, seed):
        x, y = product(seed)
        model = regressor(p=0.2, depth=2).fit(x, y)
        numbers = self.numbers(model, x)
        with ThreadPoolExecutor(4) as pool:
            assert all((one == numbers).all() for one in pool.map(lambda _: self.numbers(model, x), range(40)))


class TestTraining:
    def test_last_weights_are_kept_without_early_stopping(self, seed):
        last = regressor(p=0, lr=0.1, max_iter=40, early_stopping=False, n_iter_no_change=1)
        fits = (clone(last).fit(*product(seed + i, noise=3.0)) for i in range(30))
        model = next(fit for fit in fits if fit.fitted_.best_epoch < 40)  # the last may be the best by chance
        assert model.n_iter_ == 40
        losses = model.noise_variance_ / model._scale**2
        np.testing.assert_allclose(losses, model.fitted_.stop_curve[-1], rtol=1e-4)

    def test_stops_early(self, seed):
        x, y = product(seed, noise=3.0)
        model = regressor(lr=0.1, max_iter=500, n_iter_no_change=3).fit(x, y)
        assert model.n_iter_ == model.fitted_.best_epoch + 3 < 500

    def test_partial_fit_improves(self, seed):
        x, y = product(seed, rows=300)
        model = regressor(p=0.05, width=32)
        scores = [model.partial_fit(x[i : i + 100], y[i : i + 100]).score(x, y) for i in (0, 100, 200) * 10]
        assert scores[-1] > 0.6
        assert scores[-1] > scores[0]
        assert model.n_iter_ == 30

    def test_partial_fit_goes_on_from_fit_and_forgets_what_was_measured(self, seed):
        x, y = product(seed)
        model = regressor(lr=1e-6, max_iter=2).fit(x, y)
        before = model.predict(x)
        model.partial_fit(x + 5, y)
        np.testing.assert_allclose(model.predict(x), before, rtol=0, atol=1e-3)
        assert (model.predict(x) != before).any()
        for ask in (lambda: model.predict(x, return_std=True), lambda: model.predict_interval(x)):
            with pytest.raises(NotFittedError, match="none were held out: call `fit`, not `partial_fit`"):
                ask()
        assert model.fit(x, y).predict_interval(x, 0.2).shape == (120, 2)

    def test_partial_fit_that_is_refused_leaves_everything_as_it_was(self, seed):
        x, y = product(seed)
        model = regressor().fit(x, y)
        before = model.predict_interval(x, 0.2)
        with pytest.raises(ValueError, match="NaN"):
            model.partial_fit(x, np.full_like(y, np.nan))
        assert (model.predict_interval(x, 0.2) == before).all()

    def test_partial_fit_takes_a_new_p(self, seed):
        x, y = product(seed)
        model = regressor(p=0.1).fit(x, y).set_params(p=(0.2, 0.5)).partial_fit(x, y)
        assert model.p_ == (0.2, 0.5)
        assert [layer.p for layer in model.network_ if hasattr(layer, "p")] == [0.5]

    def test_in_a_pipeline_and_a_grid_search(self, seed):
        x, y = product(seed)
        pipeline = make_pipeline(StandardScaler(), regressor())
        grid = {"dropoutregressor__p": [0, 0.1, (0.1, 0.5)]}
        search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(x, y)
        assert search.best_params_["dropoutregressor__p"] in grid["dropoutregressor__p"]
        _mean, std = search.best_estimator_.predict(x, return_std=True)
        assert (std > 0).all()

    def test_says_how_it_goes(self, capsys):
        regressor(verbose=True, max_iter=2).fit(*product(0))
        lines = capsys.readouterr().out.splitlines()
        assert [line[:8] for line in lines] == ["epoch 1:", "epoch 2:"]
