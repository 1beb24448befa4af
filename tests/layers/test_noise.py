"""Multiplicative noise: the contract, and that its factors are those of the laws."""

import functools
import shutil

import pytest
import torch
from mask_contracts import MaskCase, MaskContract

from dropscope import layers, masks

ONE = "p = 1 is refused: the variance p / q is infinite"
NOISE = {
    "skip": {
        "test_p_one_is_finite_in_value_and_gradient": ONE,
        "test_p_one_gives_zeros_in_value_and_gradient": ONE,
        "test_a_dropped_inf_or_nan_becomes_zero_in_value_and_gradient": "nothing is dropped",
    }
}
CASES = [
    MaskCase("Gaussian", layers.GaussianDropout, law=masks.Gaussian, **NOISE),
    MaskCase("Uniform", layers.UniformDropout, law=masks.Uniform, **NOISE),
    MaskCase(
        "Gaussian-per-channel",
        functools.partial(layers.GaussianDropout, per=(0, 1)),
        shape=(32, 8, 5, 5),
        per=(0, 1),
        law=masks.Gaussian,
        **NOISE,
    ),
    MaskCase(
        "Uniform-locked-over-time",
        functools.partial(layers.UniformDropout, per=(0, -1)),
        shape=(32, 6, 8),
        per=(0, 2),
        law=masks.Uniform,
        **NOISE,
    ),
]
PAIRS = [(layers.GaussianDropout, masks.Gaussian), (layers.UniformDropout, masks.Uniform)]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract(MaskContract):
    pass


@pytest.mark.parametrize(("make", "law"), PAIRS)
class TestNoise:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_factors_are_a_sample_of_the_law(self, make, law, dtype, seed):
        y = make(0.3, generator=torch.Generator().manual_seed(seed))(torch.ones(50, 40, dtype=dtype))
        expected = law(0.3).sample((50, 40), dtype=dtype, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(y, expected, rtol=0, atol=8 * torch.finfo(dtype).eps)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_types_are_rounded_once(self, make, law, dtype, seed):
        x = torch.randn(50, 40).to(dtype)
        y = make(0.3, generator=torch.Generator().manual_seed(seed))(x)
        factors = make(0.3, generator=torch.Generator().manual_seed(seed))(torch.ones(50, 40))
        assert torch.equal(y, (x.float() * factors).to(dtype))

    def test_infinity_stays_infinite(self, make, law):
        assert make(0.5)(torch.full((100,), torch.inf)).isinf().all()

    def test_p_one_is_refused(self, make, law):
        with pytest.raises(ValueError, match=rf"{make.__name__}: `p` must be in \[0, 1\), got 1"):
            make(1)

    def test_backward_keeps_the_factors_alone(self, make, law):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
            make(0.5)(torch.randn(1000, requires_grad=True))
        assert [t.numel() for t in kept] == [1000]

    def test_a_bad_per_is_refused_in_the_constructor(self, make, law):
        with pytest.raises(ValueError, match="`per` must name each axis once"):
            make(0.5, per=(1, 1))


def test_the_fourth_moment_tells_the_laws_apart(generator):
    """The fourth central moments are 3 and 9/5 of the squared variance."""
    for make, kurtosis in ((layers.GaussianDropout, 3.0), (layers.UniformDropout, 1.8)):
        z = (make(0.5, generator=generator)(torch.ones(200_000, dtype=torch.float64)) - 1) ** 4
        assert abs(z.mean() - kurtosis) <= 6 * z.std() / len(z) ** 0.5


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("make", "law"), PAIRS)
def test_inductor_draws_the_same_law(make, law, seed):
    torch._dynamo.reset()
    torch.manual_seed(seed)
    y = torch.compile(make(0.2), fullgraph=True)(torch.ones(100_000))
    for values, expected in ((y, 1.0), ((y - 1) ** 2, law(0.2).variance)):
        assert abs(values.mean() - expected) <= 6 * values.std() / len(y) ** 0.5
