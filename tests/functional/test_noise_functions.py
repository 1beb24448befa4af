"""The noise functions: their arguments, and the range of the factors."""

import math

import pytest
import torch

from dropscope import functional


@pytest.mark.parametrize("function", [functional.gaussian_dropout, functional.uniform_dropout])
class TestArguments:
    def test_training_has_no_default(self, function):
        with pytest.raises(TypeError, match="training"):
            function(torch.ones(3), 0.5)

    def test_the_tensor_itself_comes_back_when_not_training_or_at_p_zero(self, function):
        x = torch.ones(3)
        assert function(x, 0.5, training=False) is x
        assert function(x, 0.0, training=True) is x

    @pytest.mark.parametrize("p", [1, 1.0, torch.tensor(1.0), -0.1, math.nan])
    def test_p_lies_below_one(self, function, p):
        with pytest.raises(ValueError, match=r"`p` must be in \[0, 1\), got"):
            function(torch.ones(3), p, training=False)

    def test_p_may_be_a_tensor(self, function, seed):
        number, tensor = (
            function(torch.ones(99), p, training=True, generator=torch.Generator().manual_seed(seed))
            for p in (0.25, torch.tensor(0.25))
        )
        assert torch.equal(number, tensor)

    @pytest.mark.parametrize("training", [True, False])
    def test_an_axis_the_input_lacks_is_refused(self, function, training):
        with pytest.raises(ValueError, match="must name axes of a tensor with 1 axes"):
            function(torch.ones(3), 0.5, training=training, per=(1,))


@pytest.mark.parametrize("p", [0.1, 0.25, 0.6])
def test_uniform_factors_fill_their_interval_and_no_more(p, generator):
    y = functional.uniform_dropout(torch.ones(10_000, dtype=torch.float64), p, training=True, generator=generator)
    half = math.sqrt(3 * p / (1 - p))
    assert (y - 1).abs().max() <= half
    assert (y - 1).abs().max() > 0.99 * half  # missed with probability 0.99 ** 10000
