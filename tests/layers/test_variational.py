"""Variational layers: the contract where it applies, the true divergence, pruning, and the variance of gradients."""

import copy
import math

import numpy as np
import pytest
import torch
from contracts import Case, LayerContract, seeded
from scipy.integrate import quad
from scipy.special import digamma
from scipy.stats import norm, poisson
from torch import nn
from torch.nn import functional as F

from dropscope import functional, layers

NO_P = "no p: every weight learns its own rate"
SKIP = dict.fromkeys(
    (
        "test_p_zero_is_the_plain_output",
        "test_compiles_into_one_graph_that_survives_three_changes_of_p",
        "test_repr_shows_p",
        "test_a_bad_p_is_refused_by_name",
    ),
    NO_P,
)
LINEAR = layers.VariationalLinear(5, 3)
CONV = layers.VariationalConv2d(4, 2, 3, stride=2, padding=1, groups=2, padding_mode="circular", bias=False)


def make(layer, p, generator=None):
    """A copy of the layer whose noise is as strong as dropout at rate p, within [0.01, 0.99]."""
    layer = copy.deepcopy(layer)
    layer.p, layer.generator = p, generator
    alpha = min(max(p / (1 - p) if p < 1 else 99.0, 0.01), 99.0)
    layer.log_variance.data = torch.log(alpha * (layer.weight.detach() ** 2 + 1e-8))
    return layer


CASES = [
    Case("VariationalLinear", lambda p, **o: make(LINEAR, p, **o), lambda: (torch.randn(4, 5),), skip=SKIP,
         plain=lambda layer, x: F.linear(x, layer.weight, layer.bias), tolerance=1e-6),
    Case("VariationalConv2d", lambda p, **o: make(CONV, p, **o), lambda: (torch.randn(2, 4, 5, 5),), skip=SKIP,
         plain=lambda layer, x: layer._conv_forward(x, layer.weight, layer.bias), tolerance=1e-6),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(LayerContract):
    pass


def true_kl(log_alpha):
    """The divergence exactly: half the mean logarithm of a non-central chi-square, a mixture over Poisson counts."""
    rate = math.exp(-log_alpha) / 2
    counts = np.arange(int(rate + 40 * math.sqrt(rate)) + 60)
    return (2 * math.log(2) + np.euler_gamma + poisson.pmf(counts, rate) @ digamma(counts + 0.5)) / 2


class TestDivergence:
    def test_it_is_the_true_one_within_the_stated_error(self):
        grid = np.linspace(-8, 8, 65)
        found = functional.variational_kl(torch.tensor(grid)).numpy()
        assert np.abs(found - [true_kl(a) for a in grid]).max() < 0.01

    def test_the_true_one_is_the_integral_it_stands_for(self):
        """E log|1 + √α η| - ½ log α + ½ (γ + log 2), at α = 1, whose integrand is infinite at η = -1."""
        integral, _ = quad(lambda eta: norm.pdf(eta) * math.log(abs(1 + eta)), -12, 12, points=[-1])
        assert true_kl(0.0) == pytest.approx(integral + (np.euler_gamma + math.log(2)) / 2, abs=1e-7)

    def test_it_falls_to_zero_as_the_noise_grows(self):
        found = functional.variational_kl(torch.linspace(-8, 8, 100))
        assert (found.diff() < 0).all()
        assert 0 < found[-1] < 1e-3

    def test_it_is_flat_beyond_the_clip(self):
        log_alpha = torch.tensor([-9.0, 9.0], requires_grad=True)
        found = functional.variational_kl(log_alpha)
        found.sum().backward()
        assert torch.equal(found, functional.variational_kl(torch.tensor([-8.0, 8.0])))
        assert torch.equal(log_alpha.grad, torch.zeros(2))

    def test_that_of_a_layer_is_the_sum_over_its_weights(self):
        layer = make(LINEAR, 0.3)
        assert layer.kl().item() == pytest.approx(functional.variational_kl(layer.log_alpha).sum().item())


class TestNoise:
    @pytest.mark.parametrize("layer", [LINEAR, CONV], ids=["Linear", "Conv2d"])
    def test_outputs_have_the_mean_and_variance_of_sampled_weights(self, layer, generator):
        layer = make(layer, 0.5, generator).double()
        x = torch.randn(1, *([5] if layer.weight.ndim == 2 else [4, 5, 5]), dtype=torch.float64)
        draws = torch.cat([layer(x) for _ in range(3000)]).detach()
        mean = layer._linear(x, layer.weight, layer.bias).detach()
        variance = layer._linear(x**2, layer.log_variance.exp(), None).detach()
        z = (draws - mean) / variance.sqrt()
        assert (z.mean(0).abs() < 6 / math.sqrt(3000)).all()
        assert ((z**2).mean(0) - 1).abs().max() < 6 * math.sqrt(2 / 3000)

    @pytest.mark.parametrize("autocast", [False, True])
    def test_half_precision_neither_overflows_nor_adds_a_floor_of_noise(self, autocast, generator):
        """Inputs of 300 have squares beyond float16; the noise of a weight must then be the weight's, 1e-5 of it."""
        dtype = torch.bfloat16 if autocast else torch.float16
        layer = make(LINEAR, 0.5, generator).to(torch.float32 if autocast else dtype)
        nn.init.constant_(layer.log_variance, -30.0)
        x = torch.full((200, 5), 300.0, dtype=layer.weight.dtype)
        with torch.autocast("cpu", dtype=dtype, enabled=autocast):
            y, mean = layer(x), F.linear(x, layer.weight, layer.bias)
        assert y.dtype == mean.dtype == dtype
        assert torch.equal(layer(torch.zeros(4, 5, dtype=x.dtype)), layer.bias.expand(4, 3))
        assert ((y - mean).abs() <= mean.abs() * torch.finfo(dtype).eps + 0.01).all()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_the_rate_of_a_zero_weight_is_finite_in_half_types(self, dtype):
        layer = copy.deepcopy(LINEAR).to(dtype)
        layer.weight.data.zero_()
        assert layer.log_alpha.isfinite().all()
        assert layer.kl().isfinite()

    def test_gradients_vary_less_than_with_one_sample_of_the_weights(self, generator):
        """Kingma et al.: one weight sample per batch ties the noise of its rows together."""
        layer = make(layers.VariationalLinear(10, 1, bias=False), 0.5, generator)
        x = torch.randn(64, 10, generator=generator)

        def spread(draw):
            found = []
            for _ in range(500):
                found.append(torch.autograd.grad(draw().square().mean(), layer.log_variance)[0])
            found = torch.stack(found)
            return (found - found.mean(0)).square().sum((1, 2))

        def one_sample():
            noise = torch.randn(layer.weight.shape, generator=generator)
            return F.linear(x, layer.weight + (layer.log_variance / 2).exp() * noise)

        local, shared = spread(lambda: layer(x)), spread(one_sample)
        error = math.sqrt((local.var() + shared.var()).item() / 500)
        assert (shared.mean() - local.mean()).item() > 5 * error


class TestPruning:
    def test_eval_leaves_out_the_weights_that_are_noise(self):
        layer = copy.deepcopy(LINEAR).eval()
        layer.weight.data[:, 0] = 1e-3  # log α = -10 - log(1e-6 + 1e-8) = 3.8
        layer.weight.data[:, 1:] = 1.0
        x = torch.randn(4, 5)
        assert layer.sparsity() == 0.2
        assert torch.equal(layer(x), F.linear(x, layer.weight * torch.tensor([0.0, 1, 1, 1, 1]), layer.bias))
        layer.threshold = 4.0
        assert layer.sparsity() == 0.0
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))

    def test_training_makes_noise_of_inputs_that_do_not_matter(self):
        """y depends on one input of ten: relative to their size, the nine others get far more noise."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layer = layers.VariationalLinear(10, 1)
            x = torch.randn(200, 10)
            y = 2 * x[:, :1] + 0.5 * torch.randn(200, 1)
            optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
            for _ in range(700):
                optimizer.zero_grad()
                loss = F.gaussian_nll_loss(layer(x), y, torch.full_like(y, 0.25)) + layers.kl(layer) / 200
                loss.backward()
                optimizer.step()
        needed, *others = layer.log_alpha.detach()[0].tolist()
        assert needed < -8
        assert min(others) > -4
        assert layer.sparsity() > 0.2

    def test_a_zero_weight_has_a_finite_rate_and_gradient(self):
        layer = copy.deepcopy(LINEAR)
        layer.weight.data.zero_()
        layer.kl().backward()
        assert layer.log_alpha.isfinite().all()
        assert layer.weight.grad.isfinite().all()


class TestArguments:
    def test_a_generator_is_followed_in_compiled_code(self, seed):
        torch._dynamo.reset()
        layer = make(LINEAR, 0.5, seeded(seed))
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
        first, second = compiled(torch.ones(4, 5)), compiled(torch.ones(4, 5))
        layer.generator = seeded(seed)
        assert torch.equal(compiled(torch.ones(4, 5)), first)
        assert not torch.equal(first, second)

    def test_they_are_those_of_the_torch_layers(self):
        layer = layers.VariationalConv2d(3, 2, (1, 2), stride=2, bias=False, dtype=torch.float64)
        assert layer.weight.dtype == layer.log_variance.dtype == torch.float64
        assert layer.bias is None
        assert isinstance(layer, nn.Conv2d)

    def test_the_threshold_is_a_number(self):
        with pytest.raises(TypeError, match="VariationalLinear: `threshold` must be a number, got 'a'"):
            layers.VariationalLinear(3, 2, threshold="a")

    def test_repr_shows_what_differs_from_the_defaults(self, generator):
        assert repr(layers.VariationalLinear(3, 2)) == "VariationalLinear(in_features=3, out_features=2, bias=True)"
        shown = repr(layers.VariationalConv2d(3, 2, 1, threshold=4.0, generator=generator))
        assert shown.endswith("stride=(1, 1), threshold=4.0, generator=...)")

    def test_the_generator_alone_decides(self, seed):
        x = torch.randn(4, 5)
        before = torch.get_rng_state()
        first, second = (make(LINEAR, 0.5, seeded(seed))(x) for _ in range(2))
        assert torch.equal(first, second)
        assert torch.equal(torch.get_rng_state(), before)
