"""What every dropout layer must do. A layer is one line in a list below and inherits all checks of `LayerContract`."""

import copy
import functools
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

from dropscope import layers, masks


@dataclass(frozen=True)
class Case:
    """One layer: how to make it from `p`, its law, and the shape of an input it takes."""

    name: str
    make: Callable[..., nn.Module]  # make(p, generator=...)
    law: Callable[[float], masks.Law] = masks.Bernoulli
    shape: tuple[int, ...] = (4, 3, 5, 5)
    per: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return self.name

    def ones(self, **options) -> Tensor:
        return torch.ones(self.shape, **options)


ELEMENTWISE = [
    Case("Dropout", layers.Dropout),
    Case("Dropout-large", layers.Dropout, shape=(64, 40, 24)),
    *(
        Case(f"Dropout-per-{per}", functools.partial(layers.Dropout, per=per), per=per)
        for per in ((0,), (0, 1), (0, -1), ())
    ),
]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def factors(layer: nn.Module, x: Tensor, seed: int) -> Tensor:
    """The factors that `layer` multiplies ones with after `manual_seed(seed)`; torch's stream is put back."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return layer(torch.ones_like(x))


class LayerContract:
    """Inherit and parametrize with `case` from a list of cases."""

    def test_eval_is_the_identity_bitwise(self, case):
        x = torch.randn(case.shape)
        assert case.make(0.5).eval()(x) is x

    def test_p_zero_is_the_identity_bitwise(self, case):
        x = torch.randn(case.shape)
        assert torch.equal(case.make(0.0)(x), x)

    @pytest.mark.parametrize("p", [0.1, 0.5])
    def test_mean_and_variance_are_those_of_the_law(self, case, p, generator):
        layer, law = case.make(p, generator=generator), case.law(p)
        own = tuple(slice(size) for size in masks.draw_shape(case.shape, case.per))
        draws = torch.stack([layer(case.ones(dtype=torch.float64))[own] for _ in range(300)]).flatten()
        for values, expected in ((draws, law.mean), ((draws - law.mean) ** 2, law.variance)):
            error = values.std().item() / math.sqrt(values.numel())
            assert abs(values.mean().item() - expected) <= 6 * error

    def test_the_same_generator_draws_the_same_mask(self, case, seed):
        first, second = (case.make(0.5, generator=seeded(seed))(case.ones()) for _ in range(2))
        assert torch.equal(first, second)

    def test_torchs_own_stream_governs_it_without_a_generator(self, case, seed):
        layer = case.make(0.5)
        assert torch.equal(factors(layer, case.ones(), seed), factors(layer, case.ones(), seed))

    def test_the_mask_is_constant_outside_per(self, case):
        y = case.make(0.5)(case.ones())
        own = masks.draw_shape(case.shape, case.per)
        assert torch.equal(y, y[tuple(slice(size) for size in own)].expand(case.shape))

    def test_the_gradient_is_the_mask_times_upstream(self, case, seed):
        x, upstream = torch.randn(case.shape, requires_grad=True), torch.randn(case.shape)
        layer = case.make(0.3, generator=seeded(seed))
        layer(x).backward(upstream)
        mask = case.make(0.3, generator=seeded(seed))(case.ones())
        assert torch.equal(x.grad, mask * upstream)

    # torch's own rules for forward-mode differentiation are still scripted
    @pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
    def test_first_and_second_derivatives_are_right(self, case, generator):
        layer = case.make(0.3, generator=generator)
        state = generator.get_state()
        x = torch.randn(tuple(min(size, 3) for size in case.shape), dtype=torch.float64, requires_grad=True)

        def f(x):
            generator.set_state(state)
            return layer(x)

        assert torch.autograd.gradcheck(f, x, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(f, x)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_the_type_is_kept(self, case, dtype):
        x = case.ones(dtype=dtype).requires_grad_()
        y = case.make(0.3).to(dtype)(x)
        y.sum().backward()
        assert y.dtype == x.grad.dtype == dtype
        assert set(y.unique().tolist()) <= {0.0, torch.tensor(1 / 0.7, dtype=dtype).item()}

    def test_the_device_is_kept(self, case):
        assert case.make(0.3)(case.ones(device="meta")).device.type == "meta"

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

    def test_inputs_of_any_layout_are_taken(self, case):
        layer = case.make(0.5)
        for x in (case.ones().transpose(1, 2), case.ones().expand(case.shape), case.ones()[:, ::2], case.ones()[:0]):
            y = layer(x)
            assert y.shape == x.shape
            assert set(y.unique().tolist()) <= {0.0, 2.0}

    def test_dense_layouts_are_kept(self, case):
        x = case.ones().movedim(1, -1).contiguous().movedim(-1, 1)
        assert case.make(0.5)(x).stride() == x.stride()

    @pytest.mark.parametrize("randomness", ["same", "different"])
    def test_vmap_draws_as_it_is_told(self, case, randomness):
        x = torch.ones(64, *case.shape)
        y = torch.vmap(case.make(0.5), randomness=randomness)(x).flatten(1)
        assert set(y.unique().tolist()) <= {0.0, 2.0}
        assert torch.equal(y, y[:1].expand_as(y)) == (randomness == "same")

    def test_compiles_into_one_graph_that_survives_three_changes_of_p(self, case):
        torch._dynamo.reset()
        layer, counted = case.make(0.5), CompileCounter()
        compiled = torch.compile(layer, backend=counted, fullgraph=True)
        for p in (0.5, 0.2, 1.0, 0.0):
            layer.p = p
            scale = case.law(p).scale
            assert set(compiled(case.ones()).unique().tolist()) <= {0.0, torch.tensor(scale).item()}
        assert counted.frame_count == 1

    def test_compiles_forward_and_backward(self, case):
        torch._dynamo.reset()
        x = case.ones().requires_grad_()
        y = torch.compile(case.make(0.5), backend="aot_eager", fullgraph=True)(x)
        y.sum().backward()
        assert set(y.unique().tolist()) <= {0.0, 2.0}
        assert torch.equal(x.grad, y)

    def test_an_exported_eval_model_contains_no_dropout(self, case):
        model = nn.Sequential(nn.Identity(), case.make(0.5)).eval()
        exported = torch.export.export(model, (torch.randn(case.shape),))
        assert [node for node in exported.graph.nodes if node.op == "call_function"] == []

    def test_make_fx_records_a_fresh_draw(self, case, seed):
        traced = make_fx(case.make(0.5))(case.ones())
        first, second = (factors(traced, case.ones(), s) for s in (seed, seed))
        assert torch.equal(first, second)
        assert any(node.target is torch.ops.aten.rand.default for node in traced.graph.nodes)

    def test_checkpointing_gives_the_same_gradients(self, case, seed):
        layer, gradients = case.make(0.5), []
        for run in (layer, functools.partial(checkpoint, layer, use_reentrant=False)):
            x = torch.randn(case.shape, generator=seeded(seed)).requires_grad_()
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                (run(x) ** 2).sum().backward()
            gradients.append(x.grad)
        assert torch.equal(*gradients)

    def test_without_parameters_the_state_is_empty(self, case):
        assert case.make(0.5).state_dict() == {}

    @pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
    def test_copies_draw_the_same_and_are_independent(self, case, clone, seed):
        layer = case.make(0.5, generator=seeded(seed))
        twin = clone(layer)
        assert torch.equal(layer(case.ones()), twin(case.ones()))
        twin.p = 0.1
        assert layer.p == 0.5

    def test_repr_shows_the_arguments(self, case):
        assert "p=0.25" in repr(case.make(0.25))
        assert f"per={case.per}" in repr(case.make(0.25)) or case.per is None

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
    def test_other_than_floating_point_is_refused(self, case, dtype):
        with pytest.raises(TypeError, match="floating-point"):
            case.make(0.5)(case.ones(dtype=dtype))
