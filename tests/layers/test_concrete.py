"""Concrete dropout: the contract of every layer, its corrected mean, its divergence, and that its rate learns."""

import copy
import functools
import math
import shutil

import pytest
import torch
from contracts import Case, LayerContract, seeded
from torch import nn

from dropscope import functional, layers, masks
from dropscope.functional.learned import _mean_of_mask

MODULES = {"Linear": nn.Linear(4, 3), "Conv2d": nn.Conv2d(3, 2, 3, padding=1), "Conv1d": nn.Conv1d(3, 2, 2)}
EXAMPLES = {"Linear": (3, 4), "Conv2d": (2, 3, 3, 3), "Conv1d": (2, 3, 4)}


def concrete(name, p=0.1, **options):
    return layers.ConcreteDropout(copy.deepcopy(MODULES[name]), p, **options)


def case(name, label="", batch_axis=0, **options):
    make = functools.partial(concrete, name, **options)
    return Case(
        name + label,
        make,
        lambda: (torch.randn(EXAMPLES[name]),),
        plain=lambda layer, x: layer.module(x),
        tolerance=1e-5,  # because a rate of 0 is held as 1e-7 and its mask is smooth
        batch_axis=batch_axis,
    )


CASES = [
    case("Linear"),
    # At higher temperatures a mask of rate 1e-7 differs from 1 by more than the tolerance in one run of a hundred.
    case("Conv2d", "-per-channel", per=(0, 1), temperature=0.4),
    case("Conv1d", "-one-draw", batch_axis=None, per=(), temperature=0.3),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(LayerContract):
    pass


class TestMask:
    def test_one_draw_for_many_samples_is_refused_where_each_has_a_seed(self):
        with masks.per_sample(torch.tensor([3])), pytest.raises(ValueError, match=r"masks\.per_sample"):
            concrete("Linear", per=(1,))(torch.ones(20, 4))

    @pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan, "a"])
    def test_a_temperature_that_is_not_positive_is_refused(self, temperature):
        match = "`temperature` must be a positive number"
        with pytest.raises(ValueError, match=match):
            functional.concrete_dropout(torch.ones(2), torch.zeros(()), training=True, temperature=temperature)
        with pytest.raises(ValueError, match="ConcreteDropout: " + match):
            concrete("Linear", temperature=temperature)

    @pytest.mark.parametrize("temperature", [0.01, 0.1, 2 / 3, 1.0, 3.0])
    @pytest.mark.parametrize("p", [1e-3, 0.1, 0.5, 0.9])
    def test_its_mean_by_the_trapezoidal_rule_is_that_of_adaptive_quadrature(self, p, temperature):
        logit_q = torch.tensor(math.log((1 - p) / p), dtype=torch.float64)
        law = masks.Concrete(p, temperature)
        assert _mean_of_mask(logit_q, temperature).item() == pytest.approx(law.mean * (1 - p), rel=1e-9)

    def test_its_mean_in_single_precision_is_right_too(self):
        logit_q = torch.tensor(math.log(9))
        expected = masks.Concrete(0.1, 0.1).mean * 0.9
        assert _mean_of_mask(logit_q, 0.1).item() == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize(("p", "temperature"), [(0.1, 0.1), (0.1, 2 / 3), (0.3, 2 / 3), (0.8, 1.5)])
    def test_draws_have_mean_one_and_the_variance_of_the_law(self, p, temperature, generator):
        """Without the correction the mean would be .95 at p = .1 and temperature 2/3."""
        logit = torch.tensor(math.log(p / (1 - p)), dtype=torch.float64)
        ones = torch.ones(1 << 17, dtype=torch.float64)
        draws = functional.concrete_dropout(ones, logit, training=True, temperature=temperature, generator=generator)
        law = masks.Concrete(p, temperature)
        for values, expected in ((draws, 1.0), ((draws - 1) ** 2, law.variance / law.mean**2)):
            error = values.std().item() / math.sqrt(values.numel())
            assert abs(values.mean().item() - expected) < 6 * error

    @pytest.mark.parametrize("temperature", [0.1, 2 / 3])
    def test_the_gradient_of_the_rate_is_right(self, temperature, seed):
        x = torch.randn(6, 5, dtype=torch.float64)

        def f(logit_p):
            return functional.concrete_dropout(
                x, logit_p, training=True, temperature=temperature, generator=seeded(seed)
            )

        logit = torch.tensor([-0.7], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(f, logit)

    def test_per_names_the_axes_with_their_own_draw(self, generator):
        y = functional.concrete_dropout(
            torch.ones(4, 3, 5, 5), torch.zeros(1), training=True, temperature=1.0, per=(0, 1), generator=generator
        )
        assert torch.equal(y, y[..., :1, :1].expand_as(y))
        assert y[..., 0, 0].unique().numel() == 12

    def test_half_precision_is_single_precision_rounded_once(self, seed):
        x, logit = torch.randn(2000).bfloat16(), torch.tensor([-2.0])
        half, single = (
            functional.concrete_dropout(v, logit, training=True, generator=seeded(seed)) for v in (x, x.float())
        )
        assert torch.equal(half, single.bfloat16())


class TestRate:
    @pytest.mark.parametrize("p", [1e-5, 0.1, 0.5, 0.99])
    def test_it_can_be_set_and_read(self, p):
        layer = concrete("Linear", p)
        assert layer.p == pytest.approx(p, rel=1e-5)
        assert layer.logit_p.shape == (1,)

    @pytest.mark.parametrize(("p", "held"), [(0.0, 1e-7), (1.0, 1 - 1e-7)])
    def test_the_ends_are_held_where_they_can_still_move(self, p, held):
        layer = concrete("Linear", p)
        assert layer.p == pytest.approx(held, abs=1e-9)
        layer.kl().backward()
        assert layer.logit_p.grad.isfinite().all()
        assert (layer.logit_p.grad != 0).all()

    def test_setting_it_keeps_the_parameter_and_its_optimizer(self):
        layer = concrete("Linear")
        parameter = layer.logit_p
        layer.p = 0.4
        assert layer.logit_p is parameter
        assert layer.state_dict()["logit_p"].sigmoid().item() == pytest.approx(0.4)

    def test_it_has_a_gradient(self):
        layer = concrete("Linear", 0.2)
        layer.rate.backward()
        assert layer.logit_p.grad.item() == pytest.approx(0.2 * 0.8)

    def test_it_is_unknown_on_the_meta_device(self):
        assert "p=nan" in repr(concrete("Linear").to("meta"))

    def test_it_is_trained(self):
        """Without the divergence noise only hurts: the rate falls. With it alone, and no weights, it goes to 1/2."""
        for loss, side in ((lambda layer: layer(torch.ones(64, 4)).square().mean(), -1), (lambda layer: layer.kl(), 1)):
            layer = concrete("Linear", 0.2, length_scale=1e-6)
            optimizer = torch.optim.Adam([layer.logit_p], lr=0.05)
            for _ in range(100):
                optimizer.zero_grad()
                loss(layer).backward()
                optimizer.step()
            assert (layer.p - 0.2) * side > 0.05
            assert layer.p < 0.55

    def test_a_copy_after_training_steps_learns_by_itself(self):
        layer = concrete("Linear")
        layer(torch.ones(2, 4)).sum().backward()
        twin = copy.deepcopy(layer)
        twin.p = 0.4
        assert layer.p == pytest.approx(0.1)

    def test_repr_shows_what_was_learned_and_chosen(self):
        layer = concrete("Conv2d", 0.3, temperature=0.5, per=(0, 1), length_scale=1e-4)
        assert "p=0.3, temperature=0.5, per=(0, 1), length_scale=0.0001\n" in repr(layer)


class TestDivergence:
    @pytest.mark.parametrize(("name", "inputs"), [("Linear", 4), ("Conv2d", 3), ("Conv1d", 3)])
    @pytest.mark.parametrize("p", [0.1, 0.7])
    def test_it_is_the_published_formula_without_the_bias(self, name, inputs, p):
        layer = concrete(name, p, length_scale=0.5)
        weight = layer.module.weight.detach().double()
        expected = 0.5**2 / (2 * (1 - p)) * (weight**2).sum() + inputs * (p * math.log(p) + (1 - p) * math.log(1 - p))
        assert layer.kl().item() == pytest.approx(expected.item(), rel=1e-5)

    def test_that_of_a_model_is_the_sum_over_its_layers(self):
        model = nn.Sequential(concrete("Linear"), nn.ReLU(), layers.VariationalLinear(3, 2))
        assert torch.equal(layers.kl(model), model[0].kl() + model[2].kl())

    def test_a_layer_used_twice_counts_once(self):
        layer = concrete("Linear")
        assert torch.equal(layers.kl(nn.Sequential(layer, layer)), layer.kl())

    def test_a_model_without_one_is_refused(self):
        with pytest.raises(ValueError, match="must contain a layer that learns its noise"):
            layers.kl(nn.Linear(2, 2))


def test_the_rate_is_where_the_module_is():
    assert layers.ConcreteDropout(nn.Linear(2, 2, device="meta")).logit_p.is_meta


class TestArguments:
    @pytest.mark.parametrize("name", ["temperature", "length_scale"])
    @pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
    def test_what_must_be_positive_is_checked(self, name, value):
        with pytest.raises(ValueError, match=f"ConcreteDropout: `{name}` must be a positive number"):
            concrete("Linear", **{name: value})

    def test_a_module_without_known_units_is_refused(self):
        with pytest.raises(TypeError, match="got ReLU"):
            layers.ConcreteDropout(nn.ReLU())


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # inductor's own
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_inductor_compiles_the_group():
    torch._dynamo.reset()
    model = nn.Sequential(concrete("Linear", 0.5), nn.Tanh(), layers.VariationalLinear(3, 2))
    compiled = torch.compile(model, backend="inductor", fullgraph=True)
    with torch.no_grad():
        draws = torch.stack([compiled(torch.ones(4, 4)) for _ in range(2)])
    assert draws.isfinite().all()
    assert not torch.equal(draws[0], draws[1])
