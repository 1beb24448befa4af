"""DropConnect: its moments against every mask enumerated, and dropout of units as its tied cases."""

import itertools
import math

import pytest
import torch
from contracts import seeded
from torch import nn

from dropscope import functional, layers


def linear(p, **options):
    return layers.DropConnect(nn.Linear(5, 4), p, **options)


def outcomes(layer, x, names, p):
    """Every output of `layer.module` over all masks of its named weights, and the probability of each mask."""
    weights = {name: layer.module.get_parameter(name).detach() for name in names}
    count = sum(weight.numel() for weight in weights.values())
    for bits in itertools.product([0.0, 1.0], repeat=count):
        flat = torch.tensor(bits, dtype=torch.float64)
        bare = dict(zip(weights, flat.split([w.numel() for w in weights.values()]), strict=True))
        tensors = {name: weights[name] * bare[name].view_as(weights[name]) / (1 - p) for name in names}
        kept = int(flat.sum())
        yield torch.func.functional_call(layer.module, tensors, (x,)), (1 - p) ** kept * p ** (count - kept)


class TestMoments:
    @pytest.mark.parametrize(
        ("module", "shape"),
        [
            (nn.Linear(4, 3), (2, 4)),
            (nn.Linear(4, 3, bias=False), (4,)),
            (nn.Conv1d(2, 2, 3, padding=1), (2, 2, 5)),
            (nn.Conv2d(2, 2, (2, 1), groups=2, padding_mode="circular", padding=1), (1, 2, 3, 4)),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("p", [0.0, 0.3, 0.5])
    def test_they_are_those_of_every_mask_enumerated(self, module, shape, p):
        layer, x = layers.DropConnect(module, p).double(), torch.randn(shape, dtype=torch.float64)
        values, chances = zip(*outcomes(layer, x, ["weight"], p), strict=True)
        values, chances = torch.stack(values), torch.tensor(chances, dtype=torch.float64)
        expected = torch.tensordot(chances, values, dims=1)
        spread = torch.tensordot(chances, (values - expected) ** 2, dims=1)

        mean, variance = layer.moments(x)
        torch.testing.assert_close(mean, expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(variance, spread, rtol=0, atol=1e-12)

    def test_eval_draws_from_them_when_told_to(self, generator):
        x = torch.randn(1, 5, dtype=torch.float64)
        layer = linear(0.4, inference="moments", generator=generator).double().eval()
        mean, variance = layer.moments(x)
        draws = torch.cat([layer(x) for _ in range(4000)])
        z = (draws - mean) / variance.sqrt()
        assert (z.mean(0).abs() < 6 / math.sqrt(4000)).all()
        assert ((z**2).mean(0) - 1).abs().max() < 6 * math.sqrt(2 / 4000)

    def test_the_mean_of_an_activation_is_nearer_to_that_over_masks_than_one_pass_is(self):
        """The normal mean of relu, in closed form, against all 2^10 masks of one unit, for 20 fixed units."""
        p, errors, fixed = 0.5, [], seeded(0)
        for _ in range(20):
            layer = layers.DropConnect(nn.Linear(10, 1, bias=False), p).double()
            layer.module.weight.data.normal_(generator=fixed)
            x = torch.randn(1, 10, dtype=torch.float64, generator=fixed)
            truth = sum(y.relu().item() * chance for y, chance in outcomes(layer, x, ["weight"], p))
            mean, variance = (moment.item() for moment in layer.moments(x))
            z = mean / math.sqrt(variance)
            cdf = (1 + math.erf(z / math.sqrt(2))) / 2
            normal = mean * cdf + math.sqrt(variance / (2 * math.pi)) * math.exp(-(z**2) / 2)
            errors.append((abs(normal - truth), abs(max(mean, 0.0) - truth)))
        matched, one_pass = (sum(column) for column in zip(*errors, strict=True))
        assert matched < one_pass / 3

    def test_no_variance_has_a_finite_gradient(self):
        layer = linear(0.0, inference="moments").eval()
        x = torch.zeros(2, 5, requires_grad=True)
        layer(x).sum().backward()
        assert torch.equal(x.grad, layer.module.weight.sum(0).expand(2, 5))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_squares_beyond_half_precision_are_finite(self, dtype, generator):
        """Inputs of 300, whose squares float16 cannot hold, and weights of 1e-4, whose squares vanish in it."""
        layer = linear(0.5, inference="moments", generator=generator).to(dtype).eval()
        nn.init.constant_(layer.module.weight, 1e-4)
        x = torch.full((3, 5), 300.0, dtype=dtype)
        weight = layer.module.weight.detach().double()[0, 0].item()
        _, variance = layer.moments(x)
        assert variance.dtype == torch.float32
        torch.testing.assert_close(variance.double(), torch.full((3, 4), 5 * (300 * weight) ** 2).double())
        assert layer(x).dtype == dtype
        assert layer(x).isfinite().all()

    def test_autocast_does_not_round_the_variance(self):
        layer, x = linear(0.5), torch.randn(3, 5)
        _, expected = layer.moments(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mean, variance = layer.moments(x)
        assert mean.dtype == torch.bfloat16
        assert torch.equal(variance, expected)

    def test_they_are_those_of_floating_point_inputs(self):
        with pytest.raises(TypeError, match="`x` must be a real floating-point tensor"):
            functional.drop_connect_moments(torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3), 0.5)

    def test_p_one_has_no_moments(self):
        with pytest.raises(ValueError, match=r"`p` must be in \[0, 1\)"):
            linear(1.0).moments(torch.zeros(1, 5))

    @pytest.mark.parametrize(("module", "per"), [(nn.LSTM(5, 4), None), (nn.Linear(5, 4), (1,))])
    def test_they_are_refused_where_they_are_not_known(self, module, per):
        with pytest.raises(ValueError, match="moments of DropConnect must be"):
            layers.DropConnect(module, 0.5, per=per, inference="moments")


class TestTiedMasks:
    """Dropout of units as dropout of weights that share a draw."""

    def mask(self, units, seed):
        return functional.dropout(torch.ones(units), 0.5, training=True, generator=seeded(seed))

    def test_whole_columns_are_dropout_of_the_inputs_bitwise(self, seed):
        layer = linear(0.5, per=(1,), generator=seeded(seed))
        x = torch.randn(6, 5)
        assert torch.equal(layer(x), layer.module(x * self.mask(5, seed)))

    def test_whole_columns_of_a_convolution_are_dropout_of_its_channels_bitwise(self, seed):
        layer = layers.DropConnect(nn.Conv1d(3, 4, 2), 0.5, per=(1,), generator=seeded(seed))
        x = torch.randn(2, 3, 7)
        assert torch.equal(layer(x), layer.module(x * self.mask(3, seed)[:, None]))

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize(("activation", "fixed"), [(torch.relu, True), (torch.tanh, False), (torch.sigmoid, False)])
    def test_whole_rows_are_dropout_of_the_outputs_only_without_bias_and_with_zero_kept(
        self, activation, fixed, bias, seed
    ):
        """Bare masks of 0 and 1 where the activation does not scale; relu carries the factor 1 / q through."""
        module = nn.Linear(5, 40, bias=bias)
        layer = layers.DropConnect(module, 0.5, per=(0,), generator=seeded(seed))
        x, mask = torch.randn(3, 5), self.mask(40, seed)
        kept = mask != 0
        rows, outputs = activation(layer(x)), activation(module(x)) * mask
        dropped_alike = torch.equal(rows[:, ~kept], outputs[:, ~kept])
        assert dropped_alike == (not bias and activation(torch.zeros(())) == 0)
        assert torch.equal(rows, outputs) == (fixed and not bias)

    def test_with_its_bias_masked_too_relu_of_whole_rows_is_dropout_of_the_outputs(self, seed):
        module = nn.Linear(5, 40)
        mask, x = self.mask(40, seed), torch.randn(3, 5)
        weights = {"weight": module.weight * mask[:, None], "bias": module.bias * mask}
        rows = torch.func.functional_call(module, weights, (x,)).relu()
        assert torch.equal(rows, module(x).relu() * mask)
