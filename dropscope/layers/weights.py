"""Dropout of the weights of a wrapped module, which are drawn anew for each forward pass and never overwritten."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from dropscope import functional, masks
from dropscope.functional.arguments import check_input
from dropscope.functional.learned import sample_normal
from dropscope.layers.base import DropoutLayer
from dropscope.layers.parameters import Wrapper, call_with, is_linear_map, linear_map, read
from dropscope.masks.arguments import check_axes

__all__ = ["DropConnect", "WeightDrop"]


class WeightDrop(Wrapper, DropoutLayer):
    """Drop named weights of any module in training, once per forward pass; the module as it is in eval.

    `W' = W · mask / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`: one mask for the whole batch and all time steps. The
    module keeps its parameters, under the names `module.*`; tied weights, `torch.nn.utils.parametrizations`,
    copies and checkpoints work as without it. A parameter with two names is dropped where it is named. Threads may
    share the layer; in training they take turns.

    Args:
        module: the module whose weights are dropped, called with whatever it takes.
        names: names of its parameters, dotted where they belong to a part of it: `["rnn.weight_hh_l0"]`.
        p: probability of dropping, in [0, 1].
        per: axes of the weights that get their own draw; None: every weight. `(0,)` drops whole rows.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `p` is not a number, `names` not a list of strings, or `per` not a tuple of integers.
        ValueError: `p` is not in [0, 1], `names` holds no name of a parameter, or `per` names one axis twice.

    Example:
        >>> WeightDrop(nn.Linear(3, 2), ["weight", "bias"], 0.3)
        WeightDrop(
          p=0.3, names=['weight', 'bias']
          (module): Linear(in_features=3, out_features=2, bias=True)
        )

    Reference:
        Merity, Keskar & Socher, 2017, arXiv:1708.02182.
    """

    def __init__(
        self,
        module: nn.Module,
        names: Sequence[str],
        p: float = 0.5,
        *,
        per: tuple[int, ...] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p, generator=generator)
        if isinstance(names, str) or not names or not all(isinstance(name, str) for name in names):
            raise TypeError(f"`names` must be a list of names of parameters, got {names!r}.")
        if per is not None:
            check_axes(per)
        for name in names:
            read(module, name)
        self.module, self.names, self.per = module, list(names), per

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module, in training mode with its named weights dropped."""
        return call_with(self.module, self.dropped, args, kwargs) if self.training else self.module(*args, **kwargs)

    def dropped(self) -> dict[str, Tensor]:
        """Draw the named weights anew: what a forward pass in training mode computes with."""
        masks.refuse_seeds(type(self).__name__)
        weights = {name: read(self.module, name) for name in self.names}
        distinct = {id(weight): weight for weight in weights.values()}
        drawn = {
            key: functional.dropout(weight, self.rate, training=True, per=self.per, generator=self.source)
            for key, weight in distinct.items()
        }
        return {name: drawn[id(weight)] for name, weight in weights.items()}

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        return {"names": self.names} | ({} if self.per is None else {"per": self.per})


class DropConnect(WeightDrop):
    """Drop single weights of a linear, convolutional or recurrent module in training.

    `y = (W · mask / q) x + b`, `mask ~ Bernoulli(q)`, `q = 1 - p`. A recurrent module drops its hidden-to-hidden
    weights. One mask serves the whole batch (Wan et al. draw one per example and drop the bias too); under
    `torch.vmap(layer, randomness="different")` every example has its own.

    `per=(1,)` drops whole columns, which is dropout of the layer's inputs. `per=(0,)` drops whole rows: dropout of
    its outputs before the bias, and after an activation `a` only where the bias is 0 and `a(0) = 0`.

    Args:
        module: nn.Linear, nn.Conv1d, Conv2d, Conv3d, or nn.RNN, LSTM, GRU.
        p: probability of dropping, in [0, 1].
        per: axes of the weight that get their own draw; None: every weight.
        inference: what eval does: "weights" computes with the weights as they are, "moments" draws each output from
            the normal distribution with its exact mean and variance over all masks (see `moments`). The mean of an
            activation over several such draws is nearer to its mean over masks than one pass.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `module` is of another kind, `p` not a number, or `per` not a tuple of integers.
        ValueError: `p` is not in [0, 1], `per` names one axis twice, or `inference` is not one of the two; or it is
            "moments" with a recurrent module or with `per`.

    Example:
        >>> DropConnect(nn.Linear(3, 2), 0.3)
        DropConnect(
          p=0.3
          (module): Linear(in_features=3, out_features=2, bias=True)
        )

    Reference:
        Wan et al., 2013, ICML, PMLR 28(3):1058-1066.
    """

    def __init__(
        self,
        module: nn.Module,
        p: float = 0.5,
        *,
        per: tuple[int, ...] | None = None,
        inference: str = "weights",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(module, _connections(module), p, per=per, generator=generator)
        if inference not in ("weights", "moments"):
            raise ValueError(f'`inference` must be "weights" or "moments", got {inference!r}.')
        self.inference = inference
        if inference == "moments":
            self._check_moments()

    def forward(self, x: Tensor | PackedSequence, *args: Any, **kwargs: Any) -> Any:
        """Call the module, in training mode with its weights dropped."""
        check_input(x.data if isinstance(x, PackedSequence) else x)
        if self.training and is_linear_map(self.module) and not (args or kwargs):
            weight, bias = self.dropped()["weight"], read(self.module, "bias")
            return linear_map(self.module)(cast(Tensor, x), weight, bias)
        if self.training or self.inference == "weights":
            return super().forward(x, *args, **kwargs)
        return sample_normal(*self.moments(cast(Tensor, x)), generator=self.source)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give the exact mean and variance of each output over all masks.

        `mean = W x + b`, `variance = p/q · (W∘W)(x∘x)`.

        Args:
            x: input of the module.

        Returns:
            Mean and variance, both shaped like the output.

        Raises:
            ValueError: the module is recurrent, weights share draws, or `p` is 1.

        Example:
            >>> mean, variance = DropConnect(nn.Linear(3, 2), 0.3).moments(torch.zeros(1, 3))
            >>> variance
            tensor([[0., 0.]], grad_fn=<MmBackward0>)
        """
        self._check_moments()
        weight, bias = read(self.module, "weight"), read(self.module, "bias")
        return functional.drop_connect_moments(x, weight, self.rate, bias, linear=linear_map(self.module))

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        shown = {} if self.per is None else {"per": self.per}
        return shown if self.inference == "weights" else {**shown, "inference": self.inference}

    @property
    def is_transparent(self) -> bool:
        """Whether the layer computes exactly what its module does."""
        return not self.training and self.inference == "weights"

    def _check_moments(self) -> None:
        if isinstance(self.module, nn.RNNBase) or self.per is not None:
            raise ValueError(
                "the moments of DropConnect must be those of a linear or convolutional module with `per=None`, "
                f"got {type(self.module).__name__} with per={self.per}."
            )


def _connections(module: nn.Module) -> list[str]:
    """Name the weights that DropConnect drops."""
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return ["weight"]
    if isinstance(module, nn.RNNBase):
        directions = ("", "_reverse")[: 1 + module.bidirectional]
        return [f"weight_hh_l{layer}{direction}" for layer in range(module.num_layers) for direction in directions]
    raise TypeError(
        "`module` must be nn.Linear, nn.Conv1d, Conv2d, Conv3d, nn.RNN, LSTM or GRU, "
        f"got {type(module).__name__}: name the weights of other modules in WeightDrop."
    )
