"""What a model does with its dropout, found by running it on two and on four rows before the real work begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dropscope.ensemble.inputs import Call
from dropscope.ensemble.last_layer import Last
from dropscope.ensemble.prefix import Prefix, Step, steps_of
from dropscope.ensemble.source import Source, layout_of
from dropscope.ensemble.subject import Subject
from dropscope.ensemble.switching import no_dropout
from dropscope.ensemble.tracing import Key, State, Trace, traced
from dropscope.errors import UnsupportedModule
from dropscope.sites.modes import modes
from dropscope.sites.randomness import restored
from dropscope.sites.streams import Streams

__all__ = ["Plan", "alike", "probed", "random_in_eval"]

Read = tuple[Tensor, Tensor | None]  # values, and the variance of the noise
TOGETHER = "the rows of a batch depend on one another: passes are run one by one"


@dataclass(eq=False)
class Plan:
    """How the passes can be run.

    Attributes:
        steps: calls before the first draw, which need be run once.
        folds: whether passes can be computed together, as rows of one batch.
        foreign: whether the model draws random numbers that no pass knows of.
        writes: whether the model writes into its inputs.
        last: dropout and linear layer, where these alone stand between the last features and the output.
        n_axes: of the output for several rows.
        bytes_per_row: held by the largest call.
        on_cpu: whether the output is computed on the CPU.
        notes: what could not be done, and why.
    """

    steps: Mapping[Key, Step] = field(default_factory=dict)
    folds: bool = False
    foreign: bool = False
    writes: bool = False
    last: Last | None = None
    n_axes: int = 0
    bytes_per_row: int = 1
    on_cpu: bool = False
    notes: list[str] = field(default_factory=list)

    def by_rows(self, values: Tensor, n_rows: int) -> Tensor:
        """Put the axis of the rows back where the model squeezed it away, as it can only where it got a single row."""
        squeezed = self.folds and n_rows == 1 and values.dim() == self.n_axes - 1
        return values.unsqueeze(0) if squeezed else values


@dataclass(eq=False)
class Run:
    """One watched pass.

    Attributes:
        call: its inputs.
        first_row: number of their first row.
        output: what is read of what the model gives, before it is transformed.
        values: the same, transformed.
        noise: variance of the noise.
        trace: what the hooks saw.
        shapes: of the tensors that were dropped from.
        draws: how many there were.
        writes: whether the model wrote into its inputs.
    """

    call: Call
    first_row: int
    output: Tensor
    values: Tensor
    noise: Tensor | None
    trace: Trace
    shapes: list[torch.Size]
    draws: int
    writes: bool


def probed(subject: Subject, call: Call, *, exact: bool = False) -> Plan:
    """Find out how the passes of a model can be run.

    The shapes of all tensors, for two rows and for four, tell where the rows lie. What is to be reused or computed
    together is then tried, and given up if it changes the result.

    Args:
        subject: the model.
        call: its inputs.
        exact: whether a closed form is to be found, which needs no passes.
    """
    if not subject.droppers and not random_in_eval(subject, call):
        raise no_dropout(subject.model, "none with p > 0")
    plan, streams = Plan(), Streams(subject.model, call.args)
    with restored(streams) as watch:
        try:
            few, more = _two_runs(subject, call)
        except Exception as error:
            plan.notes.append(f"the model runs on no other number of rows ({error}): passes are run one by one")
            few = more = _watched(subject, call)
        plan.foreign, plan.writes, plan.on_cpu = watch.moved, more.writes, more.output.is_cpu
        if more.draws == 0 and not plan.foreign:
            raise no_dropout(subject.model, "none that drew a mask when it ran")
        plan.n_axes = more.output.dim()
        plan.bytes_per_row = max(1, more.trace.bytes // more.call.n_rows)
        if plan.foreign:
            plan.notes.append("random numbers are drawn that belong to no site: passes are run one by one, in full")
        else:
            plan.last = _last(subject, more) if exact else None
            plan.steps = {} if plan.last else steps_of(few.trace, more.trace, 2, 4)
            plan.folds = few is not more and _rows_stand_alone(subject.source, few, more, plan)
            if plan.last is None:
                _try_out(subject, more, plan)
    return plan


def random_in_eval(subject: Subject, call: Call) -> bool:
    """Say whether the model draws random numbers in eval, too."""
    streams = Streams(subject.model, call.args)
    with restored(streams) as watch, modes(dict.fromkeys(subject.model.modules(), False)):
        subject.run(call.copied(), [0])
        return watch.moved


def _two_runs(subject: Subject, call: Call) -> tuple[Run, Run]:
    """Run four rows, and of these the last two, so that what an earlier row does to a later one shows."""
    source, known = subject.source, set(subject.source.for_batches)

    def both() -> tuple[Run, Run]:
        four = call.few(4)
        return _watched(subject, four.changed(lambda tensor: tensor[2:], 2), first_row=2), _watched(subject, four)

    few, more = both()
    found = [layout_of(*shapes, 2, 4) for shapes in zip(few.shapes, more.shapes, strict=False)]
    guessed = [(0, shape[0] // 4) if len(shape) and shape[0] % 4 == 0 else None for shape in more.shapes]
    if found == guessed and known == set(source.for_batches):
        return few, more
    source.layouts, source.unplaced = found, False  # the draws were others than those to come
    return both()


def _watched(subject: Subject, call: Call, first_row: int = 0) -> Run:
    """Run the first pass, and see what it does."""
    source, given = subject.source, call.copied()
    written = given.versions()
    with traced(subject.model, source, set(subject.droppers)) as trace:
        output, noise = subject.reader.picked(subject.run(given, [0], first_row))
    draws = source.passes.draws + source.whole_draws
    values = subject.reader.transformed(output)
    writes = written != given.versions()
    return Run(call, first_row, output, values, noise, trace, source.shapes, draws, writes)


def _rows_stand_alone(source: Source, few: Run, more: Run, plan: Plan) -> bool:
    """Say whether what a row gives is a matter of this row; if not, why not."""
    if source.for_batches:
        names = ", ".join(sorted({type(module).__name__ for module in source.for_batches}))
        plan.notes.append(f"masks of {names} belong to no row: passes are run one by one")
        return False
    if source.unplaced:
        plan.notes.append("a tensor is dropped in which the rows were not found: its masks depend on the batch size")
        return False
    if not all(step.folds for step in plan.steps.values()):
        plan.notes.append("what is computed before the first draw has rows that were not found: passes run one by one")
        return False
    if not (_same_rows(few.values, more.values, few) and _same_rows(few.noise, more.noise, few)):
        plan.notes.append(TOGETHER)
        return False
    return True


def _same_rows(two: Tensor | None, four: Tensor | None, run: Run) -> bool:
    if two is None or four is None:
        return two is four
    return four.shape[:1] == (4,) and alike(two, four[2:], run.output.dtype)


def _last(subject: Subject, run: Run) -> Last | None:
    """Find the dropout and the linear layer that alone stand between the last features and the output."""
    dropped, last = run.trace.dropped, run.trace.last
    if (
        run.draws != 1
        or run.noise is not None
        or dropped is None
        or last is None
        or not last[2].same(State(run.output))
    ):
        return None
    (site, features, kept), (linear, inputs, _) = dropped, last
    if any(module._forward_hooks or module._forward_pre_hooks for module in (site, linear)):
        return None  # they may change what the layer gets or gives; the trace has taken its own away again
    if not subject.source.patched.isdisjoint((site, linear)):
        return None
    found = Last(site, linear) if site is not linear else Last(None, linear)
    if site is not linear and not (inputs.same(kept) and type(linear).forward is nn.Linear.forward):
        return None
    try:
        fits = found.moments(features.value).mean.numel() == run.output.numel()
    except (UnsupportedModule, ValueError, TypeError):  # a law without closed form
        return None
    return found if fits else None


def _try_out(subject: Subject, more: Run, plan: Plan) -> None:
    """Reuse the steps and run two passes together; what does not give the same as each of them alone is given up."""
    alone: list[Read] = [(more.values, more.noise)]
    if plan.folds:  # of the second pass rows that the first run had not: the largest of all cannot be in both
        two = more.call.changed(lambda tensor: tensor[:2], 2).copied()
        alone.append(subject.reader.read(subject.run(two, [1])))
    for steps, folds in ((plan.steps, plan.folds), ({}, plan.folds), (plan.steps, False), ({}, False)):
        if not (steps or folds) or _gives(subject, more, steps, alone[: 1 + folds]):
            break

    if plan.folds and not folds:
        plan.notes.append(TOGETHER)
    if plan.steps and not steps:
        plan.notes.append("what comes before the first draw gave other results when it was reused: not done")
    plan.steps, plan.folds = steps, folds


def _gives(subject: Subject, more: Run, steps: Mapping[Key, Step], alone: Sequence[Read]) -> bool:
    """Say whether passes together, with these steps reused, give what each of them gave alone."""
    prefix, times = Prefix(steps, {key: more.trace.kept[key].output for key in steps}), len(alone)
    try:
        if any(step.rewritten for step in steps.values()):
            with prefix.recording(subject.source):
                subject.run(more.call.copied(), [0])
        with prefix.replaying(times):
            together = subject.reader.read(subject.run(more.call.repeated(times).copied(), range(times)))
    except Exception:  # shapes that the model computes from its rows, for one
        return False
    parts = [(found, expected) for found, *expected in zip(together, *alone, strict=True) if found is not None]
    return all(_begins_with(found, expected, more.output.dtype) for found, expected in parts)


def _begins_with(found: Tensor, expected: Sequence[Tensor], dtype: torch.dtype) -> bool:
    if len(expected) == 1:
        return alike(found, expected[0], dtype)
    joined = torch.cat(list(expected))
    return alike(found[: len(joined)], joined, dtype)


def alike(one: Tensor, other: Tensor, dtype: torch.dtype) -> bool:
    """Say whether two results, computed in this type, differ by rounding alone."""
    if one.shape != other.shape:
        return False
    scale = other.abs().nan_to_num().max().item() if other.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=torch.finfo(dtype).eps ** 0.5 * scale, equal_nan=True)
