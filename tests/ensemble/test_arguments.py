"""What predict takes, in every form, and what it refuses, in one clear sentence."""

import warnings
from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from zoo import FLAT, mlp, rows

from dropscope import ensemble
from dropscope.ensemble.progress import Progress
from dropscope.errors import NoDropoutFound


def seeded():
    return torch.Generator().manual_seed(4)


def predicted(model, x, **options):
    return ensemble.predict(model, x, 8, generator=seeded(), **options)


class Two(nn.Module):
    """Takes two inputs, one of them by name, and gives several outputs."""

    def __init__(self, kind=dict):
        super().__init__()
        self.net, self.kind = mlp(nn.Dropout(0.5), nn.Tanh()), kind

    def forward(self, a, b=None, scale=1):
        y = self.net(a + (0 if b is None else b)) * scale
        if self.kind is dict:
            return {"logits": y, "other": y + 1}
        return self.kind(y + 1, y) if self.kind is not tuple else (y + 1, y)


class TestInputsAndOutputs:
    def test_tuples_are_arguments_and_mappings_are_keywords(self):
        model = Two()
        expected = predicted(model, FLAT * 2).mean
        for x in ((FLAT, FLAT), [FLAT, FLAT], {"a": FLAT, "b": FLAT}, (FLAT, FLAT, 1)):
            torch.testing.assert_close(predicted(model, x).mean, expected)
        torch.testing.assert_close(predicted(model, {"a": FLAT, "scale": 2}).mean, predicted(model, FLAT).mean * 2)

    def test_outputs_are_picked_by_key_number_attribute_or_function(self):
        Pair = namedtuple("Pair", ["other", "logits"])
        torch.manual_seed(0)
        models = {kind: Two(kind) for kind in (dict, tuple, Pair)}
        for model in models.values():
            model.net = models[dict].net
        expected = predicted(models[dict], FLAT).mean
        for kind, output in (
            (dict, "logits"),
            (tuple, 1),
            (Pair, None),
            (Pair, "logits"),
            (tuple, lambda both: both[1]),
        ):
            torch.testing.assert_close(predicted(models[kind], FLAT, output=output).mean, expected)
        torch.testing.assert_close(predicted(models[dict], FLAT, output="other").mean, expected + 1)
        with pytest.raises(TypeError, match="got tuple: pick one by `output`"):
            predicted(models[tuple], FLAT)

    def test_loaders_give_their_batches_one_after_the_other(self):
        model, x = mlp(nn.Dropout(0.5), nn.Tanh()), rows(4)
        expected = predicted(model, x).mean
        with_targets = DataLoader(TensorDataset(x, torch.arange(5)), batch_size=2)
        plain = DataLoader(x, batch_size=3)
        for loader in (with_targets, plain):
            torch.testing.assert_close(predicted(model, loader).mean, expected)
        named = DataLoader([{"a": row} for row in x], batch_size=2)
        two = Two()
        torch.testing.assert_close(predicted(two, named).mean, predicted(two, x).mean)

    def test_half_types_are_predicted_in_float32(self):
        model = mlp(nn.Dropout(0.5), nn.Tanh()).bfloat16()
        found = predicted(model, FLAT.bfloat16())
        assert found.mean.dtype == torch.float32
        assert predicted(mlp(nn.Dropout(0.5), nn.Tanh()).double(), FLAT.double()).mean.dtype == torch.float64

    def test_results_carry_no_gradients_and_may_come_from_inference_tensors(self):
        with torch.inference_mode():
            x = FLAT.clone()
        found = predicted(mlp(nn.Dropout(0.5), nn.Tanh()), x)
        assert not found.mean.requires_grad

    def test_one_row_is_enough(self):
        assert (predicted(mlp(nn.Dropout(0.5), nn.Tanh()), FLAT[:1]).variance > 0).any()

    def test_outputs_may_be_one_number_for_the_batch(self):
        class Total(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout(0.5)

            def forward(self, x):
                return self.drop(x).sum(0, keepdim=True)

        assert predicted(Total(), FLAT).mean.shape == (1, 4)


class TestRandomness:
    def test_fixed_masks_are_the_same_at_every_call(self):
        model = mlp(nn.Dropout(0.5), nn.Tanh())
        one, other = (ensemble.predict(model, x, 8, masks="fixed", keep_samples=True) for x in (FLAT, FLAT[:2]))
        torch.testing.assert_close(one.samples[:, :2], other.samples)

    def test_without_a_generator_torchs_stream_decides(self):
        model = mlp(nn.Dropout(0.5), nn.Tanh())
        torch.manual_seed(3)
        one, other = (ensemble.predict(model, FLAT, 8).mean for _ in range(2))
        torch.manual_seed(3)
        again = ensemble.predict(model, FLAT, 8).mean
        assert torch.equal(one, again)
        assert not torch.equal(one, other)

    @pytest.mark.filterwarnings("ignore")
    def test_a_compiled_model_samples(self):
        model = torch.compile(mlp(nn.Dropout(0.5), nn.Tanh()), backend="eager")
        model(FLAT)
        assert (predicted(model, FLAT).variance > 0).any()
        torch._dynamo.reset()


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({"n_samples": 1}, "`n_samples` must be a whole number of at least 2, got 1"),
            ({"n_samples": 2.5}, "`n_samples` must be a whole number of at least 2, got 2.5"),
            ({"n_samples": "10"}, "`n_samples` must be a whole number of at least 2, got '10'"),
            ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1"),
            ({"batch_size": "4"}, "`batch_size` must be a whole number of at least 1 or None, got '4'"),
            ({"memory": 0}, "`memory` must be a positive number"),
            ({"memory": "1GB"}, "`memory` must be a positive number of bytes, got '1GB'"),
            ({"masks": "own"}, "`masks` must be a way to draw, got 'own'"),
            ({"transform": "log"}, "`transform` must be None, 'softmax', 'sigmoid'"),
            ({"output": 0}, "`output` must be None for a model that gives one tensor, got 0"),
            ({"output": "logits"}, "`output` must be None for a model that gives one tensor, got 'logits'"),
        ],
    )
    def test_arguments_are_checked(self, options, why):
        with pytest.raises(ValueError, match=why):
            ensemble.predict(mlp(nn.Dropout(0.5)), FLAT, **options)

    @pytest.mark.parametrize("output", ["probs", 7])
    def test_an_output_that_is_not_there_is_named(self, output):
        model = nn.LSTM(4, 5, 2, dropout=0.5)
        with pytest.raises(ValueError, match=f"one of what the model gives, a tuple, got {output!r}"):
            ensemble.predict(model, torch.randn(3, 2, 4), 3, output=output)

    def test_a_softmax_of_one_logit_says_nothing(self):
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        with pytest.raises(ValueError, match="needs two classes or more, got one: use 'sigmoid'"):
            ensemble.predict(model, FLAT, transform="softmax")

    @pytest.mark.parametrize(
        ("model", "said"), [(None, "NoneType"), (FLAT, "tensor of shape"), (nn.Linear, "class Linear instead")]
    )
    def test_a_model_is_a_module(self, model, said):
        for run in (ensemble.predict, ensemble.exact, ensemble.weight_scaling):
            with pytest.raises(TypeError, match=f"`model` must be a torch.nn.Module, got .*{said}"):
                run(model, FLAT)

    @pytest.mark.parametrize(
        ("x", "said"),
        [(FLAT.numpy(), "numpy array"), (torch.tensor(1.0), r"tensor of shape \(\)"), ("rows", "got str")],
    )
    def test_what_has_no_rows_is_named(self, x, said):
        with pytest.raises(TypeError, match=f"`x` must be a tensor with rows, .*{said}"):
            ensemble.predict(mlp(nn.Dropout(0.5)), x)

    def test_a_generator_is_no_seed(self):
        with pytest.raises(TypeError, match=r"`generator` must be None or a torch\.Generator, got int"):
            ensemble.predict(mlp(nn.Dropout(0.5)), FLAT, generator=0)

    def test_where_all_is_dropped_nothing_is_drawn(self):
        with pytest.raises(NoDropoutFound, match=r"none that drew a mask.*\(p=1\)"):
            ensemble.predict(nn.Sequential(nn.Linear(4, 3), nn.Dropout(1.0)), FLAT)

    def test_there_must_be_rows(self):
        model = mlp(nn.Dropout(0.5), nn.Tanh())
        with pytest.raises(ValueError, match="at least one row"):
            predicted(model, FLAT[:0])
        with pytest.raises(ValueError, match="empty loader"):
            predicted(model, DataLoader(TensorDataset(FLAT[:0])))
        with pytest.raises(TypeError, match="must be a tensor"):
            predicted(model, {"a": 3})

    @pytest.mark.parametrize("value", ["nan", "inf"])
    def test_an_output_that_is_not_finite_names_its_row(self, value):
        x = FLAT.clone()
        x[3, 2] = float(value)
        with pytest.raises(ValueError, match=r"finite outputs, got (nan|-?inf) for row 3 of `x` in pass 0"):
            predicted(
                nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 8), nn.Linear(8, 2)), x, batch_size=2
            )

    def test_an_error_of_the_model_is_its_own_and_leaves_nothing_behind(self):
        model = mlp(nn.Dropout(0.5), nn.Tanh()).train()
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            predicted(model, rows(3))
        assert all(module.training and "forward" not in module.__dict__ for module in model.modules())


def test_explains_how_the_passes_are_computed(capsys):
    predicted(mlp(nn.Dropout(0.5), nn.Tanh()), FLAT, explain=True)
    shown = capsys.readouterr().out
    assert "computed once before the first draw: 2 calls (Linear, ReLU)" in shown


def test_progress_shows_itself_after_a_while(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("dropscope.ensemble.progress.time.monotonic", lambda: now[0])
    bar = Progress(100, True)
    bar.advance(10)
    assert capsys.readouterr().err == ""
    now[0] = 4.0
    bar.advance(30)
    assert "40%, 6 s left" in capsys.readouterr().err
    bar.close()
    silent = Progress(100, False)
    now[0] = 9.0
    silent.advance(10)
    assert capsys.readouterr().err.strip() == ""


def test_nothing_is_warned_about_a_plain_model():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted(mlp(nn.Dropout(0.5), nn.Tanh()), FLAT)
