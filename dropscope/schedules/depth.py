"""Rates over depth, by the name of the rule."""

from numbers import Integral

from dropscope.errors import closest
from dropscope.masks import check_p

__all__ = ["depth_rates"]


def depth_rates(n: int, p_max: float, rule: str = "linear") -> list[float]:
    """Give each of n layers its probability of dropping, from the first to the last.

    | rule | rate of layer l = 1..n |
    |---|---|
    | `linear` | `p_max · l / n`: the linear decay of the paper on stochastic depth; the first layer drops too |
    | `timm` | `p_max · (l - 1) / (n - 1)`: from 0 to `p_max`; 0 for a single layer |
    | `constant` | `p_max` |
    | `uniform` | `p_max`, by the paper's name |

    A layer with rate 0 is still a layer, whose rate can be raised later.

    Args:
        n: number of layers.
        p_max: the highest rate, in [0, 1].
        rule: name of the rule.

    Returns:
        The n probabilities.

    Raises:
        TypeError: `p_max` is not a number.
        ValueError: `n` is not a whole number of layers, `p_max` is not in [0, 1], or no rule has that name.

    Example:
        >>> depth_rates(4, 0.5)
        [0.125, 0.25, 0.375, 0.5]
        >>> depth_rates(3, 0.5, rule="timm")
        [0.0, 0.25, 0.5]

    Reference:
        Huang et al., 2016, arXiv:1603.09382.
    """
    if not isinstance(n, Integral) or isinstance(n, bool) or n < 0:
        raise ValueError(f"`n` must be a number of layers, 0 or more, got {n!r}.")
    n, p_max = int(n), check_p(p_max)
    shares = {
        "linear": [layer / n for layer in range(1, n + 1)],
        "timm": [layer / max(n - 1, 1) for layer in range(n)],
        "constant": [1.0] * n,
        "uniform": [1.0] * n,
    }
    if rule not in shares:
        raise ValueError(f"`rule` must be the name of a rule, got {rule!r}: {closest(rule, list(shares))}")
    return [p_max * share for share in shares[rule]]
