"""The elementwise layers: the contract of every layer, and what is their own."""

import functools

import pytest
import torch
from contracts import MaskCase, MaskContract

from dropscope import layers

CASES = [
    MaskCase("Dropout", layers.Dropout),
    MaskCase("Dropout-large", layers.Dropout, shape=(64, 40, 24)),
    *(
        MaskCase(f"Dropout-per-{per}", functools.partial(layers.Dropout, per=per), per=per, shape=(32, 8, 5, 5))
        for per in ((0,), (0, 1), (0, -1))
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(MaskContract):
    pass


class TestDropout:
    def test_half_precision_leaves_p_alone(self):
        layer = layers.Dropout(0.1).half()
        assert layer.p == 0.1
        assert layer._p_tensor.dtype == torch.float64

    @pytest.mark.parametrize("per", [0, (0.5,), (1, 1)])
    def test_a_bad_per_is_refused_in_the_constructor(self, per):
        with pytest.raises((TypeError, ValueError), match="`per` must"):
            layers.Dropout(0.5, per=per)

    def test_an_axis_the_input_lacks_is_refused(self):
        with pytest.raises(ValueError, match="must name axes of a tensor with 2 axes"):
            layers.Dropout(0.5, per=(2,))(torch.ones(3, 3))

    def test_a_generator_under_fullgraph_is_refused_rather_than_ignored(self, generator):
        torch._dynamo.reset()
        compiled = torch.compile(layers.Dropout(0.5, generator=generator), backend="eager", fullgraph=True)
        with pytest.raises(torch._dynamo.exc.Unsupported):
            compiled(torch.ones(8))

    @pytest.mark.parametrize("randomness", ["same", "different"])
    def test_a_generator_is_used_under_vmap(self, randomness, seed):
        def run():
            layer = layers.Dropout(0.5, generator=torch.Generator().manual_seed(seed))
            return torch.vmap(layer, randomness=randomness)(torch.ones(8, 50))

        assert torch.equal(run(), run())
