"""The DropBlock layers: the contract of every layer, and compiled code."""

import functools
import shutil

import pytest
import torch
from contracts import Case, LayerContract

from dropscope import layers

CASES = [
    Case("DropBlock1d", functools.partial(layers.DropBlock1d, block_size=3), lambda: (torch.randn(4, 8, 20),)),
    Case("DropBlock2d", functools.partial(layers.DropBlock2d, block_size=3), lambda: (torch.randn(4, 8, 9, 8),)),
    Case("DropBlock2d-larger-than-the-map", layers.DropBlock2d, lambda: (torch.randn(8, 32, 4, 4),)),
    Case(
        "DropBlock2d-alone",
        functools.partial(layers.DropBlock2d, block_size=3),
        lambda: (torch.randn(8, 20, 20),),
        batch_axis=None,
    ),
    Case("DropBlock3d", functools.partial(layers.DropBlock3d, block_size=2), lambda: (torch.randn(4, 3, 4, 5, 4),)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(LayerContract):
    pass


class TestDropBlock:
    @pytest.mark.parametrize("block", [0, 2.5, (3, 3)])
    def test_a_bad_block_size_is_refused_in_the_constructor(self, block):
        with pytest.raises(ValueError, match="`block_size` must be a positive integer or 1 of them"):
            layers.DropBlock1d(0.1, block)

    def test_the_representation_shows_another_block_size(self):
        assert repr(layers.DropBlock3d(0.2, (1, 3, 3))) == "DropBlock3d(p=0.2, block_size=(1, 3, 3))"

    @pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # inductor's own
    @pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
    def test_inductor_takes_images_with_channels_last(self):
        torch._dynamo.reset()
        x = torch.ones(8, 64, 16, 16).to(memory_format=torch.channels_last).requires_grad_()
        y = torch.compile(layers.DropBlock2d(0.3, 3), backend="inductor", fullgraph=True)(x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        torch.testing.assert_close(gradient, y)
        assert y.stride() == x.stride()

    @pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # inductor's own
    @pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
    def test_inductor_drops_the_rate_asked_for_also_after_a_change_of_p(self, seed):
        """Means of independent maps, within 5 standard errors."""
        torch._dynamo.reset()
        torch.manual_seed(seed)
        layer, x = layers.DropBlock2d(), torch.ones(500, 4, 14, 14, requires_grad=True)
        compiled = torch.compile(layer, backend="inductor", fullgraph=True)
        for p in (0.1, 0.5, 0.9):
            layer.p = p
            y = compiled(x)
            (gradient,) = torch.autograd.grad(y.sum(), x)
            rates = (y == 0).flatten(2).double().mean(2)
            assert abs(rates.mean().item() - p) <= 5 * rates.std().item() / rates.numel() ** 0.5
            torch.testing.assert_close(gradient, y)
