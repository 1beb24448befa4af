"""A rate per hidden layer: the law of each layer's masks, one rate as before, and the gradient of plain torch."""

import pytest
import torch
from small_tables import same, shape, table
from torch import nn

from dropscope.stack import Member, to_sequential, train
from dropscope.stack.noise import Batches, Noise

OPTIONS = {"optimizer": "sgd", "batch_size": 20, "epochs": 3, "extend": False}


def test_a_rate_of_zero_in_every_layer_is_no_dropout_bit_for_bit(make_member, generator):
    form = shape(depth=3)
    x, y = table(form, generator)
    member = make_member()
    layered = make_member(seed=member.seed, mask_seed=member.mask_seed, fit=member.fit, stop=member.stop,
                          p_hidden=(0.0, 0.0, 0.0))  # fmt: skip
    one, other = train(x, y, [member, layered], form, **OPTIONS)
    assert same(one, other)


def test_each_layer_drops_with_its_own_rate(make_member, seed):
    form, rates = shape(width=64, depth=3), (0.1, 0.0, 0.7)
    member = make_member(p_hidden=rates)
    batches = Batches(member.fit, torch.Generator().manual_seed(seed))
    noise = Noise([member], [batches], form, 50, torch.float64)
    kept = torch.stack([torch.stack(noise.step("cpu").hidden) for _ in range(64)]).double()
    for layer, p in enumerate(rates):
        drawn = kept[:, layer].numel()
        error = (p * (1 - p) / drawn) ** 0.5
        assert abs((1 - kept[:, layer]).mean().item() - p) <= 5 * error


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_one_step_is_that_of_torch_with_the_same_masks(make_member, generator, activation):
    """Plain torch, with each layer's mask and its own scale written out."""
    form, rates = shape(depth=2, activation=activation), (0.2, 0.6)
    x, y = table(form, generator)
    member = make_member(p_hidden=rates, lr=0.1)
    options = {**OPTIONS, "optimizer": "sgd", "epochs": 1, "steps_per_epoch": 1, "keep": "last"}
    (fitted,) = train(x, y, [member], form, **options)
    start = train(x, y, [make_member(seed=member.seed, fit=member.fit, stop=member.stop, lr=1e-300)], form, **options)[
        0
    ]

    stream = torch.Generator().manual_seed(member.seed)
    for inputs, outs in zip(form.sizes[:-1], form.sizes[1:], strict=True):
        torch.randn(inputs, outs, dtype=torch.float64, generator=stream)  # the initial weights come first
    step = Noise([member], [Batches(member.fit, stream)], form, 20, torch.float64).step("cpu")
    weights = [w.clone().requires_grad_() for w in start.weights]
    biases = [b.clone().requires_grad_() for b in start.biases]
    a = x[step.rows[0]]
    for layer, p in enumerate(rates):
        h = getattr(torch, activation)(a @ weights[layer] + biases[layer])
        a = h * step.hidden[layer][0, :, : h.shape[1]] / (1 - p)
    loss = (a @ weights[2] + biases[2] - y[step.rows[0]]).square().mean()
    for got, before, gradient in zip(
        [*fitted.weights, *fitted.biases], [*weights, *biases],
        torch.autograd.grad(loss, [*weights, *biases]), strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(got, before.detach() - 0.1 * gradient, rtol=1e-10, atol=1e-12)


def test_the_plain_network_has_each_layers_dropout(make_member, generator):
    form, rates = shape(depth=3), (0.1, 0.0, 0.4)
    x, y = table(form, generator)
    (fitted,) = train(x, y, [make_member(p_hidden=rates)], form, **OPTIONS)
    network = to_sequential(fitted, form, 0.0, rates)
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == [0.1, 0.4]


def test_rates_that_are_not_one_a_layer_are_refused(make_member, generator):
    form = shape(depth=3)
    x, y = table(form, generator)
    with pytest.raises(ValueError, match=r"one per hidden layer \(3\)"):
        train(x, y, [make_member(p_hidden=(0.1, 0.2))], form, **OPTIONS)
    rows = torch.arange(3)
    for bad in ((0.1, 1.0), ()):
        with pytest.raises(ValueError, match=r"`p_hidden` must be in \[0, 1\)"):
            Member(0.0, bad, 0.1, 0.0, seed=0, mask_seed=0, fit=rows, stop=rows)
