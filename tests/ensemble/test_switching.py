"""dropout_on: exactly what drops is on, batch norm is not, and every mode is put back."""

import pytest
import torch
from torch import nn
from zoo import BY_BATCHES, BY_ROWS, Attention, Functional, FunctionalNorm, made

from dropscope import ensemble
from dropscope.errors import NoDropoutFound

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")
ALL = {**BY_ROWS, **BY_BATCHES}


def on(model, only=None):
    """The paths of the modules that are switched on."""
    with ensemble.dropout_on(model, only):
        return [path for path, module in model.named_modules() if module.training]


@pytest.mark.parametrize("name", ALL)
def test_what_drops_varies_without_gradients_and_the_modes_come_back(name):
    model, x = made(ALL[name])
    modes = [module.training for module in model.modules()]
    call = (lambda: model(*x)) if isinstance(x, tuple) else (lambda: model(x))

    with ensemble.dropout_on(model), torch.no_grad():
        first = call()
        assert any(not torch.equal(first, call()) for _ in range(20))
    assert [module.training for module in model.modules()] == modes


def test_batch_norm_stays_in_eval_and_keeps_its_statistics():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.InstanceNorm1d(3, track_running_stats=True)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with ensemble.dropout_on(model):
        assert [module.training for module in model] == [False, True, False]
        model(torch.randn(4, 3, 2) + 5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model)


def test_functional_batch_norm_beside_functional_dropout_keeps_its_statistics():
    model, x = FunctionalNorm().train(), torch.randn(4, 4) + 5
    before = model.norm.running_mean.clone()
    with ensemble.dropout_on(model):
        model(x)
    assert torch.equal(model.norm.running_mean, before)
    model(x)
    assert not torch.equal(model.norm.running_mean, before)


def test_modes_come_back_after_an_exception():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Dropout(0.0))
    model[1].eval()
    with pytest.raises(RuntimeError, match="stop"), ensemble.dropout_on(model):
        raise RuntimeError("stop")
    assert [module.training for module in model] == [True, False, True]


def test_the_models_own_train_and_eval_are_never_called():
    class Merging(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def train(self, mode=True):
            raise RuntimeError("weights are merged")

        def forward(self, x):
            return self.drop(x)

    model = Merging()
    assert on(model) == ["drop"]
    assert ensemble.predict(model, torch.ones(2, 8), 5).n_samples == 5


def test_only_chooses_by_path_several_paths_or_a_function():
    model = nn.ModuleDict({"a": nn.Sequential(nn.Dropout(0.1), nn.Dropout(0.2)), "b": nn.Dropout(0.3)})
    assert on(model) == ["a.0", "a.1", "b"]
    assert on(model, "a") == ["a.0", "a.1"]
    assert on(model, ["a.1", "b"]) == ["a.1", "b"]
    assert on(model, lambda path, module: module.p > 0.15) == ["a.1", "b"]
    with pytest.raises(ValueError, match="did you mean `b`"):
        on(model, "bb")


def test_only_one_dropout_of_an_encoder_samples_in_spite_of_the_fused_path():
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.5, batch_first=True).eval()
    model, x = nn.TransformerEncoder(layer, 2), torch.randn(3, 5, 4)
    prediction = ensemble.predict(model, x, 10, only="layers.1.dropout2")
    assert (prediction.variance > 0).all()
    assert "layers.1.self_attn" not in on(model, "layers.1.dropout2")


def test_modules_that_drop_in_their_own_code_are_on_without_their_children():
    assert on(Functional()) == [""]
    assert on(Attention()) == ["", "dropout"]


def test_code_that_only_reads_training_stays_in_eval():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def forward(self, x):
            y = self.dropout(x)
            return (y, y) if self.training else y

    assert on(Auxiliary()) == ["dropout"]


@pytest.mark.parametrize("model", [nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.0), nn.LSTM(2, 2, dropout=0.0))])
def test_a_model_without_dropout_is_told_what_was_searched(model):
    with pytest.raises(NoDropoutFound, match=r"Searched: dropout layers of torch.*Modules: .*L") as caught:
        on(model)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(NoDropoutFound):
        ensemble.predict(model, torch.ones(2, 2))


def test_a_forward_of_the_modules_own_is_called_and_put_back():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4))
    own = model[0].forward = lambda x: nn.functional.dropout(x + 1, 0.5, model[0].training)
    samples = ensemble.predict(model[:1], torch.ones(2, 4), 20, keep_samples=True).samples
    assert set(samples.unique().tolist()) == {0.0, 4.0}
    assert model[0].forward is own


def test_two_models_can_be_switched_in_two_threads():
    from concurrent.futures import ThreadPoolExecutor

    # Made before the threads start: initial weights come from the one stream that all threads share.
    models = [nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 1)) for _ in range(4)]

    def sampled(seed):
        generator = torch.Generator().manual_seed(seed)
        return ensemble.predict(models[seed], torch.ones(3, 4), 200, generator=generator).mean

    alone = [sampled(seed) for seed in range(4)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(sampled, range(4)))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(alone, together, strict=True))
