"""The elementwise layers: the contract of every layer, and what is their own."""

import functools
import shutil

import pytest
import torch
from contracts import Case, LayerContract
from mask_contracts import MaskCase, MaskContract
from sigmas import rate_sigmas

from dropscope import layers

CASES = [
    MaskCase("Dropout", layers.Dropout),
    MaskCase("Dropout-large", layers.Dropout, shape=(64, 40, 24)),
    *(
        MaskCase(f"Dropout-per-{per}", functools.partial(layers.Dropout, per=per), per=per, shape=(32, 8, 5, 5))
        for per in ((0,), (0, 1), (0, -1))
    ),
    MaskCase("Dropout-seed-kept", functools.partial(layers.Dropout, save="seed")),
    MaskCase("Dropout-seed-kept-large", functools.partial(layers.Dropout, save="seed"), shape=(64, 40, 24)),
]
CLASSICAL = [
    Case(
        f"{name}-classical",
        functools.partial(layers.Dropout, inverted=False, per=per),
        plain=lambda m, x: x * (1 - m.p),
    )
    for name, per in (("Dropout", None), ("Dropout-per-channel", (0, 1)))
]
NO_GENERATOR = "torch's dropout takes no generator"
TORCHS = [
    MaskCase(
        f"Dropout-torch{'' if per is None else '-per-channel'}",
        lambda p=0.5, generator=None, per=per: layers.Dropout(p, per=per, sampler="torch"),
        per=per,
        skip={
            "test_the_same_generator_draws_the_same": NO_GENERATOR,
            "test_first_and_second_derivatives_are_right": NO_GENERATOR,
            "test_copies_draw_the_same_and_are_independent": NO_GENERATOR,
            "test_the_gradient_is_the_mask_times_upstream": NO_GENERATOR,
            "test_compiled_code_draws_from_the_generator": NO_GENERATOR,
            "test_compiles_into_one_graph_that_survives_three_changes_of_p": "torch's dropout takes p as a number",
            "test_compiled_gradients_are_those_of_the_same_draw": "lowered, torch's dropout draws other numbers",
            "test_p_one_gives_zeros_in_value_and_gradient": "torch multiplies by 0",
            "test_a_dropped_inf_or_nan_becomes_zero_in_value_and_gradient": "torch multiplies by 0",
            "test_a_samples_mask_does_not_depend_on_its_batch": "torch's numbers are those of the stream",
        },
    )
    for per in (None, (0, 1))
]


@pytest.mark.parametrize("case", CASES + TORCHS, ids=str)
class TestContract(MaskContract):
    pass


@pytest.mark.parametrize("case", CLASSICAL, ids=str)
class TestClassicalContract(LayerContract):
    pass


def test_a_rate_set_in_inference_mode_can_train():
    """Compiled code reads the rate from a tensor that backward saves, whoever set it."""
    layer = layers.Dropout(0.5)
    recurrent = layers.VariationalLSTM(2, 2)
    with torch.inference_mode():
        layer.p = 0.25
        recurrent.p_hidden = 0.25
    assert not layer._p_tensor.is_inference()
    assert not recurrent.own_rates["p_hidden"][1].is_inference()


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

    @pytest.mark.parametrize("randomness", ["same", "different"])
    def test_a_generator_is_used_under_vmap(self, randomness, seed):
        def run():
            layer = layers.Dropout(0.5, generator=torch.Generator().manual_seed(seed))
            return torch.vmap(layer, randomness=randomness)(torch.ones(8, 50))

        assert torch.equal(run(), run())

    def test_repr_shows_what_differs_from_the_defaults(self):
        assert repr(layers.Dropout(0.2)) == "Dropout(p=0.2)"
        assert repr(layers.Dropout(0.2, inverted=False, save="seed")) == "Dropout(p=0.2, inverted=False, save='seed')"

    @pytest.mark.parametrize(
        "options", [{"save": "bits"}, {"sampler": "fused"}, {"sampler": "torch", "generator": torch.Generator()}]
    )
    def test_bad_options_are_refused_in_the_constructor(self, options):
        with pytest.raises(ValueError, match=r"must be|sampler='torch' has no generator="):
            layers.Dropout(0.5, **options)

    def test_a_generator_that_is_none_is_refused_by_name(self):
        with pytest.raises(TypeError, match=r"Dropout: `generator` must be a torch\.Generator or None, got 5"):
            layers.Dropout(0.5, generator=5)

    # parts of the compiler are still scripted
    @pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
    @pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
    @pytest.mark.parametrize("inverted", [True, False])
    def test_inductor_gives_the_mask_times_upstream(self, inverted):
        torch._dynamo.reset()
        layer = layers.Dropout(0.5, inverted=inverted)
        run = torch.compile(layer, backend="inductor", fullgraph=True)
        for p in (0.5, 0.1):
            layer.p = p
            x = torch.ones(64, 100, requires_grad=True)
            y = run(x)
            y.backward(torch.full_like(y, 3.0))
            torch.testing.assert_close(x.grad, 3 * y.detach())
            assert rate_sigmas(y != 0, p) < 6
