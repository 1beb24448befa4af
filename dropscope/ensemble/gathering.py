"""From the passes over every batch to one prediction, without keeping them."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from dropscope.ensemble.inputs import Call
from dropscope.ensemble.last_layer import Last, exact_moments
from dropscope.ensemble.outputs import Reader, check_finite
from dropscope.ensemble.prediction import Prediction
from dropscope.ensemble.probing import Plan, alike, probed, random_in_eval
from dropscope.ensemble.progress import Progress
from dropscope.ensemble.sampling import Fold, Passed, passes_over
from dropscope.ensemble.streaming import ClassMeans, MixedMoment, Moments, class_means, wide
from dropscope.ensemble.subject import Subject

__all__ = ["Work"]


@dataclass(eq=False)
class Work:
    """What is asked of a model, and what is known of it so far.

    Attributes:
        subject: the model.
        n_samples: number of passes.
        batch_size: rows of a batch; None: as many as fit the memory.
        memory: bytes that activations may take.
        keep_samples: whether the outputs of all passes are kept.
        exact: whether a closed form is used where there is one.
    """

    subject: Subject
    n_samples: int
    batch_size: int | None
    memory: int
    keep_samples: bool
    exact: bool
    folds: dict[int, Fold] = field(default_factory=dict)

    def over(self, calls: Iterable[Call], progress: Progress) -> Prediction:
        """Predict for all batches.

        Raises:
            ValueError: there is no batch, or rows cannot share masks.
        """
        plan, parts, first_row = None, [], 0
        for whole in calls:
            plan = plan or self._plan(whole)
            for call in whole.split(self._rows_at_once(plan, whole)):
                exactly = plan.last and self._exactly(plan, plan.last, call)
                parts.append(exactly or self._sampled(plan, call, first_row, progress))
                first_row += call.n_rows
        if plan is None:
            raise ValueError("`x` must have at least one batch, got an empty loader.")
        return _joined(parts, tuple(plan.notes + self._how(plan)))

    def _plan(self, call: Call) -> Plan:
        source = self.subject.source
        plan = probed(self.subject, call, exact=self.exact and self.subject.reader.transform is None)
        if source.shared and (plan.foreign or source.unplaced or not self._shares(call, plan)):
            raise ValueError(
                "`masks` must be 'per-row' for this model, which draws numbers in a way that rows cannot share: "
                f"{'; '.join(plan.notes)}."
            )
        if plan.foreign and random_in_eval(self.subject, call):
            warnings.warn("the model is random in eval, too: its passes differ by more than dropout.", stacklevel=4)
        return plan

    def _shares(self, call: Call, plan: Plan) -> bool:
        """Say whether copies of a row give the same where it is not known that rows stand alone."""
        if plan.folds:
            return True
        try:
            output, _ = self.subject.reader.picked(self.subject.run(call.few(1).repeated(3).copied(), [0]))
        except Exception:  # the model runs on no other number of rows
            return not self.subject.source.for_batches
        return output.dim() == 0 or alike(output, output[:1].expand_as(output), output.dtype)

    def _rows_at_once(self, plan: Plan, call: Call) -> int:
        if self.batch_size is not None:
            return self.batch_size
        return max(1, self.memory // plan.bytes_per_row) if plan.folds else call.n_rows

    def _exactly(self, plan: Plan, last: Last, call: Call) -> Prediction:
        given = call.copied() if plan.writes else call
        found = exact_moments(self.subject.model, last, self.subject.reader, given)
        mean, variance = (plan.by_rows(part, call.n_rows) for part in found)
        check_finite(mean[None], [0], 0)
        return Prediction(mean, variance, 0, "exact-linear", {name: torch.zeros_like(mean) for name in ERRORS})

    def _sampled(self, plan: Plan, call: Call, first_row: int, progress: Progress) -> Prediction:
        fold = self.folds.setdefault(call.n_rows, Fold(plan, call.n_rows, self.memory))
        gathered = Gathered(self.subject.reader, first_row, self.n_samples if self.keep_samples else 0)
        for passed in passes_over(self.subject, plan, fold, call, first_row, self.n_samples):
            gathered.add(passed)
            progress.advance(len(passed.passes))
        return gathered.prediction("sampled", self.n_samples)

    def _how(self, plan: Plan) -> list[str]:
        if plan.last:
            return ["dropout stands only before the last linear layer: nothing was sampled"]
        together = max((fold.size for fold in self.folds.values()), default=1)
        names = sorted({type(module).__name__ for module, _ in plan.steps})
        once = [f"computed once before the first draw: {len(plan.steps)} calls ({', '.join(names)})"] * bool(plan.steps)
        return [*once, f"passes computed together: {together}"]


ERRORS = ("mean", "variance")


class Gathered:
    """The moments of the passes over one batch.

    Args:
        reader: of the model's outputs.
        first_row: number of the batch's first row.
        kept: number of passes whose outputs are to be kept; 0: none.
    """

    def __init__(self, reader: Reader, first_row: int = 0, kept: int = 0) -> None:
        self.reader, self.first_row, self.kept = reader, first_row, kept
        self.values, self.noise, self.mixed = Moments(), Moments(), MixedMoment()
        self.classes: ClassMeans | None = None
        self.samples: Tensor | None = None
        self.dtype = torch.float32

    def add(self, passed: Passed, weights: Tensor | None = None) -> None:
        """Add passes.

        Raises:
            ValueError: an output is not finite, or a variance below 0.
        """
        values, passes = passed.values, passed.passes
        check_finite(values, passes, self.first_row)
        if self.values.weight == 0 or self.classes is not None:
            self._add_classes(passed, weights)
        self.dtype = values.dtype
        self.values.add(values, weights)
        if passed.noise is not None:
            check_finite(passed.noise, passes, self.first_row, least=0)
            self.noise.add(passed.noise, weights)
            if _fits(passed.noise, values):
                self.mixed.add(values, passed.noise)
        if self.kept:
            if self.samples is None:
                self.samples = values.new_empty(self.kept, *values.shape[1:])
            self.samples[passes[0] : passes[-1] + 1] = values

    def _add_classes(self, passed: Passed, weights: Tensor | None) -> None:
        """Add what the passes give as probabilities of classes, as long as all of them give some."""
        values = passed.values
        probabilities = self.reader.probabilities(values.flatten(0, 1), passed.dtype) if values.dim() > 1 else None
        if probabilities is None:
            self.classes = None
            return
        means = class_means(probabilities.to(wide(values)).unflatten(0, values.shape[:2]), passed.passes, weights)
        self.classes = means if self.classes is None else self.classes + means

    def prediction(self, method: str, n_samples: int) -> Prediction:
        """Give the prediction for the batch."""
        sampled = method == "sampled"
        values, noise = self.values, self.noise if self.noise.weight else None
        errors = dict.fromkeys(ERRORS, torch.zeros_like(values.mean))
        if sampled:
            errors = {"mean": values.mean_error(), "variance": values.variance_error()}
        if noise is not None:
            errors["noise"] = noise.mean_error() if sampled else torch.zeros_like(noise.mean)
        if self.mixed.weight:
            together = self.mixed.covariance() * sampled  # of all masks nothing has an error
            errors["total"] = (errors["noise"] ** 2 + errors["variance"] ** 2 + 2 * together).clamp(min=0).sqrt()
        return Prediction(
            values.mean.to(self.dtype),
            values.variance(unbiased=sampled).to(self.dtype),
            n_samples,
            method,
            {name: error.to(self.dtype) for name, error in errors.items()},
            self.samples,
            None if noise is None else noise.mean.to(self.dtype),
            self.classes,
        )


def _fits(noise: Tensor, values: Tensor) -> bool:
    """Say whether they are of one shape, or one of them broadcasts along its own axes."""
    pairs = zip(noise.shape, values.shape, strict=False)
    return noise.dim() == values.dim() and all(a == b or 1 in (a, b) for a, b in pairs)


def _joined(parts: list[Prediction], notes: tuple[str, ...]) -> Prediction:
    """Put the rows of all batches one after the other."""
    first = parts[0]
    if len(parts) == 1:
        return replace(first, notes=notes)
    classes = [part.classes for part in parts if part.classes is not None]
    return replace(
        first,
        mean=_cat([part.mean for part in parts]),
        variance=_cat([part.variance for part in parts]),
        errors={name: _cat([part.errors[name] for part in parts]) for name in first.errors},
        samples=_cat([part.samples for part in parts], 1),
        noise=_cat([part.noise for part in parts]),
        classes=classes[0].after(classes[1:]) if len(classes) == len(parts) else None,
        notes=notes,
    )


def _cat(tensors: Sequence[Tensor | None], axis: int = 0) -> Any:
    """Join what all batches gave; one number for a batch counts as a row, and None stays None."""
    present = [tensor if tensor.dim() > axis else tensor.unsqueeze(axis) for tensor in tensors if tensor is not None]
    return torch.cat(present, axis) if present else None
