"""What every dropout layer must do. A layer is one `Case` in a list of its own test file and inherits the checks.

`LayerContract` holds for whatever a layer drops; `MaskContract` adds what holds where it multiplies by a mask.
"""

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

    `skip` maps the name of a check to the reason why it cannot hold.
    """

    name: str
    make: Callable[..., nn.Module]  # make(p, generator=...)
    example: Callable[[], tuple[Any, ...]] = lambda: (torch.randn(4, 3, 5, 5),)
    plain: Callable[..., Tensor] = lambda layer, x: x  # plain(layer, *inputs): the output with nothing dropped
    tolerance: float = 0.0  # how far rounding may take p = 0 from `plain`, relative to the largest element
    skip: dict[str, str] = field(default_factory=dict)

    def row(self, inputs: tuple[Any, ...], i: int) -> tuple[Any, ...]:
        """The inputs of the i-th sample alone, where the batch is axis 0 of every tensor."""
        return tuple(v[i : i + 1] if isinstance(v, Tensor) else v for v in inputs)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class MaskCase(Case):
    """A layer that multiplies its one input by a mask of some law, drawn anew along the axes `per`."""

    law: Callable[[float], masks.Law] = masks.Bernoulli
    shape: tuple[int, ...] = (4, 3, 5, 5)
    per: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "example", lambda: (torch.randn(self.shape),))

    def ones(self, **options) -> Tensor:
        return torch.ones(self.shape, **options)


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


def factors(layer: nn.Module, x: Tensor, seed: int) -> Tensor:
    """The factors that `layer` multiplies ones with after `manual_seed(seed)`."""
    return run_seeded(layer, (torch.ones_like(x),), seed)


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
        assert torch.autograd.gradcheck(f, x, fast_mode=True)
        assert torch.autograd.gradgradcheck(f, x, fast_mode=True)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_the_type_is_kept(self, case, dtype):
        inputs = converted(case.example(), dtype)
        inputs[0].requires_grad_()
        y = tensor(case.make(0.3).to(dtype)(*inputs))
        y.sum().backward()
        assert y.dtype == inputs[0].grad.dtype == dtype

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
        layer, inputs = case.make(0.5), case.example()
        seeds = seed + torch.arange(len(inputs[0]))
        with masks.per_sample(seeds):
            try:
                together = tensor(layer(*inputs))
            except ValueError as refusal:
                if "masks.per_sample" not in str(refusal):
                    raise
                pytest.skip("its samples share a mask, or the batch is not axis 0: refused, and said so")
        for i in range(len(seeds)):
            with masks.per_sample(seeds[i : i + 1]):
                alone = tensor(layer(*case.row(inputs, i)))
            torch.testing.assert_close(alone[0], together[i])

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


class MaskContract(LayerContract):
    """What a layer must do beyond `LayerContract` where it multiplies its input by a mask: for `MaskCase`s."""

    def test_eval_returns_the_input_itself(self, case):
        (x,) = case.example()
        assert case.make(0.5).eval()(x) is x

    @pytest.mark.parametrize("p", [0.1, 0.5])
    def test_mean_and_variance_are_those_of_the_law(self, case, p, generator):
        layer, law = case.make(p, generator=generator), case.law(p)
        own = tuple(slice(size) for size in masks.draw_shape(case.shape, case.per))
        draws = torch.stack([layer(case.ones(dtype=torch.float64))[own] for _ in range(300)]).flatten()
        for values, expected in ((draws, law.mean), ((draws - law.mean) ** 2, law.variance)):
            error = values.std().item() / math.sqrt(values.numel())
            assert abs(values.mean().item() - expected) <= 6 * error

    @pytest.mark.parametrize("p", [0.001, 0.1, 0.5])
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_keeps_the_mean(self, case, p, dtype, generator):
        """Up to the one rounding of a kept element, the mean is that of x: within 5 standard errors."""
        layer, x = case.make(p, generator=generator), case.ones(dtype=dtype)
        own = tuple(slice(size) for size in masks.draw_shape(case.shape, case.per))
        draws = torch.stack([layer(x)[own] for _ in range(300)]).double().flatten()
        error = max(draws.std().item(), case.law(p).variance ** 0.5) / math.sqrt(draws.numel())
        rounding = torch.finfo(dtype).eps / 2 * case.law(p).scale
        assert abs(draws.mean().item() - 1) <= 5 * error + rounding

    def test_the_mask_is_constant_outside_per(self, case):
        y = case.make(0.5)(case.ones())
        own = masks.draw_shape(case.shape, case.per)
        assert torch.equal(y, y[tuple(slice(size) for size in own)].expand(case.shape))

    def test_the_gradient_is_the_mask_times_upstream(self, case, seed):
        x, upstream = torch.randn(case.shape, requires_grad=True), torch.randn(case.shape)
        layer = case.make(0.3, generator=seeded(seed))
        layer(x).backward(upstream)
        mask = case.make(0.3, generator=seeded(seed))(case.ones())
        torch.testing.assert_close(x.grad, mask * upstream, rtol=1e-6, atol=0)

    @pytest.mark.parametrize("fill", [1.0, math.inf, math.nan])
    def test_p_one_gives_zeros_in_value_and_gradient(self, case, fill):
        x = torch.full(case.shape, fill, requires_grad=True)
        y = case.make(1.0)(x)
        y.backward(torch.full(case.shape, fill))
        assert torch.equal(y, torch.zeros(case.shape))
        assert torch.equal(x.grad, torch.zeros(case.shape))

    @pytest.mark.parametrize("fill", [math.inf, -math.inf, math.nan])
    def test_a_dropped_inf_or_nan_becomes_zero_in_value_and_gradient(self, case, fill, seed):
        mask = case.make(0.5, generator=seeded(seed))(case.ones())
        x = torch.full(case.shape, fill, requires_grad=True)
        y = case.make(0.5, generator=seeded(seed))(x)
        y.backward(torch.full(case.shape, fill))
        assert torch.equal(y == 0, mask == 0)
        assert torch.equal(x.grad == 0, mask == 0)

    def test_inputs_of_any_layout_are_taken(self, case, seed):
        layer = case.make(0.5)
        for x in (case.ones().expand(case.shape), case.ones()[..., ::2], case.ones()[:0]):
            y = layer(x)
            assert y.shape == x.shape
            assert torch.equal(run_seeded(layer, (x.contiguous(),), seed), run_seeded(layer, (x,), seed))

    def test_dense_layouts_are_kept(self, case):
        x = case.ones().movedim(1, -1).contiguous().movedim(-1, 1)
        assert case.make(0.5)(x).stride() == x.stride()

    def test_autocast_changes_nothing(self, case, seed):
        layer = case.make(0.5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = factors(layer, case.ones(), seed)
        assert torch.equal(mixed, factors(layer, case.ones(), seed))

    def test_without_parameters_the_state_is_empty(self, case):
        assert case.make(0.5).state_dict() == {}
