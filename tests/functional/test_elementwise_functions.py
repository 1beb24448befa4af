"""`functional.dropout`: its arguments, and torch's own dropout as the reference."""

import math

import pytest
import torch

from dropscope import functional


class TestDropout:
    def test_training_has_no_default(self):
        with pytest.raises(TypeError, match="training"):
            functional.dropout(torch.ones(3), 0.5)

    def test_the_tensor_itself_comes_back_when_not_training(self):
        x = torch.ones(3)
        assert functional.dropout(x, 0.5, training=False) is x

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
    def test_other_than_floating_point_is_refused(self, dtype, training):
        with pytest.raises(TypeError, match="must be a real floating-point tensor"):
            functional.dropout(torch.ones(3, dtype=dtype), 0.5, training=training)

    @pytest.mark.parametrize("p", [-0.1, 1.5, math.nan, torch.tensor(1.5)])
    def test_a_p_outside_the_unit_interval_is_refused(self, p):
        with pytest.raises(ValueError, match=r"`p` must be in \[0, 1\], got"):
            functional.dropout(torch.ones(3), p, training=False)

    @pytest.mark.parametrize("p", [True, "0.5", None])
    def test_a_p_that_is_no_number_is_refused(self, p):
        with pytest.raises(TypeError, match="`p` must be a number"):
            functional.dropout(torch.ones(3), p, training=True)

    @pytest.mark.parametrize("p", [0.25, torch.tensor(0.25)])
    def test_p_may_be_a_number_or_a_tensor(self, p, generator):
        y = functional.dropout(torch.ones(5000), p, training=True, generator=generator)
        assert torch.equal(y.unique(), torch.tensor([0, 4 / 3]))

    @pytest.mark.parametrize("per", [None, (0,), (0, 1), (-1,)])
    def test_the_generator_alone_decides_the_mask(self, per, seed):
        x = torch.ones(60, 30, 40)

        def run(s):
            generator = torch.Generator().manual_seed(s)
            return functional.dropout(x, 0.5, training=True, per=per, generator=generator)

        before = torch.get_rng_state()
        assert torch.equal(run(seed), run(seed))
        assert not torch.equal(run(seed), run(seed + 1))
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 4, 3)])
    def test_per_sample_and_channel_drops_whole_channels_as_torch_does(self, shape, generator):
        x = torch.rand(shape) + 1
        y = functional.dropout(x, 0.5, training=True, per=(0, 1), generator=generator)
        ratio = (y / x).flatten(2)
        assert torch.equal(ratio, ratio[..., :1].expand_as(ratio))
        assert set(ratio.unique().tolist()) <= {0.0, 2.0}
