"""Removing: what is left computes in eval what the model did, to the bit."""

import copy

import pytest
import torch
from contracts import tensor
from operated import DropPath, Holder, layer_cases, network, rates
from torch import nn

from dropscope import layers, sites, surgery
from dropscope.layers import DropoutLayer


class TestStrip:
    def test_what_drops_goes_and_what_does_more_stays_with_rate_zero(self):
        model = surgery.strip(network())
        assert [type(module) for module in model] == [
            nn.Linear,
            nn.Identity,
            nn.LSTM,
            nn.MultiheadAttention,
            nn.Identity,
            DropPath,
        ]
        assert rates(model) == {"2": 0.0, "3": 0.0, "5": 0.0}

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

    def test_dropout_of_other_packages_that_does_more_keeps_doing_it(self):
        class ScaledDropout(nn.Dropout):
            def forward(self, x):
                return 3 * super().forward(x)

        class NoisyDropout(layers.Dropout):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return 3 * super().forward(x)

        model, x = nn.Sequential(ScaledDropout(0.5), NoisyDropout(0.5)).eval(), torch.randn(4)
        before = model(x)
        assert torch.equal(surgery.strip(model)(x), before)
        assert torch.equal(model.train()(x), before)

    def test_wrappers_in_wrappers_go_together(self):
        linear = nn.Linear(2, 2)
        model = nn.Sequential(layers.WeightDrop(layers.DropConnect(linear, 0.1), ["module.weight"], 0.2))
        assert surgery.strip(model)[0] is linear

    def test_inserted_dropout_goes_without_a_trace_and_can_be_inserted_again(self):
        model, x = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU())), torch.ones(2, 4)
        plain, expected = repr(model), model(x)
        for _ in range(2):
            surgery.insert(model, (nn.Linear, nn.ReLU), lambda: layers.Dropout(1.0))
            assert not model(x).any()
            surgery.strip(model)
            assert repr(model) == plain
            assert torch.equal(model(x), expected)
            assert not any(module._forward_hooks for module in model.modules())

    def test_what_else_is_inserted_follows_what_a_wrapper_leaves(self):
        model = nn.Sequential(layers.DropConnect(nn.Linear(4, 4), 0.5))
        surgery.insert(model, layers.DropConnect, lambda: nn.Sequential(nn.Dropout(0.5), nn.Hardtanh(0, 0.1)))
        expected = model.eval()(torch.ones(2, 4))
        assert isinstance(surgery.strip(model)[0], nn.Linear)
        assert torch.equal(model(torch.ones(2, 4)), expected)

    def test_what_drops_in_eval_is_removed_too(self):
        class AlwaysOn(nn.Dropout):
            def train(self, mode=True):
                return super().train(True)

        model = nn.Sequential(AlwaysOn(0.5)).eval()
        assert torch.equal(surgery.strip(model)(torch.ones(50)), torch.ones(50))
