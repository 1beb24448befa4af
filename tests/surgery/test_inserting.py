"""Inserting: the names of parameters stay, and what is inserted runs once."""

import copy
import pickle
from collections import namedtuple

import pytest
import torch
from operated import rates
from torch import nn
from torch._dynamo.testing import CompileCounter

from dropscope import layers, surgery


class TestInsert:
    def model(self):
        model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU())
        return surgery.insert(model, nn.ReLU, lambda: layers.Dropout(0.5), where=lambda path: path == "1")

    def test_it_drops_what_the_module_gives(self, seed):
        model = self.model()
        x = torch.randn(50, 6)
        torch.manual_seed(seed)
        found = model(x)
        torch.manual_seed(seed)
        expected = model[3](model[2](layers.Dropout(0.5)(nn.functional.relu(model[0](x)))))
        assert torch.equal(found, expected)

    def test_names_of_parameters_stay(self):
        plain = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU())
        model = self.model()
        assert list(model.state_dict()) == list(plain.state_dict())
        model.load_state_dict(plain.state_dict())
        assert torch.equal(model.eval()(torch.ones(2, 6)), plain(torch.ones(2, 6)))

    @pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    def test_copies_have_their_own(self, clone):
        model = self.model()
        twin = clone(model)
        surgery.set_p(twin, 1.0)
        assert rates(model) == {"1.inserted_dropout": 0.5}
        assert not twin[:2](torch.ones(2, 6)).any()
        assert model[:2](torch.randn(50, 6)).any()

    def test_modes_reach_it(self):
        model = self.model().eval()
        assert not model[1].inserted_dropout.training
        again = surgery.insert(model, nn.Linear, lambda: layers.Dropout(0.5))
        assert not again[0].inserted_dropout.training

    def test_of_a_tuple_the_first_is_dropped(self):
        model = surgery.insert(nn.LSTM(3, 4), nn.LSTM, lambda: nn.Dropout(1.0))
        output, (hidden, _) = model(torch.ones(5, 2, 3))
        assert not output.any()
        assert hidden.any()

    def test_it_compiles_into_one_graph(self):
        torch._dynamo.reset()
        counted, model = CompileCounter(), self.model()
        compiled = torch.compile(model, backend=counted, fullgraph=True)
        for p in (0.5, 0.2, 1.0):
            surgery.set_p(model, p)
            y = compiled(torch.ones(2, 6))
        assert torch.equal(y, model[3](model[2](torch.zeros(2, 6))))
        assert counted.frame_count == 1

    def test_twice_in_one_place_is_refused(self):
        model = self.model()
        with pytest.raises(ValueError, match="nothing is inserted after"):
            surgery.insert(model, nn.Module, lambda: nn.Dropout(0.1))
        assert list(rates(model)) == ["1.inserted_dropout"]

    def test_what_is_no_module_is_refused(self):
        with pytest.raises(TypeError, match=r"`make` must give an nn\.Module, got float"):
            surgery.insert(nn.ReLU(), nn.ReLU, lambda: 0.5)

    def test_what_matches_nothing_is_refused(self):
        with pytest.raises(ValueError, match=r"`after` must match a module of the model, got .*Tanh.* none"):
            surgery.insert(nn.ReLU(), nn.Tanh, lambda: nn.Dropout(0.1))

    @pytest.mark.parametrize(
        "wrap",
        [lambda model: torch.compile(model, backend="eager"), lambda model: model.compile(backend="eager") or model],
    )
    def test_a_compiled_model_is_refused(self, wrap):
        model = nn.Sequential(nn.ReLU())
        with pytest.raises(ValueError, match="`model` must not be compiled yet"):
            surgery.insert(nn.ModuleList([wrap(model)]), nn.ReLU, lambda: nn.Dropout(0.1))
        assert not rates(model)


class Half(nn.Module):
    """Stands for dropout: a second call would be seen."""

    def forward(self, x):
        return x / 2


class Bag(nn.ModuleDict):
    def forward(self, x):
        for _, module in self.items():
            x = module(x)
        return x


class Backwards(nn.Sequential):
    def forward(self, x):
        for module in reversed(list(self)):
            x = module(x)
        return x


class TestInsertAfterContainers:
    def test_a_sequential_runs_it_once_as_its_last_module(self):
        model = nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 3))
        names, x = list(model.state_dict()), torch.ones(2, 3)
        expected = model[1](model[0](x) / 2)
        surgery.insert(model, nn.Sequential, Half, where=lambda path: path == "0")
        assert torch.equal(model(x), expected)
        assert (len(model[0]), type(model[0][-1]), list(model.state_dict())) == (3, Half, names)

    @pytest.mark.parametrize("kind", [nn.ModuleList, nn.ModuleDict, Bag, Backwards])
    def test_what_calls_its_modules_in_a_way_of_its_own_is_refused(self, kind):
        modules = [nn.ReLU()] if kind in (nn.ModuleList,) else {"a": nn.ReLU()}
        model = nn.Sequential(nn.Linear(2, 2), kind(nn.ReLU()) if kind is Backwards else kind(modules))
        with pytest.raises(ValueError, match=f"must follow modules that run as a whole, got {kind.__name__}"):
            surgery.insert(model, (nn.Linear, kind), Half)
        assert not any(isinstance(module, Half) for module in model.modules())


Pair = namedtuple("Pair", ["values", "state"])


def giving(output):
    return surgery.insert(Giving(output), Giving, Half)


class Giving(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self):
        return self.output


class TestInsertedOutputs:
    def test_a_named_tuple_stays_one(self):
        found = giving(Pair(torch.ones(2), "state"))()
        assert isinstance(found, Pair)
        assert (found.values.tolist(), found.state) == ([0.5, 0.5], "state")

    def test_a_packed_sequence_is_passed_whole(self):
        x = nn.utils.rnn.pack_sequence([torch.ones(3, 4), torch.ones(2, 4)])
        model = surgery.insert(nn.LSTM(4, 5), nn.LSTM, lambda: layers.LockedDropout(1.0))
        output, (hidden, _) = model(x)
        assert isinstance(output, nn.utils.rnn.PackedSequence)
        assert torch.equal(output.batch_sizes, x.batch_sizes)
        assert not output.data.any()
        assert hidden.any()

    def test_a_packed_sequence_that_the_dropout_does_not_take_is_refused(self):
        x = nn.utils.rnn.pack_sequence([torch.ones(3, 4)])
        with pytest.raises(TypeError, match="must be Tensor, not PackedSequence"):
            surgery.insert(nn.LSTM(4, 5), nn.LSTM, lambda: nn.Dropout(0.5))(x)

    @pytest.mark.parametrize("output", [{"logits": torch.ones(2)}, [torch.ones(2)], (None, torch.ones(2))])
    def test_other_outputs_are_refused(self, output):
        with pytest.raises(
            TypeError, match=rf"a tensor, or a tuple with one first, got {type(output).__name__} from Gi"
        ):
            giving(output)()
