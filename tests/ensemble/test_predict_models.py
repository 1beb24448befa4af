"""Every way in which a model can drop: it is sampled, by the right law, and the model is left as it was."""

import copy
import math

import pytest
import torch
from torch import nn
from zoo import BY_BATCHES, BY_ROWS, made

from dropscope import ensemble

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")
ALL = {**BY_ROWS, **BY_BATCHES}
every = pytest.mark.parametrize("name", ALL)
by_rows = pytest.mark.parametrize("name", BY_ROWS)


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


def called(model, x):
    return model(*x) if isinstance(x, tuple) else model(x)


@every
class TestEachModel:
    def test_varies_over_the_passes_and_is_left_as_it_was(self, name):
        model, x = made(ALL[name])
        modes = {path: module.training for path, module in model.named_modules()}
        forwards = {path: module.__dict__.get("forward") for path, module in model.named_modules()}
        state, stream = copy.deepcopy(model.state_dict()), torch.get_rng_state()

        prediction = ensemble.predict(model, x, 20, generator=seeded(), exact=False)

        assert (prediction.variance > 0).any()
        assert {path: module.training for path, module in model.named_modules()} == modes
        assert {path: module.__dict__.get("forward") for path, module in model.named_modules()} == forwards
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        assert torch.equal(torch.get_rng_state(), stream)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())

    def test_has_the_mean_and_variance_of_the_plain_loop(self, name):
        model, x = made(ALL[name])
        with ensemble.dropout_on(model), torch.no_grad():
            plain = torch.stack([called(model, x) for _ in range(400)]).double()
        prediction = ensemble.predict(model, x, 400, exact=False)

        error = (plain.var(0) / 400 + prediction.errors["mean"].double() ** 2).sqrt()
        off = (plain.mean(0) - prediction.mean).abs() / error.clamp(min=1e-7)
        assert off.max() < 6
        fourth = ((plain - plain.mean(0)) ** 4).mean(0)
        spread = ((fourth - plain.var(0) ** 2).clamp(min=0) / 400 + prediction.errors["variance"].double() ** 2).sqrt()
        off = (plain.var(0) - prediction.variance).abs() / spread.clamp(min=1e-7)
        assert off.max() < 7  # the errors of a variance have heavier tails

    def test_is_the_same_again_from_the_same_generator(self, name):
        model, x = made(ALL[name])
        one, other = (ensemble.predict(model, x, 7, generator=seeded(), keep_samples=True) for _ in range(2))
        assert torch.equal(one.samples, other.samples)


@by_rows
class TestMasksOfRows:
    def test_do_not_depend_on_the_batch_nor_on_what_runs_together(self, name):
        model, x = made(BY_ROWS[name])
        tensors = x if isinstance(x, tuple) else (x,)
        whole = ensemble.predict(model, x, 6, generator=seeded(), keep_samples=True)
        cut = ensemble.predict(model, x, 6, generator=seeded(), keep_samples=True, batch_size=2, memory=1)
        longer = ensemble.predict(model, x, 9, generator=seeded(), keep_samples=True)
        first = tuple(tensor[:3] for tensor in tensors)
        fewer = ensemble.predict(model, first, 6, generator=seeded(), keep_samples=True)

        torch.testing.assert_close(whole.samples, cut.samples, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(whole.samples, longer.samples[:6], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(whole.samples[:, :3], fewer.samples, rtol=1e-4, atol=1e-5)

    def test_differ_between_rows_unless_they_are_shared(self, name):
        model, x = made(BY_ROWS[name])
        x = tuple(tensor[:1].expand_as(tensor) for tensor in x) if isinstance(x, tuple) else x[:1].expand_as(x)
        options = {"generator": seeded(), "keep_samples": True}
        own = ensemble.predict(model, x, 20, **options).samples
        shared = ensemble.predict(model, x, 20, masks="shared", **options).samples

        assert not torch.allclose(own[:, 0], own[:, 1])
        torch.testing.assert_close(shared, shared[:, :1].expand_as(shared), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(shared[0], shared[1:])

    def test_run_together(self, name):
        model, x = made(BY_ROWS[name])
        notes = ensemble.predict(model, x, 20, exact=False).notes
        assert "passes computed together: 1" not in notes
        assert not any("one by one" in note or "not done" in note for note in notes)


@pytest.mark.parametrize("name", BY_BATCHES)
class TestMasksOfBatches:
    def test_are_the_same_in_every_batch_and_said_to_run_alone(self, name):
        model, x = made(BY_BATCHES[name])
        prediction = ensemble.predict(model, x, 6, exact=False)
        assert "one by one" in " ".join(prediction.notes)

    def test_can_be_shared(self, name):
        model, x = made(BY_BATCHES[name])
        x = x[:1].expand_as(x)
        shared = ensemble.predict(model, x, 10, generator=seeded(), masks="shared", keep_samples=True).samples
        torch.testing.assert_close(shared, shared[:, :1].expand_as(shared), rtol=1e-4, atol=1e-5)


def test_packed_sequences_are_sampled_by_their_own_rows():
    from zoo import SEQUENCE, Recurrent

    model = Recurrent(nn.LSTM, packed=True)
    whole = ensemble.predict(model, SEQUENCE, 300, generator=seeded(), keep_samples=True)
    assert (whole.variance[[0, 1, 3, 4]] > 0).all()
    assert math.isfinite(whole.mean.sum())
