"""A stack of models is those models: gradients against autograd, 50 steps against plain torch."""

from itertools import pairwise

import pytest
import torch
from plain_torch import MODULES, OPTIMIZERS, losses_of, plain_training
from small_tables import shape, table
from torch import nn

from dropscope.stack import train
from dropscope.stack.layout import initial, outputs, pad_columns, stacked
from dropscope.stack.losses import BatchLoss
from dropscope.stack.network import Network
from dropscope.stack.noise import Step
from dropscope.stack.weighting import RowWeights

STEPS, BATCH = 50, 20
TASKS = [
    ("regression", 1),
    ("regression", 2),
    ("regression", 9),
    ("classification", 3),
    ("multilabel", 1),
    ("multilabel", 9),
    ("quantile", 1),
    ("quantile", 9),
]


def assert_equal_to_plain_trainings(x, y, members, form, optimizer="adamw", smoothing=0.0):
    """Compare weights and losses of a stack after 50 steps with those of plain trainings."""
    options = {"optimizer": optimizer, "batch_size": BATCH, "steps_per_epoch": STEPS, "extend": False}
    fitted = train(x, y, members, form, epochs=1, label_smoothing=smoothing, **options)
    for member, model in zip(members, fitted, strict=True):
        network, fit_loss, stop_loss = plain_training(x, y, member, form, optimizer, STEPS, BATCH, smoothing)
        linears = [layer for layer in network if isinstance(layer, nn.Linear)]
        for linear, weight, bias in zip(linears, model.weights, model.biases, strict=True):
            torch.testing.assert_close(weight, linear.weight.detach().T, rtol=0, atol=1e-10)
            torch.testing.assert_close(bias, linear.bias.detach(), rtol=0, atol=1e-10)
        assert model.fit_curve == pytest.approx([fit_loss], abs=1e-10)
        assert model.stop_curve == pytest.approx([stop_loss], abs=1e-10)


def different_members(make_member, **options):
    """Five members with different rates, learning rates and weight decays."""
    rates = [(0.0, 0.0), (0.25, 0.5), (0.1, 0.0), (0.0, 0.3), (0.003, 0.6)]
    return [
        make_member(
            p_input=p_input, p_hidden=p_hidden, lr=[1e-3, 1e-4][i % 2], weight_decay=[0, 0.1, 0.01][i % 3], **options
        )
        for i, (p_input, p_hidden) in enumerate(rates)
    ]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("task", "outputs"), TASKS)
@pytest.mark.parametrize("columns", [(0, 1, 2, 3, 4), (0, 1, 1, 2, 2)])
def test_a_stack_equals_plain_sequential_trainings_over_fifty_steps(
    optimizer, task, outputs, columns, make_member, generator
):
    form = shape(outputs, width=13, depth=3, columns=columns, task=task)
    x, y = table(form, generator)
    assert_equal_to_plain_trainings(x, y, different_members(make_member), form, optimizer)


@pytest.mark.parametrize(("task", "outputs"), TASKS)
def test_weighted_members_equal_plain_weighted_trainings(task, outputs, make_member, generator):
    form = shape(outputs, width=13, task=task)
    x, y = table(form, generator)
    weights = torch.rand(3, 200, dtype=torch.float64, generator=generator) * torch.tensor([[1e-9], [1.0], [1e9]])
    weights[:, torch.randperm(200, generator=generator)[:40]] = 0
    weighted = [make_member(weights=line, p_hidden=0.3, lr=1e-3) for line in weights]
    counts = make_member(weights=torch.randint(4, (200,), generator=generator), p_input=0.2)
    assert_equal_to_plain_trainings(x, y, [*weighted, counts, make_member()], form)


@pytest.mark.parametrize("activation", ["gelu", "tanh", "silu"])
@pytest.mark.parametrize(("task", "outputs"), [("regression", 1), ("classification", 3), ("quantile", 2)])
def test_other_activations_equal_plain_trainings(activation, task, outputs, make_member, generator):
    form = shape(outputs, width=13, task=task, activation=activation, initialisation="glorot")
    x, y = table(form, generator)
    assert_equal_to_plain_trainings(x, y, different_members(make_member), form)


@pytest.mark.parametrize("task", ["classification", "multilabel"])
@pytest.mark.parametrize("smoothing", [0.1, 0.9])
def test_smoothed_labels_equal_plain_trainings(smoothing, task, make_member, generator):
    form = shape(3, width=13, task=task)
    x, y = table(form, generator)
    members = [*different_members(make_member), make_member(weights=torch.rand(200, generator=generator))]
    assert_equal_to_plain_trainings(x, y, members, form, smoothing=smoothing)


@pytest.mark.parametrize("activation", MODULES)
@pytest.mark.parametrize(("task", "outputs_"), TASKS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradients_are_those_of_autograd(activation, task, outputs_, weighted, generator):
    form = shape(outputs_, width=13, depth=3, task=task, activation=activation)
    x, y = table(form, generator)
    models, batch = 4, 30
    parameters = stacked([initial(form, generator) for _ in range(models)], torch.float64, "cpu")
    for bias, (_, outs) in zip(parameters.biases, pairwise(form.sizes), strict=True):
        bias[..., :outs].normal_(generator=generator)
    weights = torch.rand(models, 200, dtype=torch.float64, generator=generator) if weighted else None
    smoothing = 0.2 if task in ("classification", "multilabel") else 0.0
    p_input, p_hidden = torch.rand(2, models, 1, 1, dtype=torch.float64, generator=generator) * 0.5
    counts = RowWeights(weights, torch.arange(models)) if weighted else None
    loss = BatchLoss(form, counts, smoothing)
    network = Network(parameters, form, loss, batch, 1 / (1 - p_input), [1 / (1 - p_hidden)] * form.depth)
    sizes = [activation.shape[2] for activation in network.activations]
    masks = [torch.randint(2, (models, batch, size), dtype=torch.int8, generator=generator) for size in sizes]
    rows = torch.randint(200, (models, batch), generator=generator)
    targets = pad_columns(y) if task != "classification" and outputs_ > 1 else y
    losses = network.step(pad_columns(x), targets, Step(rows, masks[0], masks[1:]))

    for tensor in parameters.tensors():
        tensor.requires_grad_()
    a = pad_columns(x)[rows] * masks[0] / (1 - p_input)
    for weight, bias, mask in zip(parameters.weights, parameters.biases, masks[1:], strict=False):
        a = MODULES[activation]()(a @ weight + bias) * mask / (1 - p_hidden)
    last = parameters.weights[-1]
    z = (a @ (last.transpose(1, 2) if outputs_ == 1 else last[..., :outputs_])) + parameters.biases[-1][..., :outputs_]
    chosen = zip(z, rows, strict=True)
    expected = torch.stack([losses_of(own, y[batch], smoothing, form) for own, batch in chosen])
    expected = (expected * (weights.gather(1, rows) if weighted else 1)).mean(1)
    expected.sum().backward()

    torch.testing.assert_close(losses, expected.detach(), rtol=1e-12, atol=1e-12)
    for tensor, gradient in zip(parameters.tensors(), network.gradients.tensors(), strict=True):
        torch.testing.assert_close(gradient, tensor.grad, rtol=1e-12, atol=1e-12)


def test_padded_weights_stay_zero(make_member, generator):
    form = shape(3, width=13)
    x, y = table(form, generator)
    seen = []
    members = [make_member(p_input=0.2, p_hidden=0.3, weight_decay=0.1) for _ in range(3)]
    train(
        x,
        y,
        members,
        form,
        epochs=2,
        batch_size=20,
        extend=False,
        probe_epochs=[2],
        probe=lambda epoch, forward, indices: seen.append(forward.parameters),
    )
    for weight, (inputs, outs) in zip(seen[0].weights, [(5, 13), (13, 13), (13, 3)], strict=True):
        assert weight[:, inputs:].count_nonzero() == 0
        assert weight[:, :, outs:].count_nonzero() == 0
        assert weight[:, :inputs, :outs].count_nonzero() > 0


def test_the_outputs_of_a_padded_stack_are_those_of_its_models(generator):
    form = shape(3, width=13)
    models = [initial(form, generator) for _ in range(3)]
    x = torch.randn(7, 5, dtype=torch.float64, generator=generator)
    z = outputs(stacked(models, torch.float64, "cpu"), pad_columns(x).expand(3, -1, -1), "relu")
    for model, found in zip(models, z, strict=True):
        h = torch.relu(x @ model.weights[0] + model.biases[0])
        h = torch.relu(h @ model.weights[1] + model.biases[1])
        torch.testing.assert_close(found[:, :3], h @ model.weights[2] + model.biases[2], rtol=1e-12, atol=1e-12)
