"""`functional.dropout`: its arguments, and torch's own dropout as the reference."""

import math

import pytest
import torch
from torch.nn import functional as F

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


class TestTorchsSampler:
    """`sampler="torch"`: bitwise torch's own dropout."""

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    @pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
    @pytest.mark.parametrize(
        ("per", "shape", "theirs"),
        [
            (None, (7,), F.dropout),
            (None, (64, 400), F.dropout),
            ((0, 1), (6, 5, 4), F.dropout1d),
            ((0, 1), (6, 5, 4, 3), F.dropout2d),
            ((0, 1), (6, 5, 4, 3, 2), F.dropout3d),
        ],
    )
    def test_values_and_gradients_are_torchs(self, per, shape, theirs, p, dtype, seed):
        x, upstream = (torch.randn(shape).to(dtype) for _ in range(2))
        results = []
        for run in (
            lambda x: functional.dropout(x, p, training=True, per=per, sampler="torch"),
            lambda x: theirs(x, p, training=True),
        ):
            torch.manual_seed(seed)
            leaf = x.clone().requires_grad_()
            y = run(leaf)
            y.backward(upstream)
            results.append((y, leaf.grad, torch.rand(3)))
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))

    def test_a_dropped_inf_is_nan_as_in_torch(self):
        x = torch.full((1000,), math.inf)
        y = functional.dropout(x, 0.5, training=True, sampler="torch")
        assert y.isnan().any()
        assert torch.equal(functional.dropout(x, 1.0, training=True, per=(0,), sampler="torch").isnan(), x > 0)

    def test_it_is_the_identity_when_not_training(self):
        x = torch.ones(3)
        assert functional.dropout(x, 0.5, training=False, sampler="torch") is x
        assert functional.dropout(x, 0.5, training=False, per=(0,), sampler="torch") is x

    @pytest.mark.parametrize("options", [{"generator": torch.Generator()}, {"save": "seed"}, {"inverted": False}])
    def test_what_torch_has_not_is_refused(self, options):
        with pytest.raises(ValueError, match="torch's dropout has none"):
            functional.dropout(torch.ones(3), 0.5, training=True, sampler="torch", **options)

    @pytest.mark.parametrize("training", [True, False])
    def test_a_tensor_p_outside_the_unit_interval_is_refused(self, training):
        with pytest.raises(ValueError, match=r"`p` must be in \[0, 1\], got 1\.5"):
            functional.dropout(torch.ones(3), torch.tensor(1.5), training=training, sampler="torch")


class TestClassical:
    """`inverted=False`: no scale in training, `x * q` otherwise."""

    def test_the_mask_is_that_of_the_inverted_form(self, seed):
        x = torch.randn(5000)
        plain, scaled = (
            functional.dropout(x, 0.3, training=True, inverted=i, generator=torch.Generator().manual_seed(seed))
            for i in (False, True)
        )
        assert torch.equal(plain, torch.where(scaled != 0, x, 0))

    @pytest.mark.parametrize("p", [0.3, torch.tensor(0.3, dtype=torch.float64)])
    def test_weights_are_scaled_when_not_training(self, p):
        x = torch.randn(50)
        assert torch.equal(functional.dropout(x, p, training=False, inverted=False), x * 0.7)

    def test_compiled_code_scales_by_any_p(self):
        torch._dynamo.reset()
        run = torch.compile(
            lambda x, p: functional.dropout(x, p, training=False, inverted=False), backend="eager", fullgraph=True
        )
        x = torch.tensor([1.0, -2.0, math.inf])
        for p in (0.0, 0.3, 1.0):
            expected = functional.dropout(x, p, training=False, inverted=False)
            torch.testing.assert_close(run(x, torch.tensor(p, dtype=torch.float64)), expected)

    @pytest.mark.parametrize("training", [True, False])
    def test_p_zero_is_the_identity_and_p_one_gives_zeros(self, training):
        x = torch.full((3,), math.inf)
        assert functional.dropout(x, 0.0, training=training, inverted=False) is x
        assert torch.equal(functional.dropout(x, 1.0, training=training, inverted=False), torch.zeros(3))


@pytest.mark.parametrize("options", [{"save": "bits"}, {"save": None}, {"sampler": "fused"}])
@pytest.mark.parametrize("training", [True, False])
def test_an_unknown_option_is_refused(options, training):
    with pytest.raises(ValueError, match=r"must be '(mask|fast)' or '(seed|torch)', got"):
        functional.dropout(torch.ones(3), 0.5, training=training, **options)
