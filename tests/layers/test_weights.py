"""Dropout of weights: the contract of every layer, and that no parameter is ever overwritten."""

import copy
import functools
import shutil

import pytest
import torch
from contracts import Case, LayerContract, seeded
from torch import nn
from torch.nn.utils import parametrizations

from dropscope import functional, layers, masks

MODULES = {
    "Linear": nn.Linear(5, 4),
    "Conv1d": nn.Conv1d(3, 4, 2),
    "Conv2d": nn.Conv2d(4, 2, 3, padding=1, groups=2, bias=False),
    "Conv3d": nn.Conv3d(2, 3, 2, stride=2, padding_mode="circular", padding=1),
    "LSTM": nn.LSTM(5, 4, num_layers=2, bidirectional=True),
    "GRU": nn.GRU(5, 4, batch_first=True),
}
EXAMPLES = {
    "Linear": (6, 5),
    "Conv1d": (2, 3, 7),
    "Conv2d": (2, 4, 5, 5),
    "Conv3d": (2, 2, 3, 4, 4),
    "LSTM": (3, 2, 5),
    "GRU": (2, 3, 5),
}
WIDE = nn.Linear(40, 4)  # so many columns that two masks are never alike by chance
NETWORK = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
RECURRENT = {
    "test_an_exported_eval_model_contains_no_dropout": "export warns of every nn.LSTM; checked in TestRecurrent",
    "test_vmap_draws_as_it_is_told": "torch's recurrent modules have no batching rule",
    "test_compiles_into_one_graph_that_survives_three_changes_of_p": "Dynamo does not trace recurrent modules",
    "test_compiled_code_draws_from_the_generator": "Dynamo does not trace recurrent modules",
    "test_compiled_gradients_are_those_of_the_same_draw": "Dynamo does not trace recurrent modules",
}


def plain(layer, *inputs):
    y = layer.module(*inputs)
    return y if isinstance(y, torch.Tensor) else y[0]


def example(shape):
    return lambda: (torch.randn(shape),)


def drop_connect(name, p, **options):
    return layers.DropConnect(copy.deepcopy(WIDE if name == "wide" else MODULES[name]), p, **options)


def normed(normalisation):
    return normalisation(copy.deepcopy(MODULES["Linear"]))


CASES = [
    *(
        Case(
            f"DropConnect-{name}",
            functools.partial(drop_connect, name),
            example(EXAMPLES[name]),
            plain,
            tolerance=1e-6,
            batch_axis=None,
            skip=RECURRENT if name in ("LSTM", "GRU") else {},
        )
        for name in MODULES
    ),
    Case(
        "DropConnect-columns",
        functools.partial(drop_connect, "wide", per=(1,)),
        example((6, 40)),
        plain,
        tolerance=1e-6,
        batch_axis=None,
    ),
    Case(
        "WeightDrop",
        lambda p, **options: layers.WeightDrop(copy.deepcopy(NETWORK), ["0.weight", "2.bias"], p, **options),
        example((4, 5)),
        plain,
        tolerance=1e-6,
        batch_axis=None,
        skip={"test_other_than_floating_point_is_refused": "the input is whatever the wrapped module takes, ids too"},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(LayerContract):
    pass


class TestParametersAreLeftAlone:
    @pytest.mark.parametrize("name", MODULES)
    def test_no_forward_or_backward_changes_a_parameter(self, name):
        layer = drop_connect(name, 0.5)
        before = {key: (value, value.clone()) for key, value in layer.named_parameters()}
        for _ in range(3):
            y = layer(torch.randn(EXAMPLES[name]))
            (y if isinstance(y, torch.Tensor) else y[0]).sum().backward()
        for key, value in layer.named_parameters():
            assert value is before[key][0]
            assert torch.equal(value, before[key][1])

    def test_an_error_inside_the_module_leaves_them_too(self):
        layer = drop_connect("Linear", 0.5)
        weight = layer.module.weight
        with pytest.raises(RuntimeError):
            layer(torch.randn(2, 7))
        assert layer.module.weight is weight

    def test_the_state_bears_the_names_of_the_module(self):
        layer = drop_connect("GRU", 0.5)
        assert set(layer.state_dict()) == {f"module.{key}" for key in MODULES["GRU"].state_dict()}

    def test_a_tied_weight_is_dropped_only_where_it_is_named(self, seed):
        model = nn.Module()
        model.encoder, model.decoder = nn.Embedding(7, 5), nn.Linear(5, 7, bias=False)
        model.decoder.weight = model.encoder.weight
        model.forward = lambda ids: (model.encoder(ids), model.decoder(model.encoder(ids)))
        layer = layers.WeightDrop(model, ["decoder.weight"], 0.5, generator=seeded(seed))
        vectors, scores = layer(torch.arange(7))
        weight = layer.dropped()["decoder.weight"]
        assert torch.equal(vectors, model.encoder.weight)
        assert not torch.equal(scores, vectors @ weight.T)  # another draw
        scores.sum().backward()
        assert model.encoder.weight.grad.abs().sum() > 0
        assert model.decoder.weight is model.encoder.weight

    def test_a_parameter_named_twice_has_one_draw(self):
        model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
        model[1].weight = model[0].weight
        drawn = layers.WeightDrop(model, ["0.weight", "1.weight"]).dropped()
        assert drawn["0.weight"] is drawn["1.weight"]

    @pytest.mark.parametrize("normalisation", [parametrizations.weight_norm, parametrizations.spectral_norm])
    def test_what_a_parametrization_computes_is_dropped(self, normalisation, seed):
        layer = layers.DropConnect(normed(normalisation), 0.5)
        x = torch.eye(5)
        assert torch.equal(layer.eval()(x), layer.module(x))
        layer.train()
        for _ in range(500):
            layer.module.weight  # noqa: B018 - an access is one power iteration of spectral_norm, and moves the weight
        y = layer(x) - layer.module.bias
        y.pow(2).sum().backward()
        ratio = (y.T / layer.module.weight).detach()
        assert ((ratio.abs() < 1e-5) | ((ratio - 2).abs() < 1e-2)).all()
        assert (y == 0).any()
        assert (y != 0).any()
        assert all(p.grad is not None for p in layer.module.parametrizations.parameters())
        assert not torch.equal(layer.module.weight, y.T)

    def test_a_normalised_recurrent_weight_is_dropped(self):
        layer = layers.DropConnect(parametrizations.weight_norm(copy.deepcopy(MODULES["GRU"]), "weight_hh_l0"), 1.0)
        y, _ = layer(torch.randn(2, 3, 5))
        zeroed = copy.deepcopy(MODULES["GRU"])
        zeroed.weight_hh_l0.data.zero_()
        assert not torch.equal(layer.eval()(torch.ones(2, 3, 5))[0], zeroed(torch.ones(2, 3, 5))[0])
        assert torch.equal(layer.train()(torch.ones(2, 3, 5))[0], zeroed(torch.ones(2, 3, 5))[0])
        assert y.isfinite().all()

    # the hook is deprecated by torch, and still met
    @pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
    @pytest.mark.filterwarnings("ignore:.*weight_norm:UserWarning")
    def test_a_weight_made_by_a_hook_is_refused(self):
        with pytest.raises(ValueError, match=r"use torch\.nn\.utils\.parametrizations"):
            layers.DropConnect(nn.utils.weight_norm(nn.Linear(3, 2)))


class TestRecurrent:
    def test_one_mask_serves_all_time_steps(self, seed):
        layer = drop_connect("GRU", 0.5, generator=seeded(seed))
        x = torch.randn(2, 6, 5)
        y, _ = layer(x)
        by_hand = copy.deepcopy(MODULES["GRU"])
        mask = functional.dropout(torch.ones(12, 4), 0.5, training=True, generator=seeded(seed))
        by_hand.weight_hh_l0.data *= mask
        torch.testing.assert_close(y, by_hand(x)[0], rtol=1e-6, atol=1e-6)

    def test_hidden_weights_alone_are_dropped(self):
        names = drop_connect("LSTM", 0.5).names
        assert names == ["weight_hh_l0", "weight_hh_l0_reverse", "weight_hh_l1", "weight_hh_l1_reverse"]

    @pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights:UserWarning")  # as for nn.GRU itself
    def test_an_exported_eval_model_contains_no_dropout(self):
        exported = torch.export.export(drop_connect("GRU", 0.5).eval(), (torch.randn(2, 3, 5),))
        assert not [node for node in exported.graph.nodes if "rand" in str(node.target)]

    def test_packed_sequences_are_taken(self):
        packed = nn.utils.rnn.pack_sequence([torch.randn(4, 5), torch.randn(2, 5)])
        y, _ = drop_connect("GRU", 0.5)(packed)
        assert y.data.shape == (6, 4)

    def test_the_module_alone_is_as_before(self):
        layer = drop_connect("LSTM", 0.9)
        x = torch.randn(3, 2, 5)
        layer(x)
        assert torch.equal(layer.module(x)[0], MODULES["LSTM"](x)[0])
        layer.module.flatten_parameters()
        assert torch.equal(layer.module(x)[0], MODULES["LSTM"](x)[0])


class TestArguments:
    @pytest.mark.parametrize(
        "layer", [drop_connect("Linear", 0.5), layers.EmbeddingDropout(nn.Embedding(4, 2))], ids=str
    )
    def test_seeds_per_sample_are_refused_even_where_the_shapes_would_fit(self, layer):
        x = torch.ones(4, 5) if isinstance(layer, layers.DropConnect) else torch.arange(4)
        with (
            masks.per_sample(torch.arange(4)),
            pytest.raises(ValueError, match=r"cannot be used inside masks\.per_sample"),
        ):
            layer(x)

    @pytest.mark.parametrize("names", ["weight", [], [0], None])
    def test_names_are_a_list_of_strings(self, names):
        with pytest.raises(TypeError, match="`names` must be a list of names"):
            layers.WeightDrop(nn.Linear(2, 2), names)

    @pytest.mark.parametrize("name", ["weigth", "0.weight", ""])
    def test_a_name_of_no_parameter_is_refused_with_those_there_are(self, name):
        with pytest.raises(ValueError, match=r"got '.*'\. It has: weight, bias\."):
            layers.WeightDrop(nn.Linear(2, 2), [name])

    def test_a_module_without_known_connections_is_refused(self):
        with pytest.raises(TypeError, match="got Bilinear: name the weights"):
            layers.DropConnect(nn.Bilinear(2, 2, 2))

    def test_an_unknown_inference_is_refused(self):
        with pytest.raises(ValueError, match='`inference` must be "weights" or "moments"'):
            drop_connect("Linear", 0.5, inference="mean")

    def test_repr_shows_what_was_chosen(self):
        assert "DropConnect(\n  p=0.5, per=(0,)\n" in repr(drop_connect("Linear", 0.5, per=(0,)))
        assert "p=0.2, inference='moments'" in repr(drop_connect("Linear", 0.2, inference="moments"))


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # inductor's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_inductor_compiles_the_group_without_touching_weights():
    torch._dynamo.reset()
    layer = drop_connect("Linear", 0.5)
    before = layer.module.weight.clone()
    compiled = torch.compile(layer, backend="inductor", fullgraph=True)
    y = compiled(torch.eye(5)) - layer.module.bias
    ratio = (y.T / layer.module.weight).detach()
    assert ((ratio.abs() < 1e-5) | ((ratio - 2).abs() < 1e-4)).all()
    assert not torch.equal(compiled(torch.eye(5)), compiled(torch.eye(5)))
    assert torch.equal(layer.module.weight, before)
