"""What a dropout layer must do beyond `contracts` where it multiplies its one input by a mask."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from contracts import Case, LayerContract, run_seeded, seeded
from torch import Tensor, nn

from dropscope import masks


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


def factors(layer: nn.Module, x: Tensor, seed: int) -> Tensor:
    """The factors that `layer` multiplies ones with after `manual_seed(seed)`."""
    return run_seeded(layer, (torch.ones_like(x),), seed)


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

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_every_factor_is_zero_or_the_scale_rounded_once(self, case, dtype):
        if case.law is not masks.Bernoulli:
            pytest.skip("its factors are drawn from a continuous law")
        layer, expected = case.make(0.3), {0.0, torch.tensor(1 / 0.7, dtype=dtype).item()}
        torch._dynamo.reset()
        runs = [
            layer,
            torch.compile(layer, backend="aot_eager", fullgraph=True),
            lambda x: torch.vmap(layer, randomness="different")(x.expand(4, *x.shape)),
        ]
        for run in runs:
            assert set(run(case.ones(dtype=dtype)).unique().tolist()) <= expected

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

    def test_dense_layouts_are_kept_by_compiled_code(self, case):
        torch._dynamo.reset()
        x = case.ones().movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_()
        y = torch.compile(case.make(0.5), backend="aot_eager", fullgraph=True)(x)
        assert y.stride() == x.stride()

    def test_autocast_changes_nothing(self, case, seed):
        layer = case.make(0.5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = factors(layer, case.ones(), seed)
        assert torch.equal(mixed, factors(layer, case.ones(), seed))

    def test_without_parameters_the_state_is_empty(self, case):
        assert case.make(0.5).state_dict() == {}
