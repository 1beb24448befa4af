"""torch's own sample inputs, over every layer that torch has too: equal in value and gradient, bitwise where possible.

They come from torch's internal test data, whose import takes some seconds.
"""

import functools

import pytest
import torch
from torch import nn

from dropscope import functional, layers

DTYPES = [torch.float32, torch.float64, torch.bfloat16]
TWINS = {
    "dropout": layers.Dropout,
    "dropout2d": layers.Dropout2d,
    "dropout3d": layers.Dropout3d,
    "alpha_dropout": layers.AlphaDropout,
    "feature_alpha_dropout": layers.FeatureAlphaDropout,
}
pytestmark = pytest.mark.filterwarnings("ignore:Fail to import hypothesis:ImportWarning")


@pytest.fixture(scope="module")
def operators():
    """Name: torch's descriptions of the operator, with its sample inputs."""
    from torch.testing._internal.common_methods_invocations import op_db

    found = {}
    for operator in op_db:
        found.setdefault(operator.name.removeprefix("nn.functional."), []).append(operator)
    return found


def samples(operators, name, dtype=torch.float32):
    return [s for o in operators[name] for s in o.sample_inputs("cpu", dtype, requires_grad=True)]


def value_and_gradient(run, x, seed):
    x = x.detach().clone().requires_grad_()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        y = run(x)
    (grad,) = torch.autograd.grad((y * torch.linspace(-1, 2, y.numel()).to(y).view_as(y)).sum(), x)
    return y, grad


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TWINS)
# torch reads three axes as sequences in dropout2d, four as one sample in dropout3d, and warns of the first
@pytest.mark.filterwarnings("ignore:dropout2d. Received a 3D input:UserWarning")
def test_torchs_sampler_gives_torchs_numbers_bitwise(operators, name, dtype, seed):
    compared = 0
    for sample in samples(operators, name, dtype):
        options = {"p": 0.5, "training": True} | sample.kwargs
        layer = TWINS[name](options["p"], sampler="torch").train(options["training"])
        if (name == "dropout2d" and sample.input.dim() == 3) or (name.startswith("feature") and sample.input.dim() < 2):
            continue  # what torch takes and we read otherwise or refuse: the next tests
        theirs = functools.partial(getattr(nn.functional, name), **options)
        pairs = zip(
            value_and_gradient(layer, sample.input, seed), value_and_gradient(theirs, sample.input, seed), strict=True
        )
        assert all(torch.equal(a, b) for a, b in pairs)
        compared += 1
    assert compared >= 7


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (layers.Dropout1d, nn.Dropout1d, (6, 40, 5)),
        (layers.Dropout1d, nn.Dropout1d, (40, 5)),
        (layers.Dropout2d, nn.Dropout2d, (6, 40, 5, 3)),
        (layers.Dropout3d, nn.Dropout3d, (6, 40, 5, 3, 2)),
        (layers.Dropout3d, nn.Dropout3d, (40, 5, 3, 2)),
        (layers.AlphaDropout, nn.AlphaDropout, (300, 200)),
        (layers.FeatureAlphaDropout, nn.FeatureAlphaDropout, (60, 40, 5)),
    ],
)
@pytest.mark.parametrize("p", [0.1, 0.3])
def test_so_do_layers_on_larger_inputs(ours, theirs, shape, dtype, p, seed):
    x = torch.randn(shape).to(dtype)
    pairs = zip(
        value_and_gradient(ours(p, sampler="torch"), x, seed), value_and_gradient(theirs(p), x, seed), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_one_image_is_dropped_as_torch_drops_a_batch_of_one(seed):
    x = torch.randn(40, 5, 5)
    ours = value_and_gradient(layers.Dropout2d(0.5, sampler="torch"), x, seed)
    theirs = value_and_gradient(nn.Dropout2d(0.5), x[None], seed)
    assert all(torch.equal(a, b[0]) for a, b in zip(ours, theirs, strict=True))


def test_features_without_a_channel_axis_are_refused_where_torch_lets_them_pass_in_eval(operators):
    few = [s for s in samples(operators, "feature_alpha_dropout") if s.input.dim() < 2]
    for sample in few:
        with pytest.raises(ValueError, match="must have the axes"):
            layers.FeatureAlphaDropout(0.5).eval()(sample.input)
    assert len(few) >= 2


class TestAttention:
    def test_the_functions_samples(self, operators):
        """Bitwise where nothing is dropped, which eval is; to rounding where the weights are computed."""
        for sample in samples(operators, "scaled_dot_product_attention", torch.float64):
            p = sample.kwargs.pop("dropout_p", 0.5)
            inputs = (sample.input, *sample.args)
            expected = nn.functional.scaled_dot_product_attention(*inputs, **sample.kwargs)
            plain = functional.scaled_dot_product_attention(*inputs, p, training=False, **sample.kwargs)
            assert torch.equal(plain, expected)
            explicit = functional.attention_weights(*inputs[:2], **sample.kwargs) @ inputs[2]
            torch.testing.assert_close(explicit, expected, rtol=1e-10, atol=1e-10)

    def test_the_modules_samples(self, operators):
        from torch.testing._internal.common_modules import module_db

        (info,) = (m for m in module_db if m.module_cls is nn.MultiheadAttention)
        compared = 0
        for training in (True, False):
            for sample in info.module_inputs_func(
                info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
            ):
                made, given = sample.constructor_input, sample.forward_input
                theirs = nn.MultiheadAttention(*made.args, **made.kwargs).double().train(training)
                ours = layers.MultiheadAttention.from_torch(theirs)
                expected, weights = theirs(*given.args, **given.kwargs)
                y, our_weights = ours(*given.args, **given.kwargs)
                torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-6)
                torch.testing.assert_close(our_weights, weights, rtol=1e-6, atol=1e-6)
                compared += 1
        assert compared >= 100
