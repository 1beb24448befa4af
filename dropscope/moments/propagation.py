"""Mean and variance of any model's outputs over its dropout masks, without sampling."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dropscope.errors import NoDropoutFound, UnsupportedModule

# Each fills a part of the table of rules.
from dropscope.moments import activation_rules, joining_rules, linear_rules, pooling_rules  # noqa: F401
from dropscope.moments.calls import Call, call_of
from dropscope.moments.delta import by_delta
from dropscope.moments.result import Moments, joined
from dropscope.moments.tracing import through
from dropscope.moments.training import dropping
from dropscope.moments.untouched import untouched
from dropscope.moments.values import Sources, Uncertain
from dropscope.sites.eagerness import uncompiled
from dropscope.sites.modes import modes

__all__ = ["propagate"]

METHODS = ("delta", "diagonal", "full")
ROWS = 16  # that the full method treats at once: it keeps what every source of noise adds to every unit


def propagate(
    model: nn.Module,
    x: Any,
    method: Literal["delta", "diagonal", "full"] = "delta",
    *,
    covariance: bool = False,
    output: Callable[[Any], Any] | None = None,
) -> Moments:
    """Give mean and variance of a model's outputs over its dropout masks, without drawing any.

    - `"delta"`: `Var f ≈ Σ_sites r Σ_draws (h · ∂f/∂h)²` with the variance `r` of a draw (`p / q` for dropout), summed
      over all that share the draw before it is squared: one forward pass with every mask at its mean, one backward
      pass per output, for any model that autograd can run. Exact where one site stands before a linear head. Else a
      derivative stands for the difference between kept and dropped, and products of masks are left out: after a fit
      the standard deviation is mostly right within a quarter, at `p = 0.5` in deep nets a quarter too small.
    - `"diagonal"`: mean and variance of every unit, layer by layer, as if units were independent. Cheap and, once
      networks are trained, too small by a factor of 1.3 to 5 in the standard deviation: for comparison.
    - `"full"`: the same with all covariances within a row; for small nets.

    The mean that goes with `"delta"` is that of `"diagonal"`, which is nearer than the forward pass with every mask
    at its mean (weight averaging); where a part of the model has no rule it is the latter, and the result says so in
    `mean_method` and `note`.

    Dropout is taken as active wherever it would be in training, whatever the modes now; all else is in eval, and no
    mode is changed afterwards. Attention, recurrent and functional dropout is found too; a mask that a model draws
    itself, as by `torch.rand`, is an error. Each row must be treated by itself; where this can be seen not to be so,
    as with batch statistics, it is an error. Where one draw serves several rows, as with dropped weights, or rows
    cannot be told apart inside, "delta" runs them one at a time. What a model detaches counts as fixed.

    Args:
        model: any module.
        x: its input with the rows on axis 0: a tensor, a tuple or list of arguments, or a mapping of keyword arguments.
        method: see above.
        covariance: whether to give covariances between the outputs of each row too; not with "diagonal".
        output: takes the tensor of interest out of what the model gives; None: the model gives one tensor.

    Returns:
        Moments with the shape of the output; the variance of "delta" in float32 or wider.

    Raises:
        UnsupportedModule: a part of the model drops in a way that cannot be followed or, other than with "delta", has
            no rule: `register` one.
        NoDropoutFound: nothing drops.
        ValueError: rows are mixed, there is no row or no output, the model is lazy or gives nan or inf, or `method` is
            unknown.
        TypeError: `model` is no module, `x` holds no tensor, or the output is no floating-point tensor.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
        >>> moments = propagate(net, torch.randn(10, 4))
        >>> moments.variance.shape, moments.method
        (torch.Size([10, 1]), 'delta')

    Reference:
        Postels et al., 2019, arXiv:1908.00598 (diagonal, by Jacobians); Wang & Manning, 2013, ICML, PMLR 28(2).
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}, got {method!r}.")
    if covariance and method == "diagonal":
        raise ValueError('`covariance` must be False with method="diagonal", which keeps none.')
    call = call_of(getattr(model, "_orig_mod", model), x, output)
    with torch.inference_mode(False), torch.enable_grad(), uncompiled(), untouched(call.model), modes(dropping(call)):
        found = _delta(call, covariance) if method == "delta" else _by_rules(call, method, covariance)
    finite = found.mean.isfinite() & found.variance.isfinite()
    if not finite.all():
        raise ValueError(f"the model must give finite outputs, got others for row {(~finite).nonzero()[0, 0]} of `x`.")
    return found


def _delta(call: Call, covariance: bool) -> Moments:
    found = by_delta(call, covariance)
    try:
        return replace(found, mean=_by_rules(call, "diagonal", False).mean, mean_method="diagonal")
    except UnsupportedModule as error:
        return replace(found, note=f"The mean is that of one pass with every mask at its mean: {error}")


def _by_rules(call: Call, method: str, covariance: bool) -> Moments:
    found = []
    with torch.no_grad():
        for part in call.split(ROWS if method == "full" else call.rows):
            value = _value(part, Sources() if method == "full" else None)
            products = value.covariance() if covariance else None
            found.append(Moments(value.mean, value.variance, method, method, products))
    return joined(found)


def _value(call: Call, sources: Sources | None) -> Uncertain:
    args, kwargs = call.copies()
    value = through(call.model, args, kwargs, sources, output=call.output)
    if isinstance(value, Uncertain):
        return value
    if isinstance(value, Tensor):
        raise NoDropoutFound("`model` must have dropout on the way to its output: found none that ran.")
    raise TypeError(f"the model's output must be a tensor, got {type(value).__name__}: pass output=.")
