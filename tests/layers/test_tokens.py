"""The layers that drop tokens and heads: the contract of every layer, and compiled code."""

import functools
import shutil

import pytest
import torch
from contracts import Case, LayerContract
from mask_contracts import MaskCase, MaskContract

from dropscope import layers

FIXED = {"test_compiles_into_one_graph_that_survives_three_changes_of_p": "p decides the length of the output"}
CASES = [
    Case("TokenDropout", layers.TokenDropout, lambda: (torch.randn(16, 20, 4),)),
    Case("TokenDropout-all", functools.partial(layers.TokenDropout, keep_first=0), lambda: (torch.randn(16, 20, 4),)),
    Case(
        "TokenDropout-indices",
        functools.partial(layers.TokenDropout, return_indices=True),
        lambda: (torch.randn(16, 20, 4),),
    ),
    Case(
        "TokenDropout-fixed",
        functools.partial(layers.TokenDropout, count="fixed"),
        lambda: (torch.randn(16, 20, 4),),
        skip=FIXED,
    ),
]
HEADS = [
    MaskCase("HeadDropout", layers.HeadDropout, shape=(16, 8, 5, 4), per=(0, 1)),
    MaskCase("HeadDropout-axis", functools.partial(layers.HeadDropout, axis=-2), shape=(16, 5, 8, 4), per=(0, 2)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestTokenContract(LayerContract):
    pass


@pytest.mark.parametrize("case", HEADS, ids=str)
class TestHeadContract(MaskContract):
    pass


class TestTokenDropout:
    @pytest.mark.parametrize("options", [{"keep_first": -1}, {"count": "some"}])
    def test_bad_options_are_refused_in_the_constructor(self, options):
        (name,) = options
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            layers.TokenDropout(0.5, **options)

    def test_the_representation_shows_what_differs_from_the_defaults(self):
        layer = layers.TokenDropout(0.5, keep_first=2, count="fixed", return_indices=True)
        assert repr(layer) == "TokenDropout(p=0.5, keep_first=2, count='fixed', return_indices=True)"

    def test_a_fixed_count_compiles_to_one_graph(self):
        torch._dynamo.reset()
        layer = layers.TokenDropout(0.5, count="fixed", return_indices=True)
        y, kept = torch.compile(layer, backend="aot_eager", fullgraph=True)(torch.randn(3, 9, 4))
        assert y.shape == (3, 5, 4)
        assert (kept.diff(dim=1) > 0).all()

    @pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # inductor's own
    @pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
    @pytest.mark.parametrize("count", ["bernoulli", "fixed"])
    def test_inductor_keeps_the_tokens_it_names(self, count):
        torch._dynamo.reset()
        layer = layers.TokenDropout(0.5, count=count, return_indices=True)
        x = torch.randn(8, 9, 4)
        y, kept = torch.compile(layer, backend="inductor", fullgraph=True)(x)
        if count == "fixed":
            assert torch.equal(y, x.gather(1, kept[..., None].expand(8, 5, 4)))
        else:
            assert torch.equal((y != 0).all(2), kept)


class TestHeadDropout:
    @pytest.mark.parametrize("axis", [0, 1.0, True])
    def test_a_bad_axis_is_refused_in_the_constructor(self, axis):
        with pytest.raises(ValueError, match="`axis` must be an integer other than 0"):
            layers.HeadDropout(0.5, axis=axis)
