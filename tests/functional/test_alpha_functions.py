"""The alpha functions: their arguments."""

import pytest
import torch

from dropscope import functional


@pytest.mark.parametrize("function", [functional.alpha_dropout, functional.feature_alpha_dropout])
class TestArguments:
    def test_training_has_no_default(self, function):
        with pytest.raises(TypeError, match="training"):
            function(torch.ones(3, 3), 0.5)

    def test_the_tensor_itself_comes_back_when_not_training_or_at_p_zero(self, function):
        x = torch.ones(3, 3)
        assert function(x, 0.5, training=False) is x
        assert function(x, 0.0, training=True) is x

    def test_p_may_be_a_tensor(self, function, seed):
        x = torch.randn(9, 9)
        number, tensor = (
            function(x, p, training=True, generator=torch.Generator().manual_seed(seed))
            for p in (0.25, torch.tensor(0.25))
        )
        assert torch.equal(number, tensor)

    def test_torchs_sampler_knows_the_standard_moments_alone(self, function):
        with pytest.raises(ValueError, match=r"sampler='torch' keeps mean 0 and variance 1 alone, got 0\.5 and 1\.0"):
            function(torch.ones(3, 3), 0.5, training=True, sampler="torch", mean=0.5)

    def test_torchs_sampler_has_no_generator(self, function, generator):
        with pytest.raises(ValueError, match="sampler='torch' has no generator="):
            function(torch.ones(3, 3), 0.5, training=True, sampler="torch", generator=generator)

    @pytest.mark.parametrize("sampler", ["fast", "torch"])
    @pytest.mark.parametrize("p", [1.5, torch.tensor(1.5)])
    def test_a_p_outside_the_unit_interval_is_refused(self, function, sampler, p):
        with pytest.raises(ValueError, match=r"`p` must be in \[0, 1\], got 1.5"):
            function(torch.ones(3, 3), p, training=True, sampler=sampler)
