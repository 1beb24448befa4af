"""Drop the same features at every time step of a sequence."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from dropscope import masks
from dropscope.functional.arguments import check_input, check_rate

__all__ = ["features", "locked_dropout", "with_features"]


def locked_dropout(
    x: Tensor | PackedSequence,
    p: float | Tensor,
    *,
    training: bool,
    batch_first: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor | PackedSequence:
    """Zero features at random, the same ones at every time step of a sequence, and scale the others by `1 / q`.

    `y[t, b, h] = x[t, b, h] · mask[b, h] / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`. A packed sequence is dropped with
    the masks that the padded one would get.

    Args:
        x: sequences, (time, batch, features) or packed; (time, features) is one sequence.
        p: probability of dropping, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        training: whether to drop; if not, `x` itself is returned.
        batch_first: whether `x` is (batch, time, features); packed and single sequences are the same either way.
        generator: source of randomness; None: torch's own stream.

    Returns:
        Sequences like `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], or `x` has neither two nor three axes.

    Example:
        >>> y = locked_dropout(torch.ones(5, 2, 4), 0.5, training=True)
        >>> torch.equal(y[0], y[4])
        True

    Reference:
        Gal & Ghahramani, 2016, arXiv:1512.05287; as a layer: Merity, Keskar & Socher, 2018, arXiv:1708.02182.
    """
    check_input(features(x))
    p = check_rate(p)
    if isinstance(x, PackedSequence):
        return _drop_packed(x, p, generator) if training else x
    if x.dim() not in (2, 3):
        raise ValueError(f"`x` must have the axes time, batch and features, or time and features, got {x.dim()} axes.")
    if not training:
        return x

    if x.dim() == 2:
        return masks.drop(x, p, per=(1,), generator=generator)
    if batch_first:
        return masks.drop(x, p, per=(0, 2), generator=generator)
    return masks.drop(x.transpose(0, 1), p, per=(0, 2), generator=generator).transpose(0, 1)


def features(x: Tensor | PackedSequence) -> Tensor:
    """Take the features out of padded or packed sequences."""
    return x.data if isinstance(x, PackedSequence) else x


def with_features(x: Tensor | PackedSequence, new: Tensor) -> Tensor | PackedSequence:
    """Give the sequences in `x` other features."""
    return PackedSequence(new, *x[1:]) if isinstance(x, PackedSequence) else new


def _drop_packed(x: PackedSequence, p: float | Tensor, generator: torch.Generator | None) -> Tensor | PackedSequence:
    shape = (int(x.batch_sizes[0]), *x.data.shape[1:])
    keep = masks.keep(shape, p, dtype=x.data.dtype, device=x.data.device, generator=generator)
    if x.sorted_indices is not None:
        keep = keep[x.sorted_indices]

    # The sequences of a packed batch get shorter: at each time step it holds a row of each of the first so many.
    row_of = torch.cat([torch.arange(size) for size in x.batch_sizes.tolist()]).to(x.data.device)
    return with_features(x, x.data.masked_fill(~keep[row_of], 0) * masks.scale(p))
