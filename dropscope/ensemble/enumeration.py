"""The average over all masks of a model with few units that can be dropped, each mask weighted by its probability."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dropscope.ensemble.draws import Passes
from dropscope.ensemble.gathering import Gathered
from dropscope.ensemble.inputs import call_of
from dropscope.ensemble.outputs import Output, Reader, Transform
from dropscope.ensemble.prediction import Prediction
from dropscope.ensemble.probing import probed
from dropscope.ensemble.sampling import Fold, passes_over
from dropscope.ensemble.source import Source
from dropscope.ensemble.subject import Subject
from dropscope.ensemble.switching import Only, chosen
from dropscope.moments.calls import check_model
from dropscope.sites.modes import modes

__all__ = ["exact", "geometric_mean", "weight_scaling"]

LARGEST = 20  # units: a million masks
MEMORY = 256 * 2**20  # bytes of activations


def exact(
    model: nn.Module,
    x: Any,
    *,
    transform: Transform = None,
    class_axis: int = -1,
    output: Output = None,
    only: Only = None,
) -> Prediction:
    """Average a model over all `2ⁿ` masks of its n units, each weighted by its probability: no sampling error.

    `mean = Σ_m P(m) f(x; m)`, `P(m) = Π_i p_i^(dropped) q_i^(kept)`; the variance is that of the same law. All rows get
    the same masks, which changes neither.

    Args:
        model: a model with at most 20 units (elements, channels, paths) that can be dropped from a row.
        x: inputs as for `predict`, without a DataLoader.
        transform: as for `predict`.
        class_axis: axis of the classes in the output.
        output: as for `predict`.
        only: which modules to switch on: see `dropout_on`.

    Returns:
        The prediction, with `method="enumerated"` and standard errors of 0; `n_samples` is the number of masks.

    Raises:
        NoDropoutFound: nothing in the model drops.
        ValueError: there are more than 20 units, or masks that are not drawn for each row by Bernoulli's law.

    Example:
        >>> model = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 1))
        >>> exact(model, torch.ones(2, 3)).n_samples
        8

    Reference:
        Srivastava et al., 2014, JMLR 15(56):1929-1958, section 7.5 (by sampling).
    """
    reader, on = Reader(output, transform, class_axis), chosen(model, only)
    gathered = Gathered(reader)
    source = _Enumerated(model, 0, shared=True)
    subject, call = Subject(model, on, source, reader), call_of(x, model)
    with subject.ready():
        plan = probed(subject, call)
        if plan.foreign or source.for_batches or source.unplaced:
            raise ValueError(f"the masks of `model` must be those of rows and of Bernoulli's law: {plan.notes[-1]}.")
        subject.run(call.copied() if plan.writes else call, [0])
        units = source.passes.units
        if units > LARGEST:
            raise ValueError(
                f"`model` must have at most {LARGEST} units that can be dropped from a row, got {units}: use `predict`."
            )
        fold = Fold(plan, call.n_rows, MEMORY)
        for passed in passes_over(subject, plan, fold, call, 0, 2**units):
            gathered.add(passed, source.passes.log_weights.exp())
    return gathered.prediction("enumerated", 2**units)


def geometric_mean(
    model: nn.Module, x: Any, *, class_axis: int = -1, output: Output = None, only: Only = None
) -> Tensor:
    """Give the normalised geometric mean of the class probabilities of all `2ⁿ` subnetworks.

    `Π_m p(y | x; m)^P(m)`, normalised over the classes: the softmax of the mean log-probability. For one linear layer
    behind dropout it equals the softmax of `weight_scaling`.

    Args:
        model: a model whose outputs are logits, with at most 20 units that can be dropped from a row.
        x: inputs as for `predict`, without a DataLoader.
        class_axis: axis of the classes in the output.
        output: as for `predict`.
        only: which modules to switch on: see `dropout_on`.

    Returns:
        Probabilities, shaped as the output.

    Raises:
        NoDropoutFound: nothing in the model drops.
        ValueError: as for `exact`.

    Example:
        >>> model = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 4))
        >>> x = torch.ones(2, 3)
        >>> torch.allclose(geometric_mean(model, x), weight_scaling(model, x).softmax(-1), atol=1e-6)
        True

    Reference:
        Baldi & Sadowski, 2013, NeurIPS 26:2814-2822.
    """
    mean = exact(model, x, transform=lambda logits: logits.log_softmax(class_axis), output=output, only=only).mean
    return mean.softmax(class_axis)


def weight_scaling(model: nn.Module, x: Any, *, output: Output = None) -> Tensor:
    """Run the model once with nothing dropped: the weight-scaling rule, which dropout with scaled masks has built in.

    Args:
        model: any module; its modes are put back.
        x: inputs as for `predict`, without a DataLoader.
        output: as for `predict`.

    Returns:
        The output in eval, without gradients.

    Example:
        >>> weight_scaling(nn.Sequential(nn.Dropout(0.5), nn.ReLU()), torch.ones(2))
        tensor([1., 1.])

    Reference:
        Hinton et al., 2012, arXiv:1207.0580.
    """
    check_model(model)
    with torch.inference_mode(False), torch.no_grad(), modes(dict.fromkeys(model.modules(), False)):
        return Reader(output).picked(call_of(x, model).copied()(model))[0]


class _Masks(Passes):
    """Masks by number, the same for all rows: bit i of the number says whether unit i is dropped."""

    def __init__(self, numbers: Sequence[int], n_rows: int) -> None:
        super().__init__(0, numbers, 0, n_rows, shared=True)
        self.units = 0
        self.log_weights = torch.zeros(len(numbers), dtype=torch.float64)

    def kept(self, shape: Sequence[int], device: torch.device, p: float) -> Callable[[], Tensor]:
        """Give a function that tells which elements of the next units are kept."""
        if len(shape) == 0 or shape[0] != self.total:
            return super().kept(shape, device, p)
        self.draws += 1
        width = math.prod(shape[1:])
        bits = torch.arange(self.units, self.units + width).clamp(max=62)
        dropped = torch.tensor(list(self.passes)).unsqueeze(1).bitwise_right_shift(bits).bitwise_and(1)
        self.units += width
        n_dropped = dropped.sum(1).double()
        self.log_weights += n_dropped * math.log(p) + (width - n_dropped) * math.log(1 - p)
        kept = (1 - dropped).to(device, torch.int8).repeat_interleave(self.n_rows, 0).view(*shape)
        return lambda: kept

    def next_seeds(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Refuse draws that are no masks of rows."""
        raise ValueError("only masks of 0 and 1, drawn for each row, can be enumerated.")


class _Enumerated(Source):
    """A source that gives the masks by their numbers."""

    passes: _Masks

    def passes_over(self, numbers: Sequence[int], first_row: int, n_rows: int) -> _Masks:
        """Give the masks of these numbers."""
        return _Masks(numbers, n_rows)
