"""Switch on what drops, and nothing else, in a model that otherwise stays in eval."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from dropscope.ensemble.reading import drops_in_own_code, normalises_in_own_code
from dropscope.errors import NoDropoutFound, closest
from dropscope.moments.calls import check_model
from dropscope.sites.finding import listed, rate_names
from dropscope.sites.modes import modes

__all__ = ["Only", "chosen", "dropout_on", "no_dropout", "switched"]

Only = str | Sequence[str] | Callable[[str, nn.Module], bool] | None


@contextmanager
def dropout_on(model: nn.Module, only: Only = None) -> Iterator[nn.Module]:
    """Let the dropout of a model drop until the end of the `with` block, with all the rest of it in eval.

    On are torch's and dropscope's dropout layers, those of other packages, nn.MultiheadAttention, nn.LSTM, GRU and
    RNN with dropout between layers, and modules whose own code drops as their `training` says, as functional dropout
    and Hugging Face's attention do. Batch norm uses its running statistics and leaves them alone. The model's `train`
    and `eval` are never called, and every mode is put back, also after an exception. Gradients are not touched.

    Args:
        model: any module.
        only: what to switch on: the path of a module, which stands for everything inside it, several of them, or a
            function of path and module; None: all. A named module in which nothing is known to drop is switched on
            itself, so that what drops in a way of its own can be named.

    Yields:
        The model.

    Raises:
        NoDropoutFound: nothing in the model, or nothing that `only` chooses, drops.
        ValueError: `only` names a path that is not there.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.BatchNorm1d(100), nn.Dropout(0.5)).eval()
        >>> with dropout_on(model), torch.no_grad():
        ...     (model(torch.ones(1, 100)) == 0).any().item(), model[0].training
        (True, False)
        >>> model[1].training
        False

    Reference:
        Gal & Ghahramani, 2016, arXiv:1506.02142.
    """
    on = chosen(model, only)
    if not on:
        raise no_dropout(model, "none that is switched on" if only is not None else "none with p > 0")
    with switched(model, on):
        yield model


def chosen(model: nn.Module, only: Only) -> list[nn.Module]:
    """List the modules that drop and are chosen, in the order of registration."""
    check_model(model)
    named = dict(model.named_modules(remove_duplicate=False))
    rates = {site.module for site in listed(model) if site.p > 0}
    drops = {
        path: module
        for path, module in named.items()
        if module in rates or (not rate_names(module) and drops_in_own_code(module))
    }
    if only is None:
        return list(dict.fromkeys(drops.values()))
    if callable(only):
        return list(dict.fromkeys(module for path, module in drops.items() if only(path, module)))

    found: dict[nn.Module, None] = {}
    for root in [only] if isinstance(only, str) else only:
        if root not in named:
            raise ValueError(f"`only` must name modules of the model, got {root!r}: {closest(root, list(named))}")
        inside = [module for path, module in drops.items() if not root or f"{path}.".startswith(f"{root}.")]
        found |= dict.fromkeys(inside or [named[root]])
    return list(found)


@contextmanager
def switched(model: nn.Module, on: Sequence[nn.Module]) -> Iterator[None]:
    """Set the modes so that these modules drop, and keep functional batch norm in eval."""
    alone = set(on) | {layer for module in model.modules() for layer in _fused_layers(module, set(on))}
    guard = _NormsInEval() if any(map(normalises_in_own_code, on)) else nullcontext()
    with modes({module: module in alone for module in model.modules()}), guard:
        yield


def no_dropout(model: nn.Module, found: str) -> NoDropoutFound:
    """Say that nothing drops, what was looked for, and which modules the model has."""
    sites = [f"{site.kind} at '{site.path}' (p={site.p:g})" for site in listed(model)]
    kinds = sorted({type(module).__name__ for module in model.modules()})
    return NoDropoutFound(
        f"the model must have dropout, and has {found}. Searched: dropout layers of torch, dropscope and other "
        "packages, nn.MultiheadAttention, nn.LSTM, GRU and RNN, and modules whose own code drops by `training`. "
        f"Sites: {', '.join(sites) or 'none'}. Modules: {', '.join(kinds)}. "
        "What drops in another way can be named in `only`."
    )


def _fused_layers(module: nn.Module, on: set[nn.Module]) -> Iterator[nn.Module]:
    """Torch's encoder layers take a fused path in eval, past the modes of what is inside them."""
    if isinstance(module, nn.TransformerEncoder | nn.TransformerEncoderLayer) and not on.isdisjoint(module.modules()):
        for layer in module.modules():
            if isinstance(layer, nn.TransformerEncoderLayer):
                yield layer


class _NormsInEval(TorchFunctionMode):
    """Functional batch and instance norm with their running statistics, whatever mode their caller is in."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (F.batch_norm, F.instance_norm):
            given = inspect.signature(function).bind(*args, **(kwargs or {})).arguments
            if given.get("running_mean") is not None:
                kwargs = given | {"training" if function is F.batch_norm else "use_input_stats": False}
                return function(**kwargs)
        return function(*args, **(kwargs or {}))
