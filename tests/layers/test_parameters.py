"""Wrapped modules: how they are called with dropped weights, and what parents read of them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from dropscope import layers


class TestCalls:
    @pytest.mark.parametrize("wrap", [layers.DropConnect, lambda module: layers.WeightDrop(module, ["weight"])])
    def test_threads_that_share_a_layer_leave_them_too(self, wrap, seed):
        """Every output comes from the weights or twice them, never from those that another thread has dropped."""
        layer = wrap(nn.Linear(64, 64, bias=False))
        weight = layer.module.weight
        with ThreadPoolExecutor(4) as pool:
            ratios = list(pool.map(lambda _: layer(torch.eye(64)).T / weight, range(400)))
        assert layer.module.weight is weight
        assert all(((ratio.abs() < 1e-5) | ((ratio - 2).abs() < 1e-4)).all() for ratio in ratios)

    def test_a_linear_layer_holds_its_own_weight_even_during_the_call(self):
        layer, seen = layers.DropConnect(nn.Linear(5, 4)), []
        weight = layer.module.weight

        class Watch(TorchFunctionMode):
            def __torch_function__(self, function, types, args=(), kwargs=None):
                seen.append((function, layer.module.weight is weight))
                return function(*args, **kwargs or {})

        with Watch():
            layer(torch.randn(2, 5))
        assert (nn.functional.linear, True) in seen
        assert all(own for _, own in seen)

    def test_hooks_of_the_module_run_once_in_training_and_never_for_moments(self):
        layer, calls = layers.DropConnect(nn.Linear(5, 4)), []
        layer.module.register_forward_hook(lambda *_: calls.append(1))
        layer.moments(torch.randn(2, 5))
        assert calls == []
        layer(torch.randn(2, 5))
        assert calls == [1]

    @pytest.mark.parametrize("training", [True, False])
    def test_an_argument_too_many_is_refused(self, training):
        with pytest.raises(TypeError, match="takes 2 positional arguments but 3 were given"):
            layers.DropConnect(nn.Linear(5, 4)).train(training)(torch.randn(2, 5), 1)

    def test_a_forward_that_was_put_in_place_of_torchs_runs(self):
        layer, x = layers.DropConnect(nn.Linear(5, 4), 1.0), torch.randn(2, 5)
        layer.module.forward = lambda x: layer.module.bias + x.sum()
        assert torch.equal(layer(x), layer.module.bias + x.sum())

    def test_a_subclass_runs_its_own_forward(self):
        class Negated(nn.Linear):
            def forward(self, x):
                return -super().forward(x)

        layer, x = layers.DropConnect(Negated(5, 4), 0.0), torch.randn(2, 5)
        torch.testing.assert_close(layer(x), layer.module(x))


class TestParentsThatReadAttributes:
    """As nn.TransformerEncoderLayer does in eval, and nn.MultiheadAttention always."""

    def test_in_eval_they_find_the_weights_of_the_module(self):
        parent, x = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval(), torch.randn(2, 5, 16)
        with torch.no_grad():
            expected = parent(x)
            parent.linear1 = layers.DropConnect(parent.linear1)
            parent.linear2 = layers.ConcreteDropout(parent.linear2)
            parent.self_attn.out_proj = layers.DropConnect(parent.self_attn.out_proj)
            assert torch.equal(parent.eval()(x), expected)

    def test_in_training_to_compute_past_the_dropout_is_refused(self):
        parent = nn.MultiheadAttention(16, 4)
        parent.out_proj = layers.DropConnect(parent.out_proj)
        with pytest.raises(AttributeError, match="`weight` of DropConnect cannot be read where the layer drops"):
            parent(*[torch.randn(5, 2, 16)] * 3)

    def test_so_it_is_in_eval_where_that_draws(self):
        layer = layers.DropConnect(nn.Linear(5, 4), inference="moments").eval()
        assert not hasattr(layer, "weight")

    def test_what_a_parametrization_computes_is_found_in_eval(self):
        layer = layers.DropConnect(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)))
        assert not hasattr(layer, "weight")
        assert torch.equal(layer.eval().weight, layer.module.weight)

    @pytest.mark.parametrize("training", [True, False])
    def test_other_attributes_are_the_modules_alone(self, training):
        """Else the wrapped network's rates would be found twice."""
        network = layers.VariationalLSTM(3, 4, p_hidden=0.2)
        layer = layers.WeightDrop(network, ["weight_hh_l0"]).train(training)
        assert not any(hasattr(layer, name) for name in ("own_rates", "p_hidden", "dropout", "hidden_size"))

    def test_what_neither_has_is_missing_under_the_usual_words(self):
        with pytest.raises(AttributeError, match="has no attribute 'colour'"):
            _ = layers.DropConnect(nn.Linear(5, 4)).colour
