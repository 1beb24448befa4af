"""Max-norm: exact against a plain reference, idempotent to the bit, and after every step of an optimizer."""

import copy
import math

import pytest
import torch
from torch import nn

from dropscope import constraints, layers


def by_hand(weight, c):
    """The weights with each slice along axis 0 shrunk, one at a time in float64."""
    rows = []
    for row in weight.detach().double():
        norm = math.sqrt(sum(value**2 for value in row.flatten().tolist()))
        rows.append(row * min(1.0, c / norm) if norm else row)
    return torch.stack(rows)


def norms(weight):
    return weight.detach().double().flatten(1).norm(dim=1)


MODULES = [nn.Linear(30, 20), nn.Conv2d(4, 10, 3), nn.Conv1d(6, 4, 2, groups=2), nn.Embedding(20, 8), nn.GRU(7, 9)]


class TestMaxNorm_:
    @pytest.mark.parametrize("module", MODULES, ids=str)
    @pytest.mark.parametrize("c", [0.1, 0.5, 2.0])
    def test_each_unit_is_shrunk_and_biases_are_left(self, module, c):
        module = copy.deepcopy(module)
        before = {name: value.clone() for name, value in module.named_parameters()}
        constraints.max_norm_(module, c)
        for name, value in module.named_parameters():
            if value.ndim == 1:
                assert torch.equal(value, before[name])
            else:
                torch.testing.assert_close(value.double(), by_hand(before[name], c), rtol=2e-6, atol=1e-9)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("size", [1, 7, 513, 20_000])
    def test_no_norm_is_above_c_and_a_second_call_changes_nothing(self, dtype, size, generator):
        weight = (3 * torch.randn(40, size, generator=generator)).to(dtype)
        before = weight.clone()
        constraints.max_norm_(weight, 3.0)
        assert (norms(weight) <= 3.0).all()
        assert ((norms(weight) > 3.0 * (1 - 2 * torch.finfo(dtype).eps - 1e-6)) | (norms(before) <= 3.0)).all()
        once = weight.clone()
        constraints.max_norm_(weight, 3.0)
        assert torch.equal(weight, once)

    @pytest.mark.parametrize("shape", [(40, 20_000), (4, 200_000)])
    def test_long_units_of_one_sign_stay_where_the_first_call_put_them(self, shape, generator):
        weight = torch.randn(shape, generator=generator).abs()
        constraints.max_norm_(weight, 3.0)
        assert (norms(weight) <= 3.0).all()
        assert (norms(weight) > 3.0 * (1 - 1e-6)).all()
        once = weight.clone()
        constraints.max_norm_(weight, 3.0)
        assert torch.equal(weight, once)

    def test_large_weights_do_not_overflow(self):
        weight = torch.full((2, 4), 1e20)
        constraints.max_norm_(weight, 2.0)
        torch.testing.assert_close(weight, torch.ones_like(weight), rtol=1e-6, atol=0)

    def test_units_within_c_keep_every_bit(self):
        weight = torch.randn(50, 9)
        before = weight.clone()
        constraints.max_norm_(weight, 3.0)
        within = norms(before) <= 3.0
        assert torch.equal(weight[within], before[within])
        assert not torch.equal(weight[~within], before[~within])

    def test_half_precision_squares_do_not_overflow(self):
        weight = torch.full((2, 4), 30000.0, dtype=torch.float16)
        constraints.max_norm_(weight, 2.0)
        torch.testing.assert_close(weight, torch.ones_like(weight), rtol=2e-3, atol=0)

    def test_a_unit_of_zeros_stays(self):
        weight = torch.zeros(2, 3)
        constraints.max_norm_(weight, 1.0)
        assert torch.equal(weight, torch.zeros(2, 3))

    def test_tied_weights_are_treated_once(self, monkeypatch):
        model = nn.Module()
        model.encoder, model.decoder = nn.Embedding(7, 5), nn.Linear(5, 7)
        model.decoder.weight = model.encoder.weight
        calls = []
        monkeypatch.setattr(constraints, "_shrink_", lambda *args: calls.append(args))
        constraints.max_norm_(model, 1.0)
        assert len(calls) == 1

    @pytest.mark.parametrize("kind", [nn.ConvTranspose1d, nn.ConvTranspose2d])
    def test_units_of_a_transposed_convolution_lie_on_its_second_axis(self, kind):
        module = kind(6, 4, 3)
        expected = by_hand(module.weight.detach().movedim(1, 0), 0.2).movedim(0, 1)
        constraints.max_norm_(module, 0.2)
        torch.testing.assert_close(module.weight.double(), expected, rtol=2e-6, atol=1e-9)

    def test_a_grouped_transposed_convolution_is_several_small_ones(self):
        module = nn.ConvTranspose2d(6, 4, 3, groups=2)
        parts = [by_hand(part.movedim(1, 0), 0.2).movedim(0, 1) for part in module.weight.detach().chunk(2)]
        constraints.max_norm_(module, 0.2)
        torch.testing.assert_close(module.weight.double(), torch.cat(parts), rtol=2e-6, atol=1e-9)

    @pytest.mark.parametrize("dim", [1, -1])
    def test_the_axis_of_the_units_can_be_named(self, dim):
        weight = torch.randn(8, 9)
        expected = by_hand(weight.T, 0.5).T
        constraints.max_norm_(weight, 0.5, dim=dim)
        torch.testing.assert_close(weight.double(), expected, rtol=2e-6, atol=1e-9)

    def test_variances_are_no_weights(self):
        layer = layers.VariationalLinear(4, 3)
        constraints.max_norm_(layer, 0.1)
        assert (layer.log_variance == -10).all()
        assert (norms(layer.weight) <= 0.1).all()

    def test_frozen_weights_of_a_module_are_left_alone(self):
        model = nn.Sequential(nn.Linear(4, 3), nn.Linear(4, 3))
        model[0].requires_grad_(False)
        model.counts = nn.Parameter(torch.full((2, 2), 9), requires_grad=False)
        before = model[0].weight.clone()
        constraints.max_norm_(model, 0.1)
        assert torch.equal(model[0].weight, before)
        assert (norms(model[1].weight) <= 0.1).all()

    @pytest.mark.parametrize("target", [torch.ones(2, 2, dtype=torch.int64), "weight", [nn.Linear(2, 2)]], ids=repr)
    def test_what_has_no_norm_is_refused(self, target):
        with pytest.raises(TypeError, match="`target` must be a module, or parameters of floating-point numbers, got"):
            constraints.max_norm_(target, 1.0)
        with pytest.raises(TypeError, match="`target` must be a module"):
            constraints.MaxNorm(torch.optim.SGD([torch.ones(1)]), 1.0, target=target)

    def test_no_gradient_is_recorded_and_none_is_lost(self):
        module = nn.Linear(3, 2)
        module(torch.ones(1, 3)).sum().backward()
        constraints.max_norm_(module, 0.1)
        assert module.weight.is_leaf
        assert torch.equal(module.weight.grad, torch.ones(2, 3))

    def test_scales_of_normalisations_are_left_alone_whatever_their_axes(self):
        module = nn.Sequential(nn.LayerNorm([4, 7]), nn.RMSNorm([4, 7]))
        constraints.max_norm_(module, 0.1)
        assert all(torch.equal(norm.weight, torch.ones(4, 7)) for norm in module)

    def test_complex_weights_of_a_module_are_refused_and_kept(self):
        module = nn.Linear(2, 2, dtype=torch.complex64)
        before = module.weight.detach().clone()
        with pytest.raises(TypeError, match=r"floating-point numbers, got torch\.complex64"):
            constraints.max_norm_(module, 0.1)
        assert torch.equal(module.weight, before)

    @pytest.mark.parametrize("dim", [2, 5, -3, (0, 2)])
    def test_axes_that_a_weight_has_not_are_refused(self, dim):
        with pytest.raises(ValueError, match=r"`dim` must be an axis of every weight, got .* for weights \(2, 3\)"):
            constraints.max_norm_(torch.ones(2, 3), 1.0, dim=dim)

    @pytest.mark.parametrize("c", [0.0, -1.0, math.nan, math.inf])
    def test_c_must_be_positive(self, c):
        with pytest.raises(ValueError, match="`c` must be a positive number, got"):
            constraints.max_norm_(nn.Linear(2, 2), c)


def step(model, optimizer):
    optimizer.zero_grad()
    (-model(torch.ones(4, 5)).abs()).sum().backward()  # drives the weights up
    optimizer.step()


class TestMaxNorm:
    @pytest.mark.parametrize("target", [None, "module", "parameters", "one"])
    def test_it_holds_after_every_step_for_what_it_was_given(self, target):
        model = nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 3))
        chosen = {"module": model[0], "parameters": iter([model[0].weight]), "one": model[0].weight, None: None}[target]
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        constraints.MaxNorm(optimizer, 0.7, target=chosen)
        for _ in range(5):
            step(model, optimizer)
            assert (norms(model[0].weight) <= 0.7).all()
            assert (norms(model[1].weight) <= 0.7).all() == (target is None)

    def test_parameters_added_to_the_optimizer_later_are_constrained_too(self):
        first, second = nn.Linear(5, 6), nn.Linear(6, 3)
        optimizer = torch.optim.SGD(first.parameters(), lr=1.0)
        constraints.MaxNorm(optimizer, 0.7)
        optimizer.add_param_group({"params": list(second.parameters())})
        step(nn.Sequential(first, second), optimizer)
        assert (norms(second.weight) <= 0.7).all()

    def test_frozen_parameters_of_the_optimizer_are_left_alone(self):
        model = nn.Sequential(nn.Linear(5, 6), nn.Linear(6, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        constraints.MaxNorm(optimizer, 0.1)
        model[0].requires_grad_(False)
        before = model[0].weight.clone()
        step(model, optimizer)
        assert torch.equal(model[0].weight, before)
        assert (norms(model[1].weight) <= 0.1).all()

    def test_removed_it_does_nothing_more(self):
        model = nn.Linear(5, 6)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        with constraints.MaxNorm(optimizer, 0.7):
            step(model, optimizer)
            assert (norms(model.weight) <= 0.7).all()
        step(model, optimizer)
        assert (norms(model.weight) > 0.7).all()

    def test_the_optimizer_can_be_saved_and_loaded(self):
        model = nn.Linear(5, 6)
        optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
        constraints.MaxNorm(optimizer, 0.7)
        step(model, optimizer)
        twin = torch.optim.Adam(model.parameters(), lr=1.0)
        twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        assert set(twin.state_dict()) == {"state", "param_groups"}

    def test_c_is_checked_at_once(self):
        with pytest.raises(ValueError, match="`c` must be a positive number"):
            constraints.MaxNorm(torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0), -1.0)
