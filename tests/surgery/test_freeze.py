"""Fixed masks: those of the first call, whoever wrote the site, and all else as if nothing were fixed."""

import pytest
import torch
from contracts import tensor
from operated import layer_cases
from torch import nn
from torch.utils._pytree import tree_leaves

from dropscope import layers, sites, surgery
from dropscope.layers import DropoutLayer
from dropscope.surgery import fixing


class TestFreeze:
    def noisy(self, generator=None):
        return nn.Sequential(
            nn.Dropout(0.5),
            layers.Dropout(0.5, generator=generator),
            nn.LSTM(40, 40, num_layers=2, dropout=0.5),
            surgery.insert(nn.MultiheadAttention(40, 2, dropout=0.5), nn.MultiheadAttention, lambda: nn.Dropout(0.5)),
        )

    def run(self, model, x):
        y = model[2](model[1](model[0](x)))[0]
        return model[3](y, y, y)[0]

    def test_every_kind_of_site_keeps_its_first_mask(self, generator):
        model, x = self.noisy(generator), torch.ones(8, 3, 40)
        with surgery.freeze(model) as frozen:
            assert frozen is model
            first = self.run(model, x)
            torch.rand(3)
            assert torch.equal(self.run(model, x), first)
            model.eval()
            plain = self.run(model, x)
            assert torch.equal(self.run(model.train(), x), first)
        assert not torch.equal(plain, first)
        assert not torch.equal(self.run(model, x), self.run(model, x))

    def test_the_first_masks_are_those_of_an_unfrozen_model(self, seed):
        model, x = self.noisy(), torch.ones(8, 3, 40)
        torch.manual_seed(seed)
        expected = self.run(model, x)
        torch.manual_seed(seed)
        with surgery.freeze(model):
            assert torch.equal(self.run(model, x), expected)

    def test_sites_that_start_in_eval_do_not_share_their_random_numbers(self):
        model, x = nn.ModuleList([nn.Dropout(0.5), nn.Dropout(0.5)]).eval(), torch.ones(100)
        with surgery.freeze(model):
            assert all(torch.equal(site(x), x) for site in model)
            model.train()
            assert not torch.equal(model[0](x), model[1](x))

    def test_other_random_numbers_go_on(self):
        model = nn.Dropout(0.5)
        with surgery.freeze(model):
            model(torch.ones(100))
            state = torch.get_rng_state()
            model(torch.ones(100))
            assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("own_stream", [True, False])
    def test_a_layer_inside_a_layer_is_rewound_with_it(self, own_stream, generator):
        class Outer(DropoutLayer):
            def __init__(self):
                super().__init__(0.5)
                self.inner = layers.Dropout(0.5, generator=generator if own_stream else None)

            def forward(self, x):
                return self.inner(x) + nn.functional.dropout(x)

        model, x = Outer(), torch.ones(100)
        with surgery.freeze(model):
            assert torch.equal(model(x), model(x))

    def test_an_error_inside_leaves_no_hooks_and_puts_the_stream_back(self):
        model = nn.Dropout(0.5)
        with surgery.freeze(model):
            model(torch.ones(10))
            state = torch.get_rng_state()
            with pytest.raises(TypeError):
                model("no tensor")
            assert torch.equal(torch.get_rng_state(), state)
        with pytest.raises(KeyError), surgery.freeze(model):
            raise KeyError
        assert not model._forward_hooks
        assert not model._forward_pre_hooks

    def test_a_compiled_model_is_frozen_too(self):
        torch._dynamo.reset()
        model, x = nn.Sequential(nn.Linear(6, 60), nn.Dropout(0.5)), torch.ones(4, 6)
        compiled = torch.compile(model, backend="eager")
        compiled(x)
        with surgery.freeze(compiled):
            assert torch.equal(compiled(x), compiled(x))
        assert not torch.equal(compiled(x), compiled(x))

    def test_gradients_are_those_of_the_fixed_mask(self):
        model, x = nn.Dropout(0.5), torch.ones(100, requires_grad=True)
        with surgery.freeze(model):
            (gradient,) = torch.autograd.grad(model(x).sum(), x)
            assert torch.equal(gradient, model(torch.ones(100)))

    def test_a_site_inside_a_layer_and_outside_it_is_frozen_in_both_places(self):
        shared = layers.Dropout(0.5)
        model, x = nn.ModuleList([layers.LayerDrop([shared, nn.Dropout(0.5)], 0.0), shared]), torch.ones(200)
        for order in ((0, 1), (1, 0)):
            with surgery.freeze(model):
                first = [model[i](x) for i in order]
                for _ in range(3):
                    assert all(map(torch.equal, [model[i](x) for i in order], first))

    def test_keyword_arguments_count_among_the_devices(self, monkeypatch):
        seen = []
        streams = fixing.Streams
        monkeypatch.setattr(fixing, "Streams", lambda module, inputs: seen.append(inputs) or streams(module, inputs))
        x = torch.ones(3)
        with surgery.freeze(nn.Dropout(0.5)) as model:
            model(input=x)
        assert any(tensor is x for tensor in tree_leaves(seen))

    @pytest.mark.parametrize("case", list(layer_cases()))
    def test_every_layer_keeps_its_first_mask(self, case):
        layer, inputs = case.make(0.5), case.example()
        if not sites.find(layer):
            pytest.skip("learns a rate for each weight, and is no site")
        with surgery.freeze(layer):
            assert torch.equal(tensor(layer(*inputs)), tensor(layer(*inputs)))
