"""Dropout whose rate is a parameter of the model, learned by gradient."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from dropscope import functional
from dropscope.functional.learned import check_positive
from dropscope.layers.base import DropoutLayer
from dropscope.layers.divergence import HasDivergence
from dropscope.layers.parameters import Wrapper, read
from dropscope.masks import check_p
from dropscope.masks.arguments import check_axes

__all__ = ["ConcreteDropout"]

SMALLEST = 1e-7  # a rate of exactly 0 or 1 has no gradient and could never move again


class ConcreteDropout(Wrapper, HasDivergence, DropoutLayer):
    """Drop the inputs of a linear or convolutional module at a rate that is learned with its weights.

    Training: `y = module(x · (1 - z) / E[1 - z])`, `z = σ((logit p + logit u) / temperature)`; eval: `module(x)`.
    Add `layers.kl(model) / N` to the loss: without it the rate falls to 0. With few rows the divergence weighs much
    and the rate rises. The parameter is `logit_p`: keep it out of weight decay. `p` can be read and set as in every
    layer; 0 and 1 are held as 1e-7 and 1 - 1e-7, which can still move.

    Args:
        module: nn.Linear, nn.Conv1d, Conv2d or Conv3d, called after dropout.
        p: first probability of dropping, in [0, 1].
        temperature: how soft the mask is, above 0. The noise of an element is a little smaller than `p / (1 - p)`;
            its mean is exactly one at every temperature.
        per: axes of the input that get their own draw, negative ones counted from the end; None: every element.
            `(0, 1)` is spatial dropout of whole channels, for which the authors take the temperature 2/3.
        length_scale: prior length scale `l`: the weights have prior `N(0, 1/l²)`.
        generator: source of randomness; None: torch's own stream.

    Raises:
        TypeError: `module` is of another kind, `p` not a number, or `per` not a tuple of integers.
        ValueError: `p` is not in [0, 1], `temperature` or `length_scale` is not positive, or `per` names an axis twice.

    Example:
        >>> ConcreteDropout(nn.Linear(3, 2))
        ConcreteDropout(
          p=0.1
          (module): Linear(in_features=3, out_features=2, bias=True)
        )

    Reference:
        Gal, Hron & Kendall, 2017, arXiv:1705.07832.
    """

    learned = True
    logit_p: nn.Parameter

    def __init__(
        self,
        module: nn.Module,
        p: float = 0.1,
        *,
        temperature: float = 0.1,
        per: tuple[int, ...] | None = None,
        length_scale: float = 1e-2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p, generator=generator)
        if per is not None:
            check_axes(per)
        check_positive(temperature, "ConcreteDropout: `temperature`")
        check_positive(length_scale, "ConcreteDropout: `length_scale`")
        self.module, self.n_inputs = module, _n_inputs(module)
        self.temperature, self.per, self.length_scale = temperature, per, length_scale
        self.logit_p = nn.Parameter(self.logit_p.detach().to(read(module, "weight").device))

    @property
    def p(self) -> float:
        """Probability of dropping, as learned so far; nan on the meta device, where nothing has a value."""
        return math.nan if self.logit_p.is_meta else self.logit_p.detach().double().sigmoid().item()

    @p.setter
    def p(self, value: float) -> None:
        value = min(max(check_p(value, type(self).__name__), SMALLEST), 1 - SMALLEST)
        logit = math.log(value) - math.log1p(-value)
        if "logit_p" in self._parameters:
            with torch.no_grad():
                self.logit_p.fill_(logit)
        else:
            self.logit_p = nn.Parameter(torch.tensor([logit]))  # one axis: sharding tools refuse numbers

    @property
    def rate(self) -> Tensor:
        """`p` with its gradient."""
        return self.logit_p.sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Call the module, in training mode with its inputs dropped."""
        return self.module(
            functional.concrete_dropout(
                x,
                self.logit_p,
                training=self.training,
                temperature=self.temperature,
                per=self.per,
                generator=self.source,
            )
        )

    def kl(self) -> Tensor:
        """Give `l² / (2q) · ‖W‖² + K · (p ln p + q ln q)` in nats, up to a constant.

        `K` is the number of input units of the module: features, or channels. The weight `W` counts, the bias does
        not: no mask falls on it.
        """
        log_p, log_q = (nn.functional.logsigmoid(sign * self.logit_p.float()).sum() for sign in (1, -1))
        entropy = -(log_p.exp() * log_p + log_q.exp() * log_q)
        weight = read(self.module, "weight").float()
        return self.length_scale**2 / 2 * weight.square().sum() / log_q.exp() - self.n_inputs * entropy

    def shown(self) -> dict[str, Any]:
        """Name the arguments that differ from their defaults."""
        arguments = {"temperature": (self.temperature, 0.1), "per": (self.per, None)}
        arguments["length_scale"] = (self.length_scale, 1e-2)
        changed = {name: value for name, (value, default) in arguments.items() if value != default}
        return {"p": round(self.p, 4), **changed}


def _n_inputs(module: nn.Module) -> int:
    """Count the input units of a module, each of which has a rate."""
    if isinstance(module, nn.Linear):
        return module.in_features
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return module.in_channels
    raise TypeError(
        f"ConcreteDropout: `module` must be nn.Linear, nn.Conv1d, Conv2d or Conv3d, got {type(module).__name__}."
    )
