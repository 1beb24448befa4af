"""Replace, insert and remove modules; the names of all others stay, so that checkpoints still load."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from dropscope import layers
from dropscope.layers import DropoutLayer
from dropscope.sites import find
from dropscope.sites.finding import rate_names
from dropscope.surgery.rates import assign

__all__ = ["insert", "replace", "strip"]

INSERTED = "inserted_dropout"

Match = type[nn.Module] | tuple[type[nn.Module], ...] | Callable[[nn.Module], bool]


def replace(
    model: nn.Module,
    old: Match,
    new: type[nn.Module] | Callable[[nn.Module], nn.Module],
    *,
    where: Callable[[str], bool] | None = None,
) -> nn.Module:
    """Put new modules in the place of others.

    A module that stands in several places, of which the first path counts, is replaced by one in all of them. The
    new ones are in training mode where the old ones were. Nothing is changed if one of them cannot be made.

    Args:
        model: any module; it is changed.
        old: what to replace: a class, a tuple of classes, or a function that says so of a module.
        new: a class, which is given the old one's probability of dropping as `p`; or a function that makes the new
            module from the old one, which it may contain.
        where: which of the paths to change; None: all.

    Returns:
        The model; the new module if the model itself was replaced.

    Raises:
        TypeError: `new` is a class and an old module has no probability of dropping, or `new` gave no module.

    Example:
        >>> replace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout2d(0.2)), nn.Dropout2d, nn.AlphaDropout)
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
          (1): AlphaDropout(p=0.2, inplace=False)
        )
    """
    return _swap(model, {module: _made(new, module) for module in _matching(model, old, where)})


def insert(
    model: nn.Module,
    after: Match,
    make: Callable[[], nn.Module],
    *,
    where: Callable[[str], bool] | None = None,
) -> nn.Module:
    """Add dropout to the outputs of modules.

    The new module becomes a child named `inserted_dropout` of the one it follows, and a forward hook calls it: no
    name in the state_dict changes, nn.Sequential keeps its numbers, and copies, pickles, `train`, `eval` and
    torch.compile know it. Of a tuple of outputs the first is dropped. Code that reads the weights of a module without
    calling it passes the new one by.

    Args:
        model: any module; it is changed.
        after: what to follow: a class, a tuple of classes, or a function that says so of a module.
        make: makes one new module each, as `lambda: layers.Dropout(0.1)`.
        where: which of the paths to change; None: all.

    Returns:
        The model.

    Raises:
        TypeError: `make` gave no module.
        ValueError: something is inserted already after one of the modules; nothing is changed.

    Example:
        >>> model = insert(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.ReLU, lambda: nn.Dropout(0.1))
        >>> [site.path for site in find(model)]
        ['1.inserted_dropout']
    """
    followed = _matching(model, after, where)
    for module in followed:
        if hasattr(module, INSERTED):
            raise ValueError(f"`after` must match modules that nothing is inserted after, got {module!r}.")
    new = {module: _checked_module(make(), "make") for module in followed}
    for module, dropout in new.items():
        setattr(module, INSERTED, dropout.train(module.training))
        module.register_forward_hook(_call_inserted)
    return model


def strip(model: nn.Module) -> nn.Module:
    """Remove all dropout; what the model computes in eval stays the same, bit for bit.

    Dropout modules become nn.Identity; dropscope's wrappers leave the module that they wrap, under its own path; what
    does more than drop (nn.LSTM, nn.MultiheadAttention, dropscope's recurrent and graph layers) stays with `p = 0`.

    Args:
        model: any module; it is changed.

    Returns:
        The model; another module if the model itself was dropout.

    Raises:
        ValueError: what a site computes in eval depends on its `p`, as with `inverted=False`; nothing is changed.

    Example:
        >>> strip(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)))
        Sequential(
          (0): Linear(in_features=2, out_features=2, bias=True)
          (1): Identity()
        )
    """
    sites = find(model)
    for site in sites:
        if _eval_depends_on_p(site.module):
            raise ValueError(
                f"the sites of `model` must not use `p` in eval, got {site.module!r} at {site.path!r}: "
                "replace it first, as by surgery.replace."
            )
    new = {site.module: remains for site in sites if (remains := _what_remains(site.module)) is not None}
    assign([(site, 0.0) for site in sites if site.module not in new])
    return _swap(model, new)


def _matching(model: nn.Module, match: Match, where: Callable[[str], bool] | None) -> list[nn.Module]:
    def fits(module: nn.Module) -> bool:
        return isinstance(module, match) if isinstance(match, type | tuple) else match(module)

    return [module for path, module in model.named_modules() if fits(module) and (where is None or where(path))]


def _made(new: type[nn.Module] | Callable[[nn.Module], nn.Module], old: nn.Module) -> nn.Module:
    if not isinstance(new, type):
        return _checked_module(new(old), "new")
    names = rate_names(old)
    if not names:
        raise TypeError(
            f"`new` must be a function where the old module has no `p`, got {new.__name__} for {type(old).__name__}."
        )
    return _checked_module(new(p=getattr(old, names[0]) or 0.0), "new")


def _checked_module(module: Any, argument: str) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise TypeError(f"`{argument}` must give an nn.Module, got {type(module).__name__}.")
    return module


def _swap(model: nn.Module, new: dict[nn.Module, nn.Module]) -> nn.Module:
    """Put the values in the place of the keys, wherever these stand in the model as it was."""
    parents = list(model.modules())
    for old, module in new.items():
        own = set(module.modules()) - set(old.modules())  # a wrapper leaves the modes of what it wraps alone
        for part in own:
            part.training = old.training
    for parent in parents:
        for name, child in list(parent._modules.items()):
            if child in new:
                setattr(parent, name, new[child])
    return new.get(model, model)


def _call_inserted(module: nn.Module, _: Any, output: Any) -> Any:
    dropout = getattr(module, INSERTED)
    return (dropout(output[0]), *output[1:]) if isinstance(output, tuple) else dropout(output)


def _eval_depends_on_p(module: nn.Module) -> bool:
    return (
        isinstance(module, layers.Zoneout)
        or getattr(module, "inverted", True) is False
        or getattr(module, "inference", None) == "moments"
    )


def _what_remains(module: nn.Module) -> nn.Module | None:
    """Give what a dropout module leaves when it is removed; None: itself, with `p = 0`."""
    inner = module
    while isinstance(inner, DropoutLayer) and "module" in inner._modules:
        inner = inner.get_submodule("module")
    if inner is not module:
        return inner
    alone = not module._modules and not any(True for _ in module.parameters())
    return nn.Identity() if alone and _maps_one_tensor_to_one(module) else None


def _maps_one_tensor_to_one(module: nn.Module) -> bool:
    if not isinstance(module, DropoutLayer):
        return True  # the other kinds without parameters of their own all do
    signature = inspect.signature(module.forward)
    return len(signature.parameters) == 1 and signature.return_annotation is Tensor
