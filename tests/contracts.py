"""What every dropout layer must do, whatever it drops: a layer is one `Case` in a list of its own test file."""

import copy
import functools
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

from dropscope import masks

RANDOM = ("rand", "bernoulli", "dropout", "multinomial", "normal_", "exponential", "geometric", "dropscope")


@dataclass(frozen=True)
class Case:
    """One layer: how to make it from `p`, what to feed it, and what it gives without dropout.

    `batch_axis` says where the inputs have their samples; None where these share what is drawn. `skip` maps the name
    of a check to the reason why it cannot hold.
    """

    name: str
    make: Callable[..., nn.Module]  # make(p, generator=...)
    example: Callable[[], tuple[Any, ...]] = lambda: (torch.randn(4, 3, 5, 5),)
    plain: Callable[..., Tensor] = lambda layer, x: x  # plain(layer, *inputs): the output with nothing dropped
    tolerance: float = 0.0  # how far rounding may take p = 0 from `plain`, relative to the largest element
    batch_axis: int | None = 0
    skip: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tensor(output: Any) -> Tensor:
    """The first tensor of an output that may be a tuple."""
    return output if isinstance(output, Tensor) else tensor(output[0])


def converted(inputs: tuple[Any, ...], dtype: torch.dtype) -> tuple[Any, ...]:
    return tuple(v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v for v in inputs)


def run_seeded(layer: Callable[..., Any], inputs: tuple[Any, ...], seed: int) -> Tensor:
    """The output after `manual_seed(seed)`; torch's stream is put back."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return tensor(layer(*inputs))


def gradients(run: Callable[..., Any], layer: nn.Module, inputs: tuple[Any, ...], seed: int) -> list[Tensor]:
    """Gradients of the sum of squares with respect to the floating inputs and the parameters."""
    leaves = [v.clone().requires_grad_() if isinstance(v, Tensor) and v.is_floating_point() else v for v in inputs]
    wanted = [v for v in leaves if isinstance(v, Tensor) and v.requires_grad] + list(layer.parameters())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        loss = (tensor(run(*leaves)) ** 2).sum()
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [g for g in found if g is not None]


class LayerContract:
    """Inherit and parametrize with `case` from a list of cases."""

    def test_eval_is_the_plain_output_bitwise(self, case):
        layer, inputs = case.make(0.5).eval(), case.example()
        assert torch.equal(tensor(layer(*inputs)), case.plain(layer, *inputs))

    def test_p_zero_is_the_plain_output(self, case):
        layer, inputs = case.make(0.0), case.example()
        expected = case.plain(layer, *inputs)
        torch.testing.assert_close(
            tensor(layer(*inputs)), expected, rtol=0, atol=case.tolerance * float(expected.detach().abs().max())
        )

    def test_the_same_generator_draws_the_same(self, case, seed):
        layer, inputs = case.make(0.5, generator=seeded(seed)), case.example()
        first = tensor(layer(*inputs))
        layer.generator = seeded(seed)
        assert torch.equal(tensor(layer(*inputs)), first)
        assert not torch.equal(tensor(layer(*inputs)), first)

    def test_torchs_own_stream_governs_it_without_a_generator(self, case, seed):
        layer, inputs = case.make(0.5), case.example()
        first, second, other = (run_seeded(layer, inputs, s) for s in (seed, seed, seed + 1))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    # torch's own rules for forward-mode differentiation are still scripted
    @pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
    def test_first_and_second_derivatives_are_right(self, case, generator):
        layer, inputs = case.make(0.3, generator=generator).double(), converted(case.example(), torch.float64)
        state = generator.get_state()

        def f(x):
            generator.set_state(state)
            return tensor(layer(x, *inputs[1:]))

        x = inputs[0].clone().requires_grad_()
        assert torch.autograd.gradcheck(f, x, fast_mode=True, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(f, x, fast_mode=True)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_the_type_is_kept(self, case, dtype):
        inputs = converted(case.example(), dtype)
        inputs[0].requires_grad_()
        y = tensor(case.make(0.3).to(dtype)(*inputs))
        y.sum().backward()
        assert y.dtype == inputs[0].grad.dtype == dtype

    def test_autocast_gives_the_type_that_it_gives_in_eval(self, case):
        layer, inputs = case.make(0.5), case.example()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            dropped, plain = tensor(layer(*inputs)), tensor(layer.eval()(*inputs))
        assert dropped.isfinite().all()
        assert dropped.dtype == plain.dtype

    def test_the_device_is_kept(self, case):
        inputs = tuple(v.to("meta") if isinstance(v, Tensor) else v for v in case.example())
        assert tensor(case.make(0.3).to("meta")(*inputs)).device.type == "meta"

    def test_p_one_is_finite_in_value_and_gradient(self, case, seed):
        layer, inputs = case.make(1.0), case.example()
        assert tensor(layer(*inputs)).isfinite().all()
        assert all(g.isfinite().all() for g in gradients(layer, layer, inputs, seed))

    @pytest.mark.parametrize("randomness", ["same", "different"])
    def test_vmap_draws_as_it_is_told(self, case, randomness):
        layer, inputs = case.make(0.5), case.example()
        stacked = torch.stack([inputs[0]] * 16)
        y = torch.vmap(lambda x: tensor(layer(x, *inputs[1:])), randomness=randomness)(stacked)
        rounding = case.tolerance * float(y.detach().abs().max())
        assert torch.allclose(y, y[:1].expand_as(y), rtol=0, atol=rounding) == (randomness == "same")

    def test_compiles_into_one_graph_that_survives_three_changes_of_p(self, case):
        torch._dynamo.reset()
        layer, counted, inputs = case.make(0.5), CompileCounter(), case.example()
        compiled = torch.compile(layer, backend=counted, fullgraph=True)
        for p in (0.5, 0.2, 0.9, 0.0):
            layer.p = p
            y = tensor(compiled(*inputs))
        expected = case.plain(layer, *inputs)
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max()))
        assert counted.frame_count == 1

    def test_compiled_gradients_are_those_of_the_same_draw(self, case, seed):
        torch._dynamo.reset()
        layer, inputs = case.make(0.5), case.example()
        traced = torch.compile(layer, backend="eager", fullgraph=True)
        lowered = torch.compile(layer, backend="aot_eager", fullgraph=True)
        pairs = zip(gradients(traced, layer, inputs, seed), gradients(lowered, layer, inputs, seed), strict=True)
        for expected, found in pairs:
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))

    def test_compiled_code_draws_from_the_generator(self, case, seed):
        torch._dynamo.reset()
        layer, inputs, before = case.make(0.5, generator=seeded(seed)), case.example(), torch.get_rng_state()
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        first = tensor(compiled(*inputs))
        layer.generator = seeded(seed)
        assert torch.equal(tensor(compiled(*inputs)), first)
        assert not torch.equal(tensor(compiled(*inputs)), first)
        assert torch.equal(torch.get_rng_state(), before)

    def test_an_exported_eval_model_contains_no_dropout(self, case):
        exported = torch.export.export(case.make(0.5).eval(), case.example())
        targets = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
        assert not [name for name in targets if any(word in name for word in RANDOM)]

    def test_make_fx_records_a_fresh_draw(self, case, seed):
        inputs = case.example()
        traced = make_fx(case.make(0.5))(*inputs)
        first, second, other = (run_seeded(traced, inputs, s) for s in (seed, seed, seed + 1))
        assert torch.equal(first, second)
        assert not torch.equal(first, other)

    def test_checkpointing_gives_the_same_gradients(self, case, seed):
        layer, inputs = case.make(0.5), case.example()
        again = functools.partial(checkpoint, layer, use_reentrant=False)
        pairs = zip(gradients(layer, layer, inputs, seed), gradients(again, layer, inputs, seed), strict=True)
        assert all(torch.equal(expected, found) for expected, found in pairs)

    def test_a_samples_mask_does_not_depend_on_its_batch(self, case, seed):
        layer, inputs, axis = case.make(0.5), case.example(), case.batch_axis
        seeds = seed + torch.arange(inputs[0].shape[axis or 0])
        if axis is None:
            with masks.per_sample(seeds), pytest.raises(ValueError, match=r"masks\.per_sample"):
                layer(*inputs)
            return

        with masks.per_sample(seeds):
            together = tensor(layer(*inputs))
        for i in range(len(seeds)):
            own = (v.narrow(axis, i, 1) if isinstance(v, Tensor) else v for v in inputs)
            with masks.per_sample(seeds[i : i + 1]):
                alone = tensor(layer(*own))
            torch.testing.assert_close(alone, together.narrow(axis, i, 1))

    def test_its_state_can_be_loaded_back(self, case, seed):
        layer, twin, inputs = case.make(0.5), case.make(0.5), case.example()
        twin.load_state_dict(layer.state_dict())
        assert torch.equal(run_seeded(layer, inputs, seed), run_seeded(twin, inputs, seed))

    @pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
    def test_copies_draw_the_same_and_are_independent(self, case, clone, seed):
        layer, inputs = case.make(0.5, generator=seeded(seed)), case.example()
        twin = clone(layer)
        assert torch.equal(tensor(layer(*inputs)), tensor(twin(*inputs)))
        twin.p = 0.1
        assert layer.p == 0.5

    def test_a_copy_can_be_made_after_a_forward_pass(self, case):
        layer, inputs = case.make(0.5), case.example()
        tensor(layer(*inputs)).sum()
        assert torch.equal(tensor(copy.deepcopy(layer).eval()(*inputs)), case.plain(layer, *inputs))

    def test_the_input_is_left_as_it_was(self, case):
        inputs = case.example()
        before = copy.deepcopy(inputs)
        case.make(0.5)(*inputs)
        assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True) if isinstance(a, Tensor))

    def test_repr_shows_p(self, case):
        assert "p=0.25" in repr(case.make(0.25))

    @pytest.mark.parametrize("p", [math.nan, True, "0.5", -0.1, 1.5])
    def test_a_bad_p_is_refused_by_name(self, case, p):
        name = type(case.make(0.5)).__name__
        with pytest.raises((TypeError, ValueError), match=f"{name}: `p` must be .*, got "):
            case.make(p)
        layer = case.make(0.5)
        with pytest.raises((TypeError, ValueError), match=f"{name}: `p` must be .*, got "):
            layer.p = p
        assert layer.p == 0.5

    @pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
    @pytest.mark.parametrize("training", [True, False])
    def test_other_than_floating_point_is_refused(self, case, dtype, training):
        inputs = case.example()
        with pytest.raises(TypeError, match="floating-point"):
            case.make(0.5).train(training)(inputs[0].to(dtype), *inputs[1:])
