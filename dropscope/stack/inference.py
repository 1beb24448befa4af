"""What trained models are used for: outputs of many at once, and one of them as a plain torch network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dropscope.stack.layout import Parameters, outputs, pad_columns, stacked
from dropscope.stack.shape import Fitted, Shape, as_rates

__all__ = ["forward", "to_sequential"]

MODULES = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU}
ROWS, MODELS = 256, 16  # so many rows of so many models stay in cache; outputs depend on neither


@torch.no_grad()
def forward(fitted: Sequence[Fitted], x: Tensor) -> Tensor:
    """Run trained models of one shape on the same rows, without dropout.

    Args:
        fitted: the models.
        x: rows (rows, encoded columns), in the dtype and on the device to compute in.

    Returns:
        Outputs (models, rows, outputs).

    Raises:
        ValueError: no models, or another number of columns than they were trained on.
    """
    if not fitted:
        raise ValueError("`fitted` must hold at least one model, got none.")
    if x.dim() != 2 or x.shape[1] != len(fitted[0].weights[0]):
        raise ValueError(f"`x` must be (rows, {len(fitted[0].weights[0])}), got {tuple(x.shape)}.")

    activation = fitted[0].activation
    models = [Parameters(model.weights, model.biases) for model in fitted]
    size = len(fitted[0].biases[-1])
    result = x.new_empty(len(models), len(x), size)
    for start in range(0, len(models), MODELS):
        chunk = models[start : start + MODELS]
        stack = stacked(chunk if len(chunk) > 1 else chunk * 2, x.dtype, x.device)
        for rows, out in zip(x.split(ROWS), result[start : start + MODELS].split(ROWS, 1), strict=True):
            shared = pad_columns(rows).expand(len(stack.weights[0]), -1, -1)
            out.copy_(outputs(stack, shared, activation)[: len(chunk), :, :size])
    return result


def to_sequential(fitted: Fitted, shape: Shape, p_input: float, p_hidden: float | tuple[float, ...]) -> nn.Sequential:
    """Turn a trained model into plain torch layers: Linear, activation and Dropout.

    For prediction the network is exact. In train mode its leading `nn.Dropout(p_input)` draws one mask per encoded
    column, where training drew one per table column.

    Args:
        fitted: the trained model.
        shape: its shape.
        p_input: probability of dropping an input; 0 leaves the layer out.
        p_hidden: probability of dropping a hidden unit, one for all layers or one for each; 0 leaves the layers out.

    Returns:
        The network, in eval mode.
    """
    rates = as_rates(p_hidden, shape.depth)
    layers: list[nn.Module] = [nn.Dropout(p_input)] if p_input > 0 else []
    for layer, (weight, bias) in enumerate(zip(fitted.weights, fitted.biases, strict=True)):
        linear = nn.utils.skip_init(nn.Linear, *weight.shape, dtype=weight.dtype)
        linear.load_state_dict({"weight": weight.T, "bias": bias})
        layers.append(linear)
        if layer < shape.depth:
            layers.append(MODULES[shape.activation]())
            layers += [nn.Dropout(rates[layer])] if rates[layer] > 0 else []
    return nn.Sequential(*layers).eval()
