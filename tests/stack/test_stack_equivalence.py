"""A stack of models is those models: gradients against autograd, 50 steps against plain torch."""

import pytest
import torch
from small_tables import shape, table
from torch import nn
from torch.nn import functional

from dropscope.stack import train
from dropscope.stack.layout import initial, outputs, pad_columns, stacked
from dropscope.stack.network import Network, row_losses
from dropscope.stack.noise import Batches, Noise, Step

OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": lambda parameters, **options: torch.optim.SGD(parameters, momentum=0.9, **options),
}
STEPS, BATCH = 50, 20


def plain_network(member, shape):
    """The member as an nn.Sequential with its initial weights, and the stream of its batches."""
    generator = torch.Generator().manual_seed(member.seed)
    start = initial(shape, generator)
    layers = []
    for weight, bias in zip(start.weights, start.biases, strict=True):
        linear = nn.Linear(*weight.shape, dtype=torch.float64)
        linear.load_state_dict({"weight": weight.T, "bias": bias})
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]), Batches(member.fit, generator)


def plain_training(x, y, member, shape, optimizer):
    """Train one member the plain way, with the very batches and masks it has in a stack."""
    network, batches = plain_network(member, shape)
    noise = Noise([member], [batches], shape, BATCH, x.dtype)
    descent = OPTIMIZERS[optimizer](network.parameters(), lr=member.lr, weight_decay=member.weight_decay)
    loss_of = functional.mse_loss if shape.task == "regression" else functional.cross_entropy
    losses = []
    for _ in range(STEPS):
        step = noise.step("cpu")
        h = x[step.rows[0]] * step.inputs[0, :, : x.shape[1]] / (1 - member.p_input)
        hidden = iter(step.hidden)
        for layer in network:
            h = layer(h)
            if isinstance(layer, nn.ReLU):
                h = h * next(hidden)[0, :, : shape.width] / (1 - member.p_hidden)
        losses.append(loss_of(h, y[step.rows[0]]))
        descent.zero_grad()
        losses[-1].backward()
        descent.step()
    return network, torch.stack(losses).mean().item(), loss_of(network(x[member.stop]), y[member.stop]).item()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("columns", [(0, 1, 2, 3, 4), (0, 1, 1, 2, 2)])
def test_a_stack_equals_plain_sequential_trainings_over_fifty_steps(
    optimizer, outputs, columns, make_member, generator
):
    form = shape(outputs, width=13, depth=3, columns=columns)
    x, y = table(form, generator)
    rates = [(0.0, 0.0), (0.25, 0.5), (0.1, 0.0), (0.0, 0.3), (0.003, 0.6)]
    members = [
        make_member(p_input=p_input, p_hidden=p_hidden, lr=[1e-3, 1e-4][i % 2], weight_decay=[0, 0.1, 0.01][i % 3])
        for i, (p_input, p_hidden) in enumerate(rates)
    ]

    options = {"optimizer": optimizer, "batch_size": BATCH, "steps_per_epoch": STEPS, "extend": False}
    fitted = train(x, y, members, form, epochs=1, **options)

    for member, model in zip(members, fitted, strict=True):
        network, fit_loss, stop_loss = plain_training(x, y, member, form, optimizer)
        linears = [layer for layer in network if isinstance(layer, nn.Linear)]
        for linear, weight, bias in zip(linears, model.weights, model.biases, strict=True):
            torch.testing.assert_close(weight, linear.weight.detach().T, rtol=0, atol=1e-10)
            torch.testing.assert_close(bias, linear.bias.detach(), rtol=0, atol=1e-10)
        assert model.fit_curve == pytest.approx([fit_loss], abs=1e-10)
        assert model.stop_curve == pytest.approx([stop_loss], abs=1e-10)


@pytest.mark.parametrize("outputs_", [1, 3])
@pytest.mark.parametrize("width", [8, 13])
def test_the_gradients_are_those_of_autograd(outputs_, width, generator):
    form = shape(outputs_, width=width, depth=3)
    x, y = table(form, generator)
    models, batch = 4, 30
    parameters = stacked([initial(form, generator) for _ in range(models)], torch.float64, "cpu")
    for bias in parameters.biases[:-1]:
        bias.normal_(generator=generator)
    p_input, p_hidden = torch.rand(2, models, 1, 1, dtype=torch.float64, generator=generator) * 0.8
    network = Network(parameters, form, batch, 1 / (1 - p_input), 1 / (1 - p_hidden))
    sizes = [activation.shape[2] for activation in network.activations]
    masks = [torch.randint(2, (models, batch, size), dtype=torch.int8, generator=generator) for size in sizes]
    rows = torch.randint(200, (models, batch), generator=generator)
    losses = network.step(pad_columns(x), y.view(-1), Step(rows, masks[0], masks[1:]))

    for tensor in parameters.tensors():
        tensor.requires_grad_()
    a = pad_columns(x)[rows] * masks[0] / (1 - p_input)
    layers = zip(parameters.weights, parameters.biases, masks[1:], strict=False)
    for weight, bias, mask in layers:
        a = torch.relu(a @ weight + bias) * mask / (1 - p_hidden)
    last = parameters.weights[-1]
    z = (
        a @ (last.transpose(1, 2) if outputs_ == 1 else last)
        + parameters.biases[-1][..., : 1 if outputs_ == 1 else None]
    )
    expected = row_losses(z, y.view(-1)[rows], form).mean(1)
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
        probe=lambda epoch, forward, indices: seen.append(forward.__self__.network.parameters),
    )
    for weight, (inputs, outs) in zip(seen[0].weights, [(5, 13), (13, 13), (13, 3)], strict=True):
        assert weight[:, inputs:].count_nonzero() == 0
        assert weight[:, :, outs:].count_nonzero() == 0
        assert weight[:, :inputs, :outs].count_nonzero() > 0


def test_the_outputs_of_a_padded_stack_are_those_of_its_models(generator):
    form = shape(3, width=13)
    models = [initial(form, generator) for _ in range(3)]
    x = torch.randn(7, 5, dtype=torch.float64, generator=generator)
    z = outputs(stacked(models, torch.float64, "cpu"), pad_columns(x).expand(3, -1, -1))
    for model, found in zip(models, z, strict=True):
        h = torch.relu(x @ model.weights[0] + model.biases[0])
        h = torch.relu(h @ model.weights[1] + model.biases[1])
        torch.testing.assert_close(found[:, :3], h @ model.weights[2] + model.biases[2], rtol=1e-12, atol=1e-12)
