"""Max-norm and momentum in a stack: those of plain torch, and no neighbour has a say in them."""

import pytest
import torch
from plain_torch import plain_network
from small_tables import same, shape, table
from torch import nn
from torch.nn import functional

from dropscope.constraints import max_norm_
from dropscope.stack import train
from dropscope.stack.noise import Noise
from dropscope.stack.optimizer import StackOptimizer

C = 0.8  # below the norms that weights start from, about 1.4: every step has something to shrink
OPTIONS = {"batch_size": 20, "extend": False}


def hidden_norms(model):
    """Norms of the incoming weights of every hidden unit, layer by layer."""
    return [weight.double().norm(dim=0) for weight in model.weights[:-1]]


def plain(x, y, member, form, steps, **options):
    """Train one nn.Module step by step with torch's SGD, and `max_norm_` on its hidden layers after every step."""
    network, batches = plain_network(member, form)
    noise = Noise([member], [batches], form, 20, x.dtype)
    descent = torch.optim.SGD(network.parameters(), lr=member.lr, weight_decay=member.weight_decay, **options)
    linears = [layer for layer in network if isinstance(layer, nn.Linear)]
    for _ in range(steps):
        step = noise.step("cpu")
        h, hidden = x[step.rows[0]], iter(step.hidden)
        for layer in network:
            h = layer(h)
            if not isinstance(layer, nn.Linear):
                h = h * next(hidden)[0, :, : form.width] / (1 - member.p_hidden)
        loss_of = functional.mse_loss if form.task == "regression" else functional.cross_entropy
        descent.zero_grad()
        loss_of(h, y[step.rows[0]]).backward()
        descent.step()
        max_norm_([linear.weight for linear in linears[:-1]], C)
    return linears


@pytest.mark.parametrize(("outputs", "width", "depth"), [(1, 13, 3), (3, 13, 1), (1, 1, 2), (4, 1, 1)])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, False), (0.5, True), (0.0, False)])
def test_a_stack_equals_a_module_trained_step_by_step(
    outputs, width, depth, momentum, nesterov, make_member, generator
):
    form = shape(outputs, width=width, depth=depth)
    x, y = table(form, generator)
    members = [make_member(p_hidden=p, lr=lr, weight_decay=decay)
               for p, lr, decay in [(0.0, 0.05, 0.0), (0.3, 0.01, 0.1), (0.6, 0.1, 0.0)]]  # fmt: skip
    descent = {"momentum": momentum, "nesterov": nesterov}
    fitted = train(x, y, members, form, epochs=1, steps_per_epoch=30, keep="last", optimizer="sgd", max_norm=C,
                   **descent, **OPTIONS)  # fmt: skip
    for member, model in zip(members, fitted, strict=True):
        linears = plain(x, y, member, form, 30, **descent)
        for linear, weight, bias in zip(linears, model.weights, model.biases, strict=True):
            torch.testing.assert_close(weight, linear.weight.detach().T, rtol=0, atol=1e-10)
            torch.testing.assert_close(bias, linear.bias.detach(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_hidden_unit_leaves_the_ball_and_outputs_may(optimizer, dtype, make_member, generator):
    form = shape(3, width=16)
    x, y = table(form, generator, dtype)
    members = [make_member(p_hidden=p, lr=0.05) for p in (0.0, 0.5)]
    options = {"epochs": 10, "optimizer": optimizer, "keep": "last", **OPTIONS}
    bounded, free = (train(x, y, members, form, max_norm=c, **options) for c in (C, None))
    for inside, outside in zip(bounded, free, strict=True):
        assert max(float(norms.max()) for norms in hidden_norms(inside)) <= C
        assert max(float(norms.max()) for norms in hidden_norms(outside)) > C
        assert float(inside.weights[-1].norm(dim=0).max()) > C


def test_a_bound_that_is_never_reached_changes_no_bit(make_member, generator):
    form = shape()
    x, y = table(form, generator, torch.float32)
    members = [make_member(p_hidden=p) for p in (0.0, 0.4)]
    options = {"epochs": 4, **OPTIONS}
    pairs = zip(train(x, y, members, form, **options), train(x, y, members, form, max_norm=1e6, **options), strict=True)
    assert all(same(a, b) for a, b in pairs)


@pytest.mark.parametrize("width", [1, 33, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bounded_models_do_not_depend_on_batch_mates_or_threads(width, dtype, make_member, generator):
    form = shape(3, width=width, columns=(0, 1, 2, 2, 3))
    x, y = table(form, generator, dtype)
    members = [make_member(p_hidden=0.1 * i, lr=0.01 * (1 + i % 3), stop=torch.arange(9 + 30 * i)) for i in range(6)]
    options = {"epochs": 5, "patience": 2, "optimizer": "sgd", "nesterov": True, "max_norm": C, "steps_per_epoch": 3,
               **OPTIONS}  # fmt: skip
    together = train(x, y, members, form, **options)
    alone = [train(x, y, [member], form, **options)[0] for member in members]
    torch.set_num_threads(2)
    others = (alone, train(x, y, members[::-1], form, **options)[::-1])
    for other in others:
        assert all(same(a, b) for a, b in zip(together, other, strict=True))


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, False), (0.9, True), (0.3, True), (0.0, False)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_momentum_of_every_model_is_that_of_torch_bit_for_bit(momentum, nesterov, dtype, generator):
    """Three models with settings of their own, of which one leaves midway, against three optimizers of torch."""
    settings, sizes = [(0.1, 0.0), (0.1, 0.01), (0.2, 0.0)], [(3, 16, 32), (3, 1, 16)]
    tensors = [torch.randn(size, dtype=dtype, generator=generator) for size in sizes]
    gradients = [torch.zeros_like(tensor) for tensor in tensors]
    options = {"momentum": momentum, "nesterov": nesterov}
    alone = [[nn.Parameter(tensor[i].clone()) for tensor in tensors] for i in range(3)]
    apart = [
        torch.optim.SGD(own, lr=lr, weight_decay=decay, fused=True, **options)
        for own, (lr, decay) in zip(alone, settings, strict=True)
    ]
    together = StackOptimizer("sgd", tensors, gradients, settings, **options)
    models = [0, 1, 2]
    for step in range(8):
        if step == 4:
            models, staying = [0, 2], torch.tensor([0, 2])
            tensors = [tensor.index_select(0, staying) for tensor in tensors]
            gradients = [torch.zeros_like(tensor) for tensor in tensors]
            together = together.select(tensors, gradients, staying)
        for layer, gradient in enumerate(gradients):
            gradient.normal_(generator=generator)
            for place, model in enumerate(models):
                alone[model][layer].grad = gradient[place].clone()
        together.step()
        for place, model in enumerate(models):
            apart[model].step()
            for tensor, own in zip(tensors, alone[model], strict=True):
                assert torch.equal(tensor[place], own)


def test_sgd_has_momentum_of_nine_tenths_unless_told_otherwise(make_member, generator):
    form = shape()
    x, y = table(form, generator)
    options = {"epochs": 3, "optimizer": "sgd", **OPTIONS}
    member = make_member()
    (usual,), (same_one,), (other,) = (
        train(x, y, [member], form, **given, **options) for given in ({}, {"momentum": 0.9}, {"momentum": 0.8})
    )
    assert same(usual, same_one)
    assert not same(usual, other)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "sgd", "momentum": 1.0}, r"`momentum` must be in \[0, 1\)"),
        ({"optimizer": "adam", "momentum": 0.5}, "`momentum` is that of sgd, got adam"),
        ({"optimizer": "adamw", "nesterov": True}, "`nesterov` is that of sgd, got adamw"),
        ({"optimizer": "sgd", "nesterov": True, "momentum": 0.0}, "`nesterov` needs a `momentum` above 0"),
        ({"max_norm": 0.0}, "`max_norm` must be a positive number, got 0.0"),
        ({"max_norm": float("nan")}, "`max_norm` must be a positive number"),
    ],
)
def test_what_lies_outside_is_one_clear_line(given, message, make_member, generator):
    form = shape()
    x, y = table(form, generator)
    with pytest.raises(ValueError, match=message):
        train(x, y, [make_member()], form, epochs=1, **given)
