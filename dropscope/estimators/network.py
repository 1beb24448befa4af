"""The trained network as one torch module, as it is used for predicting."""

import copy

import torch
from torch import Tensor, nn

from dropscope import ensemble, stack

__all__ = ["ColumnDropout", "assemble", "outputs", "passes"]

ROWS = 8192  # run at once, which bounds the memory of their activations
CACHE = 2**20  # bytes of passes run together: no more, since what is tried by the clock is not rounded alike each time


class ColumnDropout(nn.Module):
    """Inverted dropout of table columns: the encoded columns of one are dropped together, as in training.

    Args:
        p: probability of dropping a table column.
        columns: for each encoded column, the index of its table column.
    """

    columns: Tensor

    def __init__(self, p: float, columns: tuple[int, ...]) -> None:
        super().__init__()
        self.dropout = nn.Dropout(p)
        self.register_buffer("columns", torch.tensor(columns))

    def forward(self, x: Tensor) -> Tensor:
        """Drop from x (rows, encoded columns)."""
        ones = x.new_ones(len(x), int(self.columns.max()) + 1)
        return x * self.dropout(ones).index_select(1, self.columns)


def assemble(fitted: stack.Fitted, shape: stack.Shape, p_input: float, p_hidden: float) -> nn.Sequential:
    """Build the network of a trained model, in float64: a row's rounding errors then depend on no other row by more
    than 1e-15.

    Args:
        fitted: the trained model.
        shape: its shape.
        p_input: probability of dropping a table column.
        p_hidden: probability of dropping a hidden unit.

    Returns:
        `stack.to_sequential`'s network, dropping whole table columns at its input.
    """
    network = stack.to_sequential(fitted, shape, p_input, p_hidden)
    if p_input > 0:
        network[0] = ColumnDropout(p_input, shape.columns)
    return network.double().eval()


@torch.no_grad()
def outputs(network: nn.Sequential, x: Tensor) -> Tensor:
    """Run the network without dropout (weight scaling)."""
    return torch.cat([network(part) for part in x.double().split(ROWS)])


def passes(
    network: nn.Sequential, x: Tensor, n_samples: int, mask_seed: int, transform: str | None = None
) -> ensemble.Prediction:
    """Run the network under the same `n_samples` masks whatever the rows, so that no row depends on another.

    It is a copy that runs: meanwhile other threads may use the network.
    """
    generator = torch.Generator().manual_seed(mask_seed)
    return ensemble.predict(
        copy.deepcopy(network), x.double(), n_samples, generator=generator, masks="fixed", transform=transform,
        memory=CACHE, progress=False,
    )  # fmt: skip
