"""Remove the dropout of a model: what is left computes in eval what the model did."""

import inspect

from torch import Tensor, nn

from dropscope import layers
from dropscope.layers import DropoutLayer
from dropscope.sites.finding import listed
from dropscope.surgery.inserting import INSERTED, detach
from dropscope.surgery.modules import swap
from dropscope.surgery.rates import assign

__all__ = ["strip"]


def strip(model: nn.Module) -> nn.Module:
    """Remove all dropout; what the model computes in eval stays the same, bit for bit.

    Dropout of torch and dropscope becomes nn.Identity; dropscope's wrappers leave the module that they wrap, under
    its own path; inserted dropout goes without a trace; what does more than drop (nn.LSTM, nn.MultiheadAttention,
    dropscope's recurrent and graph layers) stays with `p = 0`.

    Classes of other packages stay with `p = 0` too: it is theirs to compute the same in eval. Dropout that drops in
    eval, as for Monte Carlo, is removed like any other. The noise of `layers.VariationalLinear` and
    `VariationalConv2d`, which have no one `p`, stays in training.

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
    sites = listed(model)
    for site in sites:
        if _eval_depends_on_p(site.module):
            raise ValueError(
                f"the sites of `model` must not use `p` in eval, got {site.module!r} at {site.path!r}: "
                "replace it first, as by surgery.replace."
            )
    new = {site.module: remains for site in sites if (remains := _what_remains(site.module)) is not None}
    assign([(site, 0.0) for site in sites if site.module not in new])
    for module in list(model.modules()):
        inserted = module._modules.get(INSERTED)
        if inserted is not None and isinstance(new.get(inserted), nn.Identity):
            detach(module)
    return swap(model, new)


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
    return nn.Identity() if _only_drops(module) else None


def _only_drops(module: nn.Module) -> bool:
    """Say whether a site maps one tensor to one and is the identity where it does not drop."""
    package = type(module).__module__.partition(".")[0]
    if package not in ("torch", "dropscope") or module._modules or any(True for _ in module.parameters()):
        return False  # what other classes do besides is not known
    if not isinstance(module, DropoutLayer):
        return True
    signature = inspect.signature(module.forward)
    return len(signature.parameters) == 1 and signature.return_annotation is Tensor
