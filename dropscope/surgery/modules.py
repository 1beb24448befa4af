"""Put modules in the place of others, wherever these stand in a model."""

import inspect
from collections.abc import Callable

from torch import nn

from dropscope.sites.finding import rate_names
from dropscope.surgery.inserting import carry_inserted, check_can_carry
from dropscope.surgery.matching import Match, checked_module, matching

__all__ = ["replace", "swap"]


def replace(
    model: nn.Module,
    old: Match,
    new: type[nn.Module] | Callable[[nn.Module], nn.Module],
    *,
    where: Callable[[str], bool] | None = None,
) -> nn.Module:
    """Put new modules in the place of others.

    A module that stands in several places, of which the first path counts, is replaced by one in all of them. The
    new ones are in training mode where the old ones were, and what was inserted after an old one follows the new one;
    other hooks go with the old modules. Nothing is changed if one of them cannot be made.

    Args:
        model: any module; it is changed.
        old: what to replace: a class, a tuple of classes, or a function that says so of a module.
        new: a class, which is given the old one's probability of dropping as `p`; or a function that makes the new
            module from the old one, which it may contain.
        where: which of the paths to change; None: all.

    Returns:
        The model; the new module if the model itself was replaced.

    Raises:
        TypeError: `new` is a class that takes no `p`, or whose old module has none; or `new` gave no module.
        ValueError: no module matches.

    Example:
        >>> replace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout2d(0.2)), nn.Dropout2d, nn.AlphaDropout)
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
          (1): AlphaDropout(p=0.2, inplace=False)
        )
    """
    return swap(model, {module: _made(new, module) for module in matching(model, old, "old", where)})


def swap(model: nn.Module, new: dict[nn.Module, nn.Module]) -> nn.Module:
    """Put the values in the place of the keys, wherever these stand in the model as it was."""
    for old, module in new.items():
        check_can_carry(old, module)
    parents = list(model.modules())

    for old, module in new.items():
        own = set(module.modules()) - set(old.modules())  # a wrapper leaves the modes of what it wraps alone
        for part in own:
            part.training = old.training
    for parent in parents:
        for name, child in list(parent._modules.items()):
            if child in new:
                setattr(parent, name, new[child])
    for old, module in new.items():
        carry_inserted(old, module)
    return new.get(model, model)


def _made(new: type[nn.Module] | Callable[[nn.Module], nn.Module], old: nn.Module) -> nn.Module:
    if not isinstance(new, type):
        return checked_module(new(old), "new")
    names = rate_names(old)
    if not names:
        raise TypeError(
            f"`new` must be a function where the old module has no `p`, got {new.__name__} for {type(old).__name__}."
        )
    parameters = inspect.signature(new).parameters
    if "p" not in parameters and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        raise TypeError(
            f"`new` must be a class that takes `p`, got {new.__name__}: "
            f"give a function that makes it, as `lambda old: {new.__name__}(...)`."
        )
    return checked_module(new(p=getattr(old, names[0]) or 0.0), "new")
