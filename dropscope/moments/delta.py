"""The delta method over the masks: how each output moves with every draw, from one forward pass."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dropscope.errors import NoDropoutFound
from dropscope.moments.calls import Call
from dropscope.moments.noise import unsupported
from dropscope.moments.probes import probed
from dropscope.moments.result import Moments, joined
from dropscope.moments.taps import Interception, Tap, Taps
from dropscope.moments.training import DRAWS
from dropscope.sites.randomness import restored

__all__ = ["by_delta"]

RECOMPUTES = "uses torch.utils.checkpoint or other hooks on saved tensors: switch them off"
KEPT = 2**26  # derivatives that are held at a time for covariances: a quarter of a gigabyte in float32
ALIKE = 0.01  # of the largest output: kernels for one row and for many, in half types inside too, differ by less


@dataclass(frozen=True, eq=False)
class Linearised:
    """A forward pass with every mask at its mean, and the noise it can be differentiated by.

    Attributes:
        output: the output, with its graph.
        taps: the noise of every site.
    """

    output: Tensor
    taps: list[Tap]

    @property
    def size(self) -> int:
        """The number of derivatives, of all outputs by all draws."""
        return self.output.numel() * sum(tap.epsilon.numel() for tap in self.taps)

    @property
    def is_sorted(self) -> bool:
        """Whether it is known which noise belongs to which row."""
        rows = len(self.output)
        return rows == 1 or all(tap.axis is not None and tap.epsilon.shape[tap.axis] % rows == 0 for tap in self.taps)

    def derivatives(self, column: int) -> Tensor:
        """Give the derivatives of one output by the draws of its own row: (rows, draws)."""
        rows = len(self.output)
        noise = [tap.epsilon for tap in self.taps]
        outputs = self.output.reshape(rows, -1)[:, column].sum()
        gradients = torch.autograd.grad(outputs, noise, retain_graph=True, materialize_grads=True)
        return torch.cat([tap.by_row(each, rows) for tap, each in zip(self.taps, gradients, strict=True)], 1)

    def moments(self, covariance: bool) -> Moments:
        """Sum up the squares of the derivatives, for covariances their products too."""
        columns = range(self.output[0].numel())
        if covariance:
            jacobian = torch.stack([self.derivatives(column) for column in columns], 1)
            products, variance = jacobian @ jacobian.mT, jacobian.square().sum(2)
        else:
            products, variance = None, torch.stack([self.derivatives(column).square().sum(1) for column in columns], 1)
        variance = variance.view(self.output.shape)
        return Moments(self.output.detach(), variance, "delta", "weight-average", products)


def by_delta(call: Call, covariance: bool) -> Moments:
    """Give outputs with every mask at its mean, and how far noise in the place of every draw moves them at first order.

    All rows run at once. Where it cannot be told which draws belong to which row, or one serves several, as with
    dropped weights, each row runs alone.

    Args:
        call: the model with its inputs, rows on axis 0; its modules in the modes that `dropping` gives.
        covariance: whether to give covariances too.

    Raises:
        UnsupportedModule: the model drops, or draws, in a way that cannot be followed.
        ValueError: the rows are not treated each by itself.
        NoDropoutFound: nothing drops.
    """
    single, middle = Taps(), call.rows // 2
    alone = _linearised(call.row(middle), single)
    if call.rows == 1:
        return alone.moments(covariance)

    whole = _linearised(call, Taps(single.shapes))
    _check_rows(whole.output.detach(), alone.output.detach(), call.rows, middle)
    if whole.is_sorted:
        size = max(1, KEPT // alone.size) if covariance else call.rows
        found = whole.moments(covariance) if size >= call.rows else _by_parts(call, size, single, covariance)
        if _agree(found.variance[middle], alone):
            return found
    return _by_parts(call, 1, single, covariance)


def _by_parts(call: Call, size: int, single: Taps, covariance: bool) -> Moments:
    parts = call.split(size)
    return joined(
        [_linearised(each, Taps(single.shapes if each.rows > 1 else None)).moments(covariance) for each in parts]
    )


def _linearised(call: Call, taps: Taps) -> Linearised:
    """Run a model with noise, at zero, in the place of every draw."""
    with restored(call.streams) as watch, probed(call.model, taps), Interception(taps):
        output = _without_recomputing(call)
        drew = watch.moved
    if drew:
        raise unsupported(call.model, "", DRAWS)
    if not taps.taps or not output.requires_grad:
        raise NoDropoutFound("`model` must have dropout on the way to its output: found none that ran.")
    return Linearised(output, taps.taps)


def _without_recomputing(call: Call) -> Tensor:
    """Run a model that computes nothing a second time for its derivatives: it would not find the noise there."""
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks(RECOMPUTES):
            return call()
    except RuntimeError as error:
        if RECOMPUTES in str(error):
            raise unsupported(call.model, "", RECOMPUTES) from error
        raise


def _check_rows(output: Tensor, alone: Tensor, rows: int, row: int) -> None:
    """Refuse a model that mixes rows: its outputs depend on draws of other rows."""
    if output.shape != (rows, *alone.shape[1:]) or len(alone) != 1:
        why = f"got outputs of shape {tuple(output.shape)} for {rows} rows, {tuple(alone.shape)} for one"
    elif (output[row] - alone[0]).abs().amax() > max(ALIKE, _rounding(output)) * output.abs().amax():
        why = f"got another output for row {row} alone, as with batch statistics"
    else:
        return
    raise ValueError(f"`model` must treat each row of `x`, on axis 0, by itself: {why}.")


def _agree(variance: Tensor, alone: Linearised) -> bool:
    """Say whether a row has the variance that it has alone: else its draws were taken for those of others."""
    column = int(variance.flatten().argmax())
    expected = alone.derivatives(column).square().sum().to(variance.dtype)
    return torch.allclose(variance.flatten()[column], expected, rtol=_rounding(variance), atol=0, equal_nan=True)


def _rounding(x: Tensor) -> float:
    return torch.finfo(x.dtype).eps ** 0.5
