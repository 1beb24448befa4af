"""What models are used for: outputs of many at once, in training or after it, and one of them as a torch network."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dropscope.stack.layout import Parameters, outputs, pad_columns, stacked
from dropscope.stack.shape import Fitted, Shape, as_rates

__all__ = ["Snapshot", "forward", "to_sequential"]

MODULES = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU}
ROWS, MODELS = 256, 16  # so many rows of so many models stay in cache; outputs depend on neither


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The models of a stack in training: `models` holds each one's position in `members`, None for a passenger."""

    parameters: Parameters
    models: list[int | None]
    shape: Shape

    def __call__(self, x: Tensor, only: Collection[int] | None = None) -> Tensor:
        """Outputs (models, rows, outputs) of the recorded models, or only some, on shared rows, without dropout."""
        parameters = self.parameters
        places = [place for place, model in enumerate(self.models) if model is not None]
        if only is not None:
            chosen = [place for place in places if self.models[place] in only]
            pair = chosen if len(chosen) > 1 else chosen * 2  # a product of one matrix would round differently
            parameters = parameters.select(torch.tensor(pair, dtype=torch.int64, device=parameters.weights[0].device))
            places = [*range(len(chosen))]
        shared = pad_columns(x.to(parameters.weights[0])).expand(len(parameters.weights[0]), -1, -1)
        return outputs(parameters, shared, self.shape.activation)[places, :, : self.shape.outputs]

    def copy(self) -> "Snapshot":
        """The models as they are now, whatever training does to them later."""
        every = torch.arange(len(self.models), device=self.parameters.weights[0].device)
        return Snapshot(self.parameters.select(every), self.models, self.shape)


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
