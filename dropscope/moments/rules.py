"""The table of rules: what becomes of mean and variance in each kind of module and function."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from dropscope.moments.gaussian import smooth
from dropscope.moments.noise import kinds
from dropscope.moments.values import Uncertain

__all__ = ["activation", "find_rule", "has_rule", "register"]

Rule = Callable[..., Any]
RULES: dict[Any, Rule] = {}
RANDOM: set[Any] = set()  # kinds whose outputs are uncertain also where their inputs are known


def register(kind: type[nn.Module] | Callable[..., Any], rule: Rule, *, random: bool = False) -> None:
    """Teach `propagate` a kind of module, or a function that models call.

    Args:
        kind: a class of modules, whose subclasses are meant too unless they have a `forward` of
            their own, or a function.
        rule: for modules `rule(module, *inputs)`, for functions `rule(*args, **kwargs)`, where tensors that dropout
            has touched are `Uncertain`; gives an `Uncertain`. `activation` makes the rule of elementwise functions.
        random: whether the rule is needed also where nothing uncertain goes in, as for dropout.

    Example:
        >>> class Swish(nn.Module):
        ...     def forward(self, x):
        ...         return x * x.sigmoid()
        >>> register(Swish, activation)
    """
    RULES[kind] = rule
    if random:
        RANDOM.add(kind)


def activation(function: Callable[[Tensor], Tensor], value: Uncertain) -> Uncertain:
    """Give the moments of a function that acts on each element, by Gauss-Hermite quadrature with 32 nodes.

    Args:
        function: any function, or module, of one tensor that acts on each element by itself.
        value: its input, whose elements are taken as normal.

    Returns:
        Its output: exact for normal elements up to the error of quadrature, which is small where the function is
        smooth on the scale of their standard deviation.

    Example:
        >>> import torch
        >>> value = Uncertain(torch.zeros(1), torch.ones(1))
        >>> round(activation(torch.square, value).mean.item(), 4)
        1.0
    """
    return value.bent(*smooth(function, value.mean, value.variance))


def find_rule(what: Any) -> Rule | None:
    """Find the rule of a function, or of a module: of the nearest of its classes with one whose `forward` it keeps."""
    return next((RULES[each] for each in _kinds(what) if each in RULES), None)


def has_rule(what: Any, *, random: bool = False) -> bool:
    """Say whether there is a rule, or one that is needed also where nothing uncertain goes in."""
    return any(each in (RANDOM if random else RULES) for each in _kinds(what))


def _kinds(what: Any) -> list[Any]:
    return kinds(what) if isinstance(what, nn.Module) else [what]
