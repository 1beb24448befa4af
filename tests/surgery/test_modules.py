"""Replacing, inserting and removing: all or none, and the names of parameters stay."""

import copy
import pickle

import pytest
import torch
from contracts import tensor
from operated import Holder, layer_cases, network, rates
from torch import nn
from torch._dynamo.testing import CompileCounter

from dropscope import layers, sites, surgery
from dropscope.layers import DropoutLayer


class TestReplace:
    def test_a_class_gets_the_old_rate_and_the_mode_is_carried_over(self):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout2d(0.3), nn.Dropout(0.1))
        model[1].eval()
        assert surgery.replace(model, nn.Dropout2d, layers.DropBlock2d) is model
        assert isinstance(model[1], layers.DropBlock2d)
        assert (model[1].p, model[1].training, model[2].p) == (0.3, False, 0.1)

    def test_a_function_gets_the_old_module_and_may_wrap_it(self):
        model = nn.Sequential(nn.Linear(3, 3), Holder(nn.BatchNorm1d(3)), nn.ReLU())
        model[1].layer.eval()
        model[2].eval()
        surgery.replace(model, nn.Linear, lambda old: layers.DropConnect(old, 0.2))
        surgery.replace(model, (Holder, nn.ReLU), lambda old: nn.Sequential(old, nn.Tanh()))
        assert isinstance(model[0].module, nn.Linear)
        assert [module.training for module in model[1].modules()] == [True, True, False, True]
        assert not any(module.training for module in model[2].modules())

    @pytest.mark.parametrize(
        "old", [nn.Dropout, (nn.Dropout, nn.Dropout1d), lambda module: getattr(module, "p", 0) == 0.5]
    )
    def test_a_class_a_tuple_or_a_predicate_says_what(self, old):
        model = nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.1))
        surgery.replace(model, old, nn.AlphaDropout)
        assert [type(module) for module in model] == [nn.AlphaDropout, nn.Dropout2d]

    def test_a_shared_module_becomes_one_new_shared_module(self):
        shared = nn.Dropout(0.5)
        model = nn.Sequential(shared, nn.ReLU(), nn.Sequential(shared))
        surgery.replace(model, nn.Dropout, layers.Dropout, where=lambda path: path == "0")
        assert isinstance(model[0], layers.Dropout)
        assert model[0] is model[2][0]

    def test_the_model_itself(self):
        assert isinstance(surgery.replace(nn.Dropout(0.2), nn.Dropout, layers.Dropout), layers.Dropout)

    def test_matched_modules_inside_matched_modules(self):
        model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))))
        surgery.replace(model, nn.Sequential, lambda old: Holder(old), where=bool)
        assert isinstance(model[0], Holder)
        assert isinstance(model[0].layer[1], Holder)
        assert model(torch.ones(1, 2)).shape == (1, 2)

    def test_where_one_cannot_be_made_nothing_changes(self):
        model = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2))
        with pytest.raises(TypeError, match="`new` must be a function where the old module has no `p`, got Dropout2d"):
            surgery.replace(model, nn.Module, nn.Dropout2d, where=bool)
        with pytest.raises(TypeError, match=r"`new` must give an nn\.Module, got NoneType"):
            surgery.replace(model, nn.Dropout, lambda old: None)
        assert [type(module) for module in model] == [nn.Dropout, nn.Linear]


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


class TestStrip:
    def test_what_drops_goes_and_what_does_more_stays_with_rate_zero(self):
        model = surgery.strip(network())
        assert [type(module) for module in model] == [
            nn.Linear,
            nn.Identity,
            nn.LSTM,
            nn.MultiheadAttention,
            nn.Identity,
            nn.Identity,
        ]
        assert rates(model) == {"2": 0.0, "3": 0.0}

    def test_eval_outputs_and_names_of_parameters_stay(self):
        model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3).eval()
        x = torch.randn(5, 3, 8)
        before, names = model(x), list(model.state_dict())
        surgery.strip(model)
        assert torch.equal(model(x), before)
        assert torch.equal(model.train()(x), model(x))
        assert list(model.state_dict()) == names

    def test_wrappers_leave_what_they_wrap(self):
        inner = nn.LSTM(3, 3, num_layers=2, dropout=0.2)
        model = nn.Sequential(
            layers.WeightDrop(inner, ["weight_hh_l0"], 0.5), nn.Sequential(layers.ConcreteDropout(nn.Linear(2, 2)))
        )
        surgery.strip(model)
        assert model[0] is inner
        assert inner.dropout == 0
        assert list(model.state_dict())[-2:] == ["1.0.weight", "1.0.bias"]

    def test_the_model_itself(self):
        assert isinstance(surgery.strip(nn.Dropout(0.1)), nn.Identity)

    @pytest.mark.parametrize(
        "layer",
        [
            layers.Zoneout(0.2),
            layers.Dropout(0.2, inverted=False),
            layers.DropConnect(nn.Linear(2, 2), 0.2, inference="moments"),
        ],
        ids=lambda layer: type(layer).__name__,
    )
    def test_what_uses_p_in_eval_is_refused_before_anything_changes(self, layer):
        model = nn.Sequential(nn.Dropout(0.1), layer)
        with pytest.raises(ValueError, match=f"must not use `p` in eval, got {type(layer).__name__}"):
            surgery.strip(model)
        assert rates(model) == {"0": 0.1, "1": 0.2}

    @pytest.mark.parametrize("case", list(layer_cases()))
    def test_of_every_layer_the_eval_output_stays_bit_for_bit_or_it_is_refused(self, case):
        model, inputs = Holder(case.make(0.5)).eval(), case.example()
        before = tensor(copy.deepcopy(model)(*inputs))
        assert sites.find(model) or not isinstance(model.layer, DropoutLayer)
        try:
            surgery.strip(model)
        except ValueError:
            assert (
                isinstance(model.layer, layers.Zoneout) or "inverted=False" in repr(model) or "moments" in repr(model)
            )
            return
        assert torch.equal(tensor(model(*inputs)), before)
        assert not any(rates(model).values())
