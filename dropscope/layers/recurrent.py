"""LSTM, GRU and plain recurrent network whose dropout masks are tied over time."""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from dropscope import functional
from dropscope.functional.arguments import check_input
from dropscope.functional.locked import features
from dropscope.layers.base import DropoutLayer
from dropscope.masks import check_p

__all__ = ["VariationalGRU", "VariationalLSTM", "VariationalRNN"]

Hidden = Tensor | tuple[Tensor, ...]  # a pair in an LSTM, whose second part is the cell state


class OwnRate:
    """The probability of dropping in one place of a layer: the layer's `p` until it is set, and again after None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: "VariationalBase", owner: type | None = None) -> float:
        return layer.own_rates[self.name][0] if self.name in layer.own_rates else layer.p

    def __set__(self, layer: "VariationalBase", p: float | None) -> None:
        if p is None:
            layer.own_rates.pop(self.name, None)
        else:
            p = check_p(p, f"{type(layer).__name__}.{self.name}")
            with torch.inference_mode(False):  # training saves it for backward
                layer.own_rates[self.name] = p, torch.tensor(p, dtype=torch.float64, device="cpu")


class VariationalBase(nn.RNNBase, DropoutLayer):
    """What the three networks share; torch's base class gives them the parameters, by the names torch gives them."""

    twin: type[nn.RNNBase]
    p_input = OwnRate()
    p_hidden = OwnRate()
    p_output = OwnRate()

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        p: float = 0.5,
        p_input: float | None = None,
        p_hidden: float | None = None,
        p_output: float | None = None,
        gates: str = "tied",
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            self.mode,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
        )
        if gates not in ("tied", "untied"):
            raise ValueError(f"{type(self).__name__}: `gates` must be 'tied' or 'untied', got {gates!r}.")
        self.own_rates: dict[str, tuple[float, Tensor]] = {}
        self.p, self.p_input, self.p_hidden, self.p_output = p, p_input, p_hidden, p_output
        self.gates = gates
        self.generator = generator

    @classmethod
    def from_torch(cls, module: nn.RNNBase, **options: Any) -> Self:
        """Make the twin of `module` that drops and holds the very same parameters.

        Args:
            module: the network to take the place of; its own `dropout` is left behind.
            options: further arguments, such as `p` and `gates`.

        Returns:
            The new network, in the mode of the module.

        Raises:
            TypeError: `module` is another kind of network.
            ValueError: `module` projects its hidden state (`proj_size`).
        """
        if not isinstance(module, cls.twin):
            raise TypeError(f"`module` must be an nn.{cls.twin.__name__}, got {type(module).__name__}.")
        if module.proj_size:
            raise ValueError(f"`module` must have `proj_size` 0, got {module.proj_size}.")
        same = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional"]
        same += ["nonlinearity"] * isinstance(module, nn.RNN)

        network = cls(**{name: getattr(module, name) for name in same}, device="meta", **options)
        for name, parameter in module.named_parameters():
            setattr(network, name, parameter)
        return network.train(module.training)

    def forward(self, x: Tensor | PackedSequence, hx: Hidden | None = None) -> tuple[Tensor | PackedSequence, Hidden]:
        """Run the network as torch's module does, on padded, single or packed sequences.

        Args:
            x: sequences, (time, batch, features), (batch, time, features) with `batch_first`, (time, features) or
                packed.
            hx: initial state as in torch's module; None: zeros.

        Returns:
            Output and final state, as torch's module gives them.
        """
        check_input(features(x))
        state = (hx,) if isinstance(hx, Tensor) else hx
        if isinstance(x, PackedSequence):
            output, state = self._run(x, state, x.batch_sizes)
        elif x.dim() == 2:
            output, state = self._run(x.unsqueeze(1), state and tuple(part.unsqueeze(1) for part in state))
            output, state = output.squeeze(1), tuple(part.squeeze(1) for part in state)
        elif self.batch_first:
            output, state = self._run(x.transpose(0, 1), state)
            output = output.transpose(0, 1)
        else:
            output, state = self._run(x, state)
        return output, state if self.mode == "LSTM" else state[0]

    def _run(
        self, x: Tensor | PackedSequence, state: tuple[Tensor, ...] | None, batch_sizes: Tensor | None = None
    ) -> tuple[Any, tuple[Tensor, ...]]:
        """Run the network on (time, batch, features) or packed sequences, whose size it checks with torch's words."""
        self.check_input(features(x), batch_sizes)
        batch = features(x).shape[1] if batch_sizes is None else int(batch_sizes[0])
        shape = (self.num_layers * (1 + self.bidirectional), batch, self.hidden_size)
        parts = 2 if self.mode == "LSTM" else 1
        if state is None:
            state = (features(x).new_zeros(shape),) * parts
        if len(state) != parts:
            raise ValueError(f"`hx` must hold {parts} tensor{'s' * (parts > 1)}, got {len(state)}.")
        for part in state:
            self.check_hidden_size(part, shape)

        return functional.variational_rnn(
            x,
            state,
            self.all_weights,
            mode=self.mode,
            p_input=self._rate("p_input"),
            p_hidden=self._rate("p_hidden"),
            p_output=self._rate("p_output"),
            training=self.training,
            gates=self.gates,
            bidirectional=self.bidirectional,
            generator=self.source,
        )

    def _rate(self, name: str) -> float | Tensor:
        own = self.own_rates.get(name)
        return self.rate if own is None else own[torch.compiler.is_compiling()]

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        own = {name: p for name, (p, _) in self.own_rates.items()}
        return own | ({} if self.gates == "tied" else {"gates": self.gates})

    def extra_repr(self) -> str:
        """Show the sizes as torch does, then the dropout."""
        return f"{nn.RNNBase.extra_repr(self)}, {DropoutLayer.extra_repr(self)}"


class VariationalLSTM(VariationalBase):
    """An `nn.LSTM` that in training drops inputs, hidden units and outputs, the same ones at all time steps.

    `(i, f, g, o)[t] = W_ih (x[t] · mask_x / q) + W_hh (h[t-1] · mask_h / q) + biases`, each mask drawn once per
    sequence and forward pass; the output is `h[t] · mask_y / q`, and the cell state is never dropped. Parameters have
    the names and shapes of `nn.LSTM`, whose `state_dict` can be loaded; in eval and at `p = 0` its kernel runs.

    Args:
        input_size: features of the input.
        hidden_size: hidden units.
        num_layers: layers one above the other.
        p: probability of dropping, in [0, 1], wherever no other is given.
        p_input: that of a feature of each layer's input; None: `p`.
        p_hidden: that of a hidden unit on its way to the next step's gates; None: `p`.
        p_output: that of a feature of the last layer's output; None: `p`.
        gates: "tied" for one mask for all gates, "untied" for one each.
        bias: whether there are biases.
        batch_first: whether the batch is the first axis of padded sequences.
        bidirectional: whether each layer also runs backwards in time, with masks of its own.
        generator: source of randomness; None: torch's own stream. Under activation checkpointing leave it None.
        device: where the parameters lie.
        dtype: floating-point type of the parameters.

    Raises:
        TypeError: a probability is not a number.
        ValueError: a probability is not in [0, 1], or `gates` is neither "tied" nor "untied".

    Example:
        >>> lstm = VariationalLSTM(3, 4, num_layers=2, p=0.5, p_hidden=0.25)
        >>> y, (h, c) = lstm(torch.ones(5, 2, 3))
        >>> y.shape, h.shape, c.shape
        (torch.Size([5, 2, 4]), torch.Size([2, 2, 4]), torch.Size([2, 2, 4]))

    Reference:
        Gal & Ghahramani, 2016, arXiv:1512.05287.
    """

    mode = "LSTM"
    twin = nn.LSTM


class VariationalGRU(VariationalBase):
    """An `nn.GRU` that in training drops inputs, hidden units and outputs, the same ones at all time steps.

    The masks stand where `VariationalLSTM` has them, before the gates' matrices; the old value that the update gate
    carries over is not dropped.

    Args:
        input_size: features of the input.
        hidden_size: hidden units.
        num_layers: layers one above the other.
        options: as for `VariationalLSTM`.

    Example:
        >>> VariationalGRU(3, 4, p=0.25, gates="untied")
        VariationalGRU(3, 4, p=0.25, gates='untied')

    Reference:
        Gal & Ghahramani, 2016, arXiv:1512.05287.
    """

    mode = "GRU"
    twin = nn.GRU


class VariationalRNN(VariationalBase):
    """An `nn.RNN` that in training drops inputs, hidden units and outputs, the same ones at all time steps.

    `h[t] = tanh(W_ih (x[t] · mask_x / q) + W_hh (h[t-1] · mask_h / q) + biases)`.

    Args:
        input_size: features of the input.
        hidden_size: hidden units.
        num_layers: layers one above the other.
        nonlinearity: "tanh" or "relu".
        options: as for `VariationalLSTM`; both kinds of `gates` are the same here, where there is one gate.

    Raises:
        ValueError: `nonlinearity` is neither "tanh" nor "relu".

    Example:
        >>> VariationalRNN(3, 4, nonlinearity="relu")(torch.ones(5, 2, 3))[0].shape
        torch.Size([5, 2, 4])

    Reference:
        Gal & Ghahramani, 2016, arXiv:1512.05287.
    """

    mode = "RNN_TANH"
    twin = nn.RNN

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, *, nonlinearity: str = "tanh", **options: Any
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, **options)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"VariationalRNN: `nonlinearity` must be 'tanh' or 'relu', got {nonlinearity!r}.")
        self.nonlinearity = nonlinearity
        self.mode = f"RNN_{nonlinearity.upper()}"
