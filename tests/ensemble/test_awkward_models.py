"""Models whose rows, ways or random numbers are not what they seem: predicted as if each pass ran alone, or refused."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from alone import one_by_one, sampled, seeded
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import DataLoader
from zoo import FLAT, SEQUENCE, Last, mlp

from dropscope import ensemble, layers
from dropscope.ensemble.probing import Plan
from dropscope.ensemble.sampling import Fold

TOGETHER = "the rows of a batch depend on one another: passes are run one by one"


class Model(nn.Module):
    """Runs a function of itself and the inputs, with a linear layer and dropout at hand."""

    def __init__(self, run, **modules):
        super().__init__()
        torch.manual_seed(5)
        self.run, self.linear, self.drop, self.last = run, nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4)
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.run(self, x)


DEPENDENT = {
    "axis 0 is time, summed up": lambda self, x: self.drop(self.linear(x)).cumsum(0),
    "axis 0 is time, of an LSTM": lambda self, x: self.recurrent(x)[0],
    "scaled by the largest": lambda self, x: (y := self.drop(self.linear(x))) / y.abs().max(),
    "centred, and small": lambda self, x: (y := self.drop(x) * 1e-6) - y.mean(0),
    "halves of a doubled batch": lambda self, x: self.drop(torch.cat([x, -x])).tanh().chunk(2)[0],
}


class TestRowsThatDependOnOneAnother:
    @pytest.mark.parametrize("name", DEPENDENT)
    def test_are_computed_pass_by_pass(self, name):
        torch.manual_seed(6)
        recurrent = {"recurrent": nn.LSTM(4, 3, 2, dropout=0.5)} if "LSTM" in name else {}
        model, x = Model(DEPENDENT[name], **recurrent), SEQUENCE if recurrent else FLAT
        found = sampled(model, x)
        alone = sampled(model, x, batch_size=5, memory=1)
        torch.testing.assert_close(found.samples, alone.samples, rtol=1e-4, atol=1e-9)
        assert TOGETHER in found.notes

    def test_may_depend_by_the_transform_alone(self):
        model = mlp(nn.Dropout(0.5), nn.Tanh())
        found = sampled(model, FLAT, transform=lambda y: y - y.mean(0))
        plain = sampled(model, FLAT).samples
        torch.testing.assert_close(found.samples, plain - plain.mean(1, keepdim=True))

    def test_cannot_share_masks_where_places_are_counted_before_rows(self):
        model = Model(lambda self, x: self.drop(torch.cat([x, -x])).view(2, len(x), -1).tanh().sum(0))
        with pytest.raises(ValueError, match="draws numbers in a way that rows cannot share"):
            sampled(model, FLAT, masks="shared")


class TestOtherWays:
    def test_a_call_that_only_here_comes_after_a_draw_is_not_reused(self):
        def run(self, x):
            h = self.linear(x)
            return self.drop(self.last(self.drop(h) if x[-1].sum() > 0 else h)).tanh()

        model, x = Model(run), -FLAT.abs()
        x[-1] = 1.0
        torch.testing.assert_close(sampled(model, x).samples, one_by_one(model, x))

    def test_layers_left_out_by_a_pass_shift_the_draws_of_others(self):
        inner = layers.LayerDrop([mlp(nn.Dropout(0.3))[1:3] for _ in range(2)], 0.5)
        model = Model(lambda self, x: self.drop(self.inner(x.transpose(0, 1))).sum(0), inner=inner)
        assert (sampled(model, SEQUENCE, 60).variance > 0).all()

    @pytest.mark.parametrize("draw", [random.random, np.random.mtrand._rand.random_sample], ids=["python", "numpy"])
    def test_pythons_and_numpys_random_numbers_are_seen_seeded_and_put_back(self, draw):
        model = Model(lambda self, x: self.drop(self.linear(x) if draw() < 0.5 else x))
        states = random.getstate(), str(np.random.get_bit_generator().state)
        with pytest.warns(UserWarning, match="random in eval, too"):
            one = sampled(model, FLAT, 60)
        with pytest.warns(UserWarning, match="random in eval, too"):
            assert torch.equal(one.samples, sampled(model, FLAT, 60).samples)
        assert states == (random.getstate(), str(np.random.get_bit_generator().state))

        kept = one.samples != 0
        plain = (one.samples - 2 * FLAT).abs() < 1e-6
        ways = {bool((plain | ~kept)[number].all()) for number in range(60)}
        assert ways == {True, False}

    def test_recurrent_weights_may_be_made_anew_at_every_call(self):
        torch.manual_seed(7)
        normed = weight_norm(nn.LSTM(4, 3, 2, dropout=0.5, batch_first=True), "weight_hh_l0")
        dropped = layers.WeightDrop(nn.LSTM(4, 3, 2, dropout=1e-9, batch_first=True), ["weight_ih_l0"], 0.5)
        for network in (normed, dropped):
            assert (ensemble.predict(Last(network), SEQUENCE, 50).variance > 1e-6).all()


class TestOutputs:
    def test_may_be_one_number_for_a_batch(self):
        model = Model(lambda self, x: self.drop(self.linear(x)).tanh().sum())
        whole = sampled(model, FLAT)
        torch.testing.assert_close(whole.samples, one_by_one(model, FLAT))
        assert whole.mean.shape == ()
        assert ensemble.predict(model, DataLoader(FLAT, batch_size=3), 5).mean.shape == (2,)
        assert ensemble.predict(mlp(nn.Dropout(0.5), nn.Tanh()), FLAT, 5, transform=torch.mean).mean.shape == ()

    @pytest.mark.parametrize("place", [1, 4])
    @pytest.mark.parametrize("exact", [False, True])
    def test_keep_the_axis_of_a_single_row_that_a_model_squeezes(self, place, exact):
        class Squeeze(nn.Module):
            def forward(self, x):
                return x.squeeze()

        torch.manual_seed(9)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))
        model.insert(place, Squeeze())
        options = {"exact": exact, "transform": None if exact else "softmax", "class_axis": 1}
        found = [
            ensemble.predict(model, x, 20, generator=seeded(), batch_size=size, **options)
            for x, size in ((FLAT, None), (FLAT, 2), (FLAT[:1], None))
        ]
        whole, cut, alone = found
        torch.testing.assert_close(cut.variance, whole.variance)
        torch.testing.assert_close(alone.mean, whole.mean[:1])
        if not exact:
            torch.testing.assert_close(cut.entropy(), whole.entropy())

    def test_of_a_transform_that_compares_become_shares(self):
        found = sampled(mlp(nn.Dropout(0.5), nn.Tanh()), FLAT, 100, transform=lambda y: y > 0)
        plain = sampled(mlp(nn.Dropout(0.5), nn.Tanh()), FLAT, 100, transform=lambda y: y.argmax(-1))
        assert found.mean.dtype == plain.mean.dtype == torch.float32
        assert ((found.samples == 0) | (found.samples == 1)).all()
        torch.testing.assert_close(plain.mean, plain.samples.mean(0))

    @pytest.mark.parametrize("value", [-1.0, float("nan")])
    def test_must_have_variances_that_are_variances(self, value):
        model = Model(lambda self, x: (self.drop(x), torch.full_like(x, value)))
        with pytest.raises(ValueError, match=r"finite variances of at least 0, got (-1.0|nan) for row 0"):
            ensemble.predict(model, FLAT, 5, output=lambda both: both)

    def test_are_pairs_of_mean_and_variance_only_by_a_function(self):
        with pytest.raises(TypeError, match="got tuple: pick one"):
            ensemble.predict(nn.LSTM(4, 3, 2, dropout=0.5, batch_first=True), SEQUENCE, 5, output=1)

    def test_may_have_no_features_but_must_be_there(self):
        assert ensemble.predict(Model(lambda self, x: self.drop(x)[:, :0]), FLAT, 5).mean.shape == (5, 0)
        with pytest.raises(TypeError, match="got NoneType"):
            ensemble.predict(Model(lambda self, x: self.drop(x).grad), FLAT, 5)


class TestWhereItRuns:
    def test_inference_mode_changes_nothing(self):
        model = Model(lambda self, x: self.last(self.drop(self.linear(x)).relu_()).tanh())
        expected = sampled(model, FLAT).samples
        with torch.inference_mode():
            assert torch.equal(sampled(model, FLAT.clone()).samples, expected)
            assert torch.equal(ensemble.weight_scaling(model, FLAT), model.eval()(FLAT))
            assert ensemble.exact(model, FLAT).n_samples == 16

    def test_several_threads_may_predict_with_one_model(self):
        model = mlp(nn.Dropout(0.5), nn.Tanh()).train()
        expected = sampled(model, FLAT).samples
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: sampled(model, FLAT).samples, range(12)))
        assert all(torch.equal(samples, expected) for samples in found)
        assert all(module.training and "forward" not in module.__dict__ for module in model.modules())

    def test_calls_on_the_cpu_stay_small_enough_for_its_caches(self):
        for on_cpu, most in ((True, 2**23), (False, 2**28)):
            fold = Fold(Plan(folds=True, bytes_per_row=2**11, on_cpu=on_cpu), 2**10, memory=2**28)
            while not fold.settled:
                fold.took(1.0, fold.size)  # ever more passes in the same time
            assert fold.size * 2**21 == most

    def test_a_module_that_stands_in_two_places_has_two_names(self):
        model = mlp(nn.Dropout(0.5), nn.Tanh())
        model.append(model[2])
        assert ensemble.predict(model, FLAT, 5, only="5").n_samples == 5


def test_shared_masks_are_the_same_one_by_one_and_together():
    model, x = nn.Sequential(nn.Dropout(0.3), nn.Tanh()), FLAT.double()
    together = sampled(model, x, 30, masks="shared")
    alone = sampled(model, x, 30, masks="shared", batch_size=5, memory=1)
    assert torch.equal(together.samples, alone.samples)
