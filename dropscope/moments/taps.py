"""Standard noise, at zero, in the place of every random draw of a forward pass: what gradients are taken by."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from dropscope import functional
from dropscope.moments.noise import FUNCTIONS, Noise, bernoulli_noise, unsupported

__all__ = ["Arguments", "Interception", "Tap", "Taps"]

Arguments = Mapping[str, Any]  # of the call of a layer that is tapped: by name, "x" the first, "called" as they came


@dataclass(frozen=True, eq=False)
class Tap:
    """The noise of one site in one forward pass.

    Attributes:
        epsilon: the noise, zeros whose gradient is wanted.
        axis: the axis that holds the rows, or several draws of each row in turn; None: there is one row, or it cannot
            be told.
    """

    epsilon: Tensor
    axis: int | None

    def by_row(self, gradient: Tensor, rows: int) -> Tensor:
        """Sort a gradient into one line of draws for each row."""
        return gradient.movedim(self.axis or 0, 0).reshape(rows, -1)


class Taps:
    """All noise of a forward pass: `y = mean + amplitude · ε` at `ε = 0`, one `ε` per draw and row.

    Which axis of an inner tensor holds the rows is told by a pass over a single row: it is the one whose size differs
    there.

    Args:
        single: the shapes that were met in the pass over a single row; None: this is it, or there is but one row.
    """

    def __init__(self, single: Sequence[torch.Size] | None = None) -> None:
        self.single = single
        self.shapes: list[torch.Size] = []
        self.taps: list[Tap] = []
        self.attention_p = 0.0  # rate of the attention layer that is running

    @property
    def is_single(self) -> bool:
        """Whether there is but one row."""
        return self.single is None

    def noisy(self, x: Tensor, noise: Noise) -> Tensor:
        """Give the mean of a site's output, from now on with a gradient with respect to its noise."""
        return self.shifted(noise.mean(x), noise.amplitude(x), noise.draws(x))

    def shifted(self, mean: Tensor, amplitude: Tensor, draws: Sequence[int]) -> Tensor:
        """Give `mean + amplitude · ε` with an `ε` of the shape `draws`, and of as many rows as there are.

        The amplitude is taken as it is: its own gradient is multiplied by `ε = 0`.
        """
        axis = self._row_axis(amplitude.shape)
        shape = [size if i != axis else amplitude.shape[i] for i, size in enumerate(draws)]
        epsilon = self.leaf(shape, axis, amplitude)
        return mean + (amplitude.detach() * epsilon).to(mean.dtype)

    def leaf(self, shape: Sequence[int], axis: int | None, like: Tensor) -> Tensor:
        """Make the noise of one site."""
        if not torch.is_grad_enabled():
            raise unsupported("dropout", "", "runs where nothing can be differentiated, as in a reentrant checkpoint")
        epsilon = torch.zeros(shape, dtype=like.dtype, device=like.device, requires_grad=True)
        self.taps.append(Tap(epsilon, axis))
        return epsilon

    def _row_axis(self, shape: torch.Size) -> int | None:
        position = len(self.shapes)
        self.shapes.append(shape)
        if self.single is None:
            return None
        alone = self.single[position] if position < len(self.single) else shape
        differing = [axis for axis, (size, one) in enumerate(zip(shape, alone, strict=False)) if size != one]
        return differing[0] if len(differing) == 1 and len(alone) == len(shape) else None

    @contextmanager
    def attending(self, p: float) -> Iterator[None]:
        """Tap the weights of the attention that runs inside the block."""
        before, self.attention_p = self.attention_p, p
        try:
            yield
        finally:
            self.attention_p = before


class Interception(TorchFunctionMode):
    """Replaces torch's own dropout functions, whoever calls them, by their mean and a tap.

    Args:
        taps: where noise is added.
        seen: called before each replacement.
    """

    def __init__(self, taps: Taps, seen: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.taps, self.seen = taps, seen

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the replacement, where there is one that drops; nothing switches derivatives off."""
        if function is torch._C._set_grad_enabled:  # as torch.no_grad does: what follows from dropout would seem fixed
            return None
        replacement = REPLACEMENTS.get(function)
        replaced = None if replacement is None else replacement(self.taps, *args, **kwargs or {})
        if replaced is None:
            return function(*args, **kwargs or {})
        self.seen()
        return replaced


def _dropped(law: Callable[[Tensor, float], Noise], default: bool) -> Callable[..., Tensor | None]:
    """The replacement of one of torch's dropout functions, whose `training` is by default as given."""

    def replacement(
        taps: Taps, input: Tensor, p: float = 0.5, training: bool = default, inplace: bool = False
    ) -> Tensor | None:
        if not training:
            return None
        noisy = taps.noisy(input, law(input, p))
        return input.copy_(noisy) if inplace else noisy

    return replacement


def _attention(
    taps: Taps,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor | None:
    p = dropout_p or taps.attention_p
    if p == 0:
        return None
    options: dict[str, Any] = {"attn_mask": attn_mask, "is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    weights = taps.noisy(functional.attention_weights(query, key, **options), bernoulli_noise(p))
    repeats = query.shape[-3] // value.shape[-3] if enable_gqa else 1
    return weights @ (value.repeat_interleave(repeats, -3) if enable_gqa else value)


REPLACEMENTS: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    **{function: _dropped(*law) for function, law in FUNCTIONS.items()},
    torch.dropout: lambda taps, input, p, train: _dropped(*FUNCTIONS[F.dropout])(taps, input, p, train),
    F.scaled_dot_product_attention: _attention,
}
