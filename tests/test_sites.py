"""Sites: which modules are found, in which order, and what is left untouched."""

import copy

import pytest
import torch
from torch import nn

from dropscope import layers, sites
from dropscope.layers import DropoutLayer


def table(model, *inputs):
    return [(site.path, site.kind, site.p) for site in sites.find(model, *inputs)]


class DropPath(nn.Module):
    """As timm has it."""

    def __init__(self, drop_prob=0.0):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        return x


class StochasticDepth(nn.Module):
    """As torchvision has it."""

    def __init__(self, p, mode):
        super().__init__()
        self.p, self.mode = p, mode


class WeightDropout(nn.Module):
    """As fastai has it."""

    def __init__(self, module, weight_p):
        super().__init__()
        self.module, self.weight_p = module, weight_p


def with_rate(kind, name):
    """A module of a class of that name, which holds its rate under another."""
    module = type(kind, (nn.Module,), {})()
    setattr(module, name, 0.3)
    return module


class FrozenBackbone(nn.Module):
    """Its first part stays in eval, as is common when features are kept."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Dropout(0.1), nn.Dropout(0.2)

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self


class AlwaysOn(nn.Dropout):
    """Monte Carlo dropout as it is often written."""

    def train(self, mode=True):
        return super().train(True)


class Reversed(nn.Module):
    """Calls its parts from the last to the first, the middle one twice, and one only in training mode."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.never = layers.Dropout(0.1), nn.Dropout(0.2), nn.Dropout(0.3), nn.Dropout(0.4)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        x = self.b(self.norm(self.b(self.c(x))))
        return self.a(x) if self.training else x


class TestWhatIsFound:
    @pytest.mark.parametrize(
        "kind",
        [
            nn.Dropout,
            nn.Dropout1d,
            nn.Dropout2d,
            nn.Dropout3d,
            nn.AlphaDropout,
            nn.FeatureAlphaDropout,
            layers.Dropout,
            DropoutLayer,
        ],
    )
    @pytest.mark.parametrize("p", [0.0, 0.25])
    def test_dropout_modules_also_with_rate_zero(self, kind, p):
        (site,) = sites.find(nn.Sequential(nn.Linear(2, 2), kind(p)))
        assert (site.path, site.kind, site.p) == ("1", kind.__name__, p)
        assert (site.active_in_train, site.active_in_eval) == (p > 0, False)

    def test_the_model_itself(self):
        assert table(nn.Dropout(0.1)) == [("", "Dropout", 0.1)]

    @pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
    def test_recurrent_modules_of_more_than_one_layer(self, kind):
        assert table(kind(2, 2, num_layers=2, dropout=0.3)) == [("", kind.__name__, 0.3)]
        assert table(kind(2, 2)) == []

    def test_all_rates_of_a_recurrent_layer(self):
        model = nn.Sequential(layers.VariationalLSTM(2, 2, p=0.1, p_hidden=0.4))
        assert table(model) == [("0", "VariationalLSTM", 0.1), ("0.p_hidden", "VariationalLSTM", 0.4)]

    def test_attention_and_what_stands_inside_a_transformer_layer(self):
        found = table(nn.TransformerEncoderLayer(4, 2, 8, dropout=0.2))
        assert found[0] == ("self_attn", "MultiheadAttention", 0.2)
        assert [path for path, *_ in found[1:]] == ["dropout", "dropout1", "dropout2"]

    @pytest.mark.parametrize(
        ("module", "p"),
        [
            (DropPath(0.3), 0.3),
            (DropPath(None), 0.0),
            (type("SwinDropPath", (DropPath,), {})(0.3), 0.3),
            (type("Renamed", (StochasticDepth,), {})(0.3, "row"), 0.3),
            (WeightDropout(nn.Linear(2, 2), 0.3), 0.3),
            (with_rate("DropBlock2d", "prob"), 0.3),
            (with_rate("DropConnect", "drop_prob"), 0.3),
            (with_rate("EmbeddingDropout", "embed_p"), 0.3),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_modules_of_other_packages(self, module, p):
        (site,) = sites.find(module)
        assert (site.p, site.module) == (p, module)

    def test_what_only_sounds_like_it_is_left_alone(self):
        block = type("BlockWithDropout2dInside", (nn.Module,), {})()
        block.p = 0.5
        without_rate = type("LockedDropout", (nn.Module,), {})()
        without_rate.p = "0.5"
        assert table(nn.ModuleList([block, without_rate, nn.Identity()])) == []

    def test_a_shared_module_once_under_its_first_path(self):
        shared = nn.Dropout(0.1)
        assert table(nn.Sequential(nn.ReLU(), shared, nn.ReLU(), shared)) == [("1", "Dropout", 0.1)]


class TestModes:
    def test_an_overridden_train_is_seen(self):
        backbone, head = sites.find(FrozenBackbone())
        assert (backbone.active_in_train, head.active_in_train) == (False, True)
        (site,) = sites.find(nn.Sequential(AlwaysOn(0.1)))
        assert (site.active_in_train, site.active_in_eval) == (True, True)

    def test_a_forward_of_ones_own_may_drop_at_any_time(self):
        class Sampling(nn.Dropout):
            def forward(self, x):
                return nn.functional.dropout(x, self.p, training=True)

        class Renamed(nn.Dropout):
            pass

        drawn = layers.DropConnect(nn.Linear(2, 2), 0.5, inference="moments")
        found = sites.find(nn.Sequential(Sampling(0.1), Renamed(0.1), drawn))
        assert [site.active_in_eval for site in found] == [None, False, True]

    def test_an_overridden_eval_is_seen(self):
        class StaysOn(nn.Dropout):
            def eval(self):
                return self

        (site,) = sites.find(StaysOn(0.1))
        assert (site.active_in_train, site.active_in_eval) == (True, True)

    def test_weights_that_train_and_eval_change_are_left_alone(self):
        class Merging(nn.Linear):
            """As low-rank adapters do: eval adds them to the weights, train takes them off again, with rounding."""

            merged = False

            def train(self, mode=True):
                self.weight.data += (0.1 if not mode else -0.1) * (self.merged == mode)
                self.merged = not mode
                return super().train(mode)

        model = nn.Sequential(Merging(30, 30), nn.Dropout(0.1))
        before = model[0].weight.clone()
        for inputs in ((), (torch.ones(2, 30),)):
            (site,) = sites.find(model, *inputs)
            assert (site.active_in_train, site.active_in_eval) == (True, False)
            assert torch.equal(model[0].weight, before)
            assert not model[0].merged

    @pytest.mark.parametrize("name", ["train", "eval"])
    def test_what_takes_other_arguments_or_fails_is_not_called_and_not_known(self, name):
        calls = []

        def trainer(self, trainer=None, **kwargs):
            calls.append(self)

        def needs(self, data):
            calls.append(self)

        def fails(self, mode=True):
            return float(self[0].weight.sum())  # the copy has no values

        methods = {"train": (trainer, needs, fails), "eval": (needs,)}[name]
        for method in methods:
            model = type("Model", (nn.Sequential,), {name: method})(nn.Linear(3, 3), nn.Dropout(0.1), nn.Dropout(0.0))
            for inputs in ((), (torch.ones(2, 3),)):
                site, without = sites.find(model, *inputs)
                assert (site.active_in_train, site.active_in_eval, site.p) == (None, None, 0.1)
                assert (without.active_in_train, without.active_in_eval) == (False, False)
        assert not calls

    @pytest.mark.parametrize("inputs", [(), (torch.ones(4, 3),)])
    def test_every_mode_is_put_back(self, inputs):
        model = nn.Sequential(FrozenBackbone(), Reversed(), AlwaysOn(0.1))
        model[0].forward = lambda x: x
        model[1].b.eval()
        before = [module.training for module in model.modules()]
        sites.find(model, *inputs)
        assert [module.training for module in model.modules()] == before


class TestExampleInputs:
    def test_sites_come_in_the_order_of_their_first_call_and_unused_ones_last(self):
        found = [(site.path, site.calls) for site in sites.find(Reversed().eval(), torch.ones(4, 3))]
        assert found == [("c", 1), ("b", 2), ("a", 1), ("never", 0)]

    def test_without_them_in_the_order_of_registration(self):
        found = [(site.path, site.calls) for site in sites.find(Reversed())]
        assert found == [("a", None), ("b", None), ("c", None), ("never", None)]

    def test_compiled_models_are_run_without_being_compiled(self):
        compiled = torch.compile(Reversed(), backend="eager")
        assert [site.calls for site in sites.find(compiled, torch.ones(4, 3))] == [1, 2, 1, 0]

    def test_buffers_hooks_and_all_random_streams_are_as_before(self, generator):
        model = Reversed()
        model.a.generator = generator
        buffers = copy.deepcopy(dict(model.named_buffers()))
        streams = torch.get_rng_state(), generator.get_state()
        sites.find(model, torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
        assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
        assert all(map(torch.equal, (torch.get_rng_state(), generator.get_state()), streams))
        assert not any(module._forward_pre_hooks for module in model.modules())

    def test_generators_of_any_name_are_as_before(self, generator):
        class Drawing(nn.Dropout):
            def forward(self, x):
                return super().forward(x) + torch.rand(x.shape, generator=self.stream)

        model = Drawing(0.1)
        model.stream, before = generator, generator.get_state()
        sites.find(model, torch.ones(4, 3))
        assert torch.equal(generator.get_state(), before)

    def test_the_run_is_in_the_modes_that_train_leaves(self):
        model = FrozenBackbone()
        model.forward = lambda x: model.backbone(x) if model.backbone.training else model.head(x)
        assert [(site.path, site.calls) for site in sites.find(model, torch.ones(3))] == [("head", 1), ("backbone", 0)]

    def test_inputs_can_be_named(self):
        class Named(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = nn.Dropout(0.1), nn.Dropout(0.2)

            def forward(self, x, *, first):
                return getattr(self, first)(x)

        found = sites.find(Named(), torch.ones(3), first="b")
        assert [(site.path, site.calls) for site in found] == [("b", 1), ("a", 0)]
        assert [site.calls for site in sites.find(Reversed(), x=torch.ones(4, 3))] == [1, 2, 1, 0]

    def test_a_model_that_takes_gradients_inside_can_be_run(self):
        class Force(nn.Module):
            def __init__(self):
                super().__init__()
                self.dropout = nn.Dropout(0.1)

            def forward(self, x):
                return torch.autograd.grad(self.dropout(x).square().sum(), x)[0]

        assert [site.calls for site in sites.find(Force(), torch.ones(3, requires_grad=True))] == [1]

    def test_parameters_that_the_run_itself_changes_are_left_alone(self):
        model = nn.Sequential(nn.Embedding(3, 4, max_norm=0.1), nn.Dropout(0.1))
        before = model[0].weight.clone()
        sites.find(model, torch.arange(3))
        assert torch.equal(model[0].weight, before)

    def test_lazy_modules_must_have_run(self):
        model = nn.Sequential(nn.LazyLinear(3), nn.Dropout(0.1))
        assert [site.path for site in sites.find(model)] == ["1"]
        with pytest.raises(ValueError, match="`model` must have run once before example inputs are given"):
            sites.find(model, torch.ones(2, 3))
