"""Drop elements, or whole slices along the axes outside `per`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dropscope import masks
from dropscope.functional.arguments import check_input, check_rate

__all__ = ["dropout"]


def dropout(
    x: Tensor,
    p: float | Tensor,
    *,
    training: bool,
    per: Sequence[int] | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero elements of `x` at random and scale the others so that the mean stays.

    `y = x · mask / q`, `mask ~ Bernoulli(q)`, `q = 1 - p`. What is dropped is 0 even where `x` is inf or nan.

    Args:
        x: floating-point tensor of any shape.
        p: probability of dropping, in [0, 1]. A 0-dimensional tensor changes without recompiling traced code.
        training: whether to drop; if not, `x` itself is returned.
        per: axes that get their own draw, negative ones counted from the end; None: every element.
            `(0, 1)` drops whole channels of each sample.
        generator: source of randomness; None: torch's own stream.

    Returns:
        A tensor with the shape, type and device of `x`.

    Raises:
        TypeError: `x` is not real floating-point, or `p` not a number.
        ValueError: `p` is not in [0, 1], or `per` does not name distinct axes of `x`.

    Example:
        >>> x = torch.ones(2, 3)
        >>> dropout(x, 0.5, training=False) is x
        True

    Reference:
        Srivastava et al., 2014, JMLR 15(56):1929-1958.
    """
    check_input(x)
    p = check_rate(p)
    return masks.drop(x, p, per=per, generator=generator) if training else x
