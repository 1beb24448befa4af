"""The same training the plain way: one network, autograd and torch's own losses and optimizers."""

import torch
from torch import nn
from torch.nn import functional

from dropscope.stack.layout import initial
from dropscope.stack.noise import Batches, Noise

OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": lambda parameters, **options: torch.optim.SGD(parameters, momentum=0.9, **options),
}
MODULES = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU}


def plain_network(member, shape):
    """The member as an nn.Sequential with the weights it begins with, and the stream of its batches."""
    generator = torch.Generator().manual_seed(member.seed)
    drawn = initial(shape, generator)
    start = member.start or drawn
    layers = []
    for weight, bias in zip(start.weights, start.biases, strict=True):
        linear = nn.Linear(*weight.shape, dtype=torch.float64)
        linear.load_state_dict({"weight": weight.T, "bias": bias})
        layers += [linear, MODULES[shape.activation]()]
    rows = member.fit if member.weights is None else member.fit[member.weights[member.fit] > 0]
    return nn.Sequential(*layers[:-1]), Batches(rows, generator)


def weights_over(member, rows):
    """What the rows count for the member, with a mean of one over the first of them."""
    weights = torch.ones(200, dtype=torch.float64) if member.weights is None else member.weights.double()
    return weights / weights[rows[weights[rows] > 0]].mean()


def losses_of(z, y, smoothing=0.0, form=None):
    """The loss of every row, by torch; of labels and quantiles, the shape tells."""
    if form is not None and form.task == "multilabel":
        labels = y * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(z, labels, reduction="none").mean(1)
    if form is not None and form.quantile is not None:
        return torch.maximum(form.quantile * (y - z), (form.quantile - 1) * (y - z)).mean(1)
    if y.is_floating_point():
        return functional.mse_loss(z, y, reduction="none").mean(1)
    return functional.cross_entropy(z, y, reduction="none", label_smoothing=smoothing)


def plain_training(x, y, member, shape, optimizer="adamw", steps=50, batch_size=20, smoothing=0.0):
    """Train one member with the very batches and masks it has in a stack; return the network and both losses."""
    network, batches = plain_network(member, shape)
    noise = Noise([member], [batches], shape, batch_size, x.dtype)
    descent = OPTIMIZERS[optimizer](network.parameters(), lr=member.lr, weight_decay=member.weight_decay)
    weights = weights_over(member, member.fit)
    losses = []
    for _ in range(steps):
        step = noise.step("cpu")
        h = x[step.rows[0]] * step.inputs[0, :, : x.shape[1]] / (1 - member.p_input)
        hidden = iter(step.hidden)
        for layer in network:
            h = layer(h)
            if not isinstance(layer, nn.Linear):
                h = h * next(hidden)[0, :, : shape.width] / (1 - member.p_hidden)
        losses.append((weights[step.rows[0]] * losses_of(h, y[step.rows[0]], smoothing, shape)).mean())
        descent.zero_grad()
        losses[-1].backward()
        descent.step()

    shares = weights_over(member, member.stop)[member.stop]
    stop_loss = (shares * losses_of(network(x[member.stop]), y[member.stop], form=shape)).sum() / shares.sum()
    return network, torch.stack(losses).mean().item(), stop_loss.item()
