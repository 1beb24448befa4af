"""The layers that drop paths: the contract of every layer, processes that train together, and compiled code."""

import shutil

import pytest
import torch
from contracts import Case, LayerContract
from mask_contracts import MaskCase, MaskContract
from torch import nn

from dropscope import layers, masks


class Smooth(nn.Module):
    """A small residual layer, the same each time it is made with the same number."""

    def __init__(self, number: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1, 5) + number)

    def forward(self, x):
        return x + torch.tanh(x + self.weight) / 8


def make_stochastic_depth(p, **options):
    return layers.StochasticDepth(Smooth(), p, **options)


def make_layer_drop(p, **options):
    return layers.LayerDrop([Smooth(number / 24) for number in range(24)], p, **options)


def all_layers(layer, x):
    for one in layer.layers:
        x = one(x)
    return x


MASKS = [
    MaskCase("DropPath", layers.DropPath, shape=(64, 3, 4, 5), per=(0,)),
    MaskCase("DropPath-large", layers.DropPath, shape=(1 << 14, 2), per=(0,)),
]
OTHERS = [
    Case(
        "StochasticDepth",
        make_stochastic_depth,
        lambda: (torch.randn(64, 5),),
        plain=lambda layer, x: x + layer.branch(x),
    ),
    Case("LayerDrop", make_layer_drop, lambda: (torch.randn(4, 5),), plain=all_layers, batch_axis=None),
]


@pytest.mark.parametrize("case", MASKS, ids=str)
class TestMaskContract(MaskContract):
    pass


@pytest.mark.parametrize("case", OTHERS, ids=str)
class TestLayerContract(LayerContract):
    pass


class TestDropPath:
    def test_the_whole_batch_can_share_one_draw(self):
        layer = layers.DropPath(0.5, per=())
        assert repr(layer) == "DropPath(p=0.5, per=())"
        assert all(len(layer(torch.ones(20, 3)).unique()) == 1 for _ in range(20))

    def test_one_draw_for_many_samples_is_refused_where_each_has_a_seed(self):
        with masks.per_sample(torch.tensor([3])), pytest.raises(ValueError, match=r"masks\.per_sample"):
            layers.DropPath(0.5, per=())(torch.ones(20, 3))

    @pytest.mark.parametrize("per", [0, None, (0.5,), (0, 0)])
    def test_a_bad_per_is_refused_in_the_constructor(self, per):
        with pytest.raises((TypeError, ValueError), match="`per` must"):
            layers.DropPath(0.5, per=per)


class TestStochasticDepth:
    def test_has_the_draws_of_drop_path(self, seed):
        x, branch = torch.randn(64, 5), Smooth()
        torch.manual_seed(seed)
        skipping = layers.StochasticDepth(branch, 0.3)(x)
        torch.manual_seed(seed)
        selecting = x + layers.DropPath(0.3)(branch(x))
        torch.testing.assert_close(skipping, selecting)

    def test_a_branch_that_drops_gives_each_sample_the_same_in_any_company(self, seed):
        """Alone, a sample's branch may not run at all; what is drawn after it must not depend on that."""
        branch = nn.Sequential(Smooth(), layers.Dropout(0.5), Smooth(), layers.Dropout(0.5))
        model = nn.Sequential(layers.StochasticDepth(branch, 0.5), layers.Dropout(0.5))
        x, seeds = torch.randn(32, 5), seed + torch.arange(32)
        with masks.per_sample(seeds):
            together = model(x)
        for i in range(32):
            with masks.per_sample(seeds[i : i + 1]):
                assert torch.equal(model(x[i : i + 1])[0], together[i])

    @pytest.mark.parametrize("shift", [0, 1])
    def test_draws_inside_and_after_the_branch_are_others(self, shift, seed):
        seen = []

        class Seeing(nn.Module):
            def forward(self, x):
                seen.append(masks.uniform(x.shape))
                return x

        with masks.per_sample(seed + torch.arange(8)):
            layers.StochasticDepth(Seeing(), 0.0)(torch.zeros(8, 5))
            for _ in range(shift):
                masks.uniform((8, 5))
            seen.append(masks.uniform((8, 5)))
        assert not (seen[0] == seen[1]).all(1).any()

    def test_a_branch_is_a_module(self):
        with pytest.raises(TypeError, match=r"StochasticDepth: `branch` must be an nn\.Module, got <built-in"):
            layers.StochasticDepth(torch.sin)

    def test_compiled_code_selects(self, seed):
        torch._dynamo.reset()
        x, layer = torch.randn(500, 5), make_stochastic_depth(0.5)
        y = torch.compile(layer, backend="aot_eager", fullgraph=True)(x)
        twice = x + 2 * layer.branch(x)
        skipped = (y == x).all(1)
        assert 0 < skipped.sum() < 500
        torch.testing.assert_close(y[~skipped], twice[~skipped])


class TestLayerDrop:
    def test_the_representation_shows_p_and_the_layers(self):
        shown = repr(layers.LayerDrop([nn.Tanh(), nn.ReLU()], 0.2))
        assert shown.split() == "LayerDrop( p=0.2 (layers): ModuleList( (0): Tanh() (1): ReLU() ) )".split()

    def test_seeds_per_sample_are_refused_even_where_there_are_as_many_layers(self):
        stack = layers.LayerDrop([Smooth() for _ in range(4)], 0.5)
        with masks.per_sample(torch.arange(4)), pytest.raises(ValueError, match=r"layer_drop .* masks\.per_sample"):
            stack(torch.randn(4, 5))

    def test_a_slice_is_a_shallower_network(self):
        stack, x = make_layer_drop(0.5), torch.randn(3, 5)
        pruned = layers.LayerDrop(stack.layers[::2], 0.5).eval()
        assert len(pruned.layers) == 12
        assert torch.equal(pruned(x), all_layers(pruned, x))


@pytest.mark.parametrize("make", [make_stochastic_depth, make_layer_drop])
class TestBoth:
    def test_parameters_that_are_skipped_get_zero_gradients(self, make):
        """Distributed training waits for every parameter's gradient, and hangs or complains where there is none."""
        layer = make(1.0)
        layer(torch.randn(4, 5)).sum().backward()
        assert all(v.grad is not None and not v.grad.any() for v in layer.parameters())

    @pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # inductor's own
    @pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
    def test_inductor_gives_the_plain_output_after_a_change_to_p_zero(self, make):
        torch._dynamo.reset()
        layer, x = make(1.0), torch.randn(8, 5)
        if isinstance(layer, layers.LayerDrop):
            layer.layers = layer.layers[:3]
        compiled = torch.compile(layer, backend="inductor", fullgraph=True)
        assert torch.equal(compiled(x), x)
        layer.p = 0.0
        torch.testing.assert_close(compiled(x), layer.eval()(x))
