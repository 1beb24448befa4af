"""What a model does with its dropout, found by running it on two and on three rows before the real work begins."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dropscope.ensemble.inputs import Call
from dropscope.ensemble.last_layer import Last
from dropscope.ensemble.prefix import Prefix, Step, steps_of
from dropscope.ensemble.source import Source, layout_of
from dropscope.ensemble.subject import Subject
from dropscope.ensemble.switching import no_dropout
from dropscope.ensemble.tracing import Key, Trace, same_values, traced
from dropscope.errors import UnsupportedModule
from dropscope.sites.modes import modes
from dropscope.sites.streams import Streams

__all__ = ["Plan", "alike", "probed", "random_in_eval"]


@dataclass(eq=False)
class Plan:
    """How the passes can be run.

    Attributes:
        steps: calls before the first draw, which need be run once.
        folds: whether passes can be computed together, as rows of one batch.
        foreign: whether the model draws random numbers that no pass knows of.
        writes: whether the model writes into its inputs.
        last: dropout and linear layer, where these alone stand between the last features and the output.
        bytes_per_row: held by the largest call.
        notes: what could not be done, and why.
    """

    steps: Mapping[Key, Step] = field(default_factory=dict)
    folds: bool = False
    foreign: bool = False
    writes: bool = False
    last: Last | None = None
    bytes_per_row: int = 1
    notes: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Run:
    """One watched pass."""

    output: Tensor
    noise: Tensor | None
    trace: Trace
    shapes: list[torch.Size]
    draws: int
    foreign: bool
    writes: bool


def probed(subject: Subject, call: Call) -> Plan:
    """Find out how the passes of a model can be run.

    Run on two rows and on three with the same masks, a model that treats its rows one by one gives the same for those
    that both have; the shapes tell where the rows lie in every tensor. What is to be reused or computed together is
    then tried, and given up if it changes the result.
    """
    if not subject.droppers and not random_in_eval(subject, call):
        raise no_dropout(subject.model, "none with p > 0")
    plan, streams = Plan(), Streams(subject.model, call.args)
    with streams.restored():
        try:
            few, more = _two_runs(subject, call, streams)
        except Exception as error:
            plan.notes.append(f"the model runs on no other number of rows ({error}): passes are run one by one")
            few = more = _watched(subject, call, streams)
        if more.draws == 0 and not more.foreign:
            raise no_dropout(subject.model, "none that ran")

        plan.foreign, plan.writes = few.foreign or more.foreign, more.writes
        plan.bytes_per_row = max(1, more.trace.bytes // (call.n_rows if few is more else 3))
        plan.folds = few is not more and _rows_stand_alone(subject.source, few, more, plan)
        if plan.foreign:
            plan.notes.append("random numbers are drawn that belong to no site: passes are run one by one, in full")
        else:
            plan.last = _last(subject, more)
            plan.steps = steps_of(few.trace, more.trace, 2, 3)
            _try_out(subject, call if few is more else call.few(2), few, plan)
    return plan


def random_in_eval(subject: Subject, call: Call) -> bool:
    """Say whether the model draws random numbers in eval, too."""
    streams = Streams(subject.model, call.args)
    with streams.restored(), modes(dict.fromkeys(subject.model.modules(), False)):
        before = streams.states
        subject.run(call.copied(), [0])
        return any(not torch.equal(a, b) for a, b in zip(before, streams.states, strict=True))


def _two_runs(subject: Subject, call: Call, streams: Streams) -> tuple[Run, Run]:
    source, known = subject.source, set(subject.source.for_batches)
    few, more = _watched(subject, call.few(2), streams), _watched(subject, call.few(3), streams)
    found = [layout_of(*shapes, 2, 3) for shapes in zip(few.shapes, more.shapes, strict=False)]
    guessed = [(0, shape[0] // 3) if len(shape) and shape[0] % 3 == 0 else None for shape in more.shapes]
    if found == guessed and known == set(source.for_batches):
        return few, more
    source.layouts, source.unplaced = found, False  # the draws were others than those to come
    return _watched(subject, call.few(2), streams), _watched(subject, call.few(3), streams)


def _watched(subject: Subject, call: Call, streams: Streams) -> Run:
    """Run one pass, and see what it does."""
    source, before, written = subject.source, streams.states, call.versions()
    with traced(subject.model, source, set(subject.droppers)) as trace:
        output, noise = subject.reader.picked(subject.run(call, [0]))
    foreign = any(not torch.equal(a, b) for a, b in zip(before, streams.states, strict=True))
    draws = source.passes.draws + source.whole_draws
    return Run(output, noise, trace, source.shapes, draws, foreign, written != call.versions())


def _rows_stand_alone(source: Source, few: Run, more: Run, plan: Plan) -> bool:
    """Say whether the passes can be rows of one batch; if not, why not."""
    if plan.foreign:
        return False
    if source.for_batches:
        names = ", ".join(sorted({type(module).__name__ for module in source.for_batches}))
        plan.notes.append(f"masks of {names} belong to no row: passes are run one by one")
        return False
    if source.unplaced:
        plan.notes.append("a tensor is dropped in which the rows were not found: its masks depend on the batch size")
        return False
    if few.output.shape[:1] != (2,) or more.output.shape[:1] != (3,) or not alike(few.output, more.output[:2]):
        plan.notes.append("the rows of a batch depend on one another: passes are run one by one")
        return False
    return True


def _last(subject: Subject, run: Run) -> Last | None:
    """Find the dropout and the linear layer that alone stand between the last features and the output."""
    dropped, last = run.trace.dropped, run.trace.last
    if (
        run.draws != 1
        or run.noise is not None
        or dropped is None
        or last is None
        or not same_values(last[2], run.output)
    ):
        return None
    (site, features, kept), (linear, inputs, _) = dropped, last
    found = Last(site, linear) if site is not linear else Last(None, linear)
    if site is not linear and not (same_values(inputs, kept) and type(linear).forward is nn.Linear.forward):
        return None
    try:
        fits = found.moments(features).mean.numel() == run.output.numel()
    except (UnsupportedModule, ValueError, TypeError):  # a law without closed form
        return None
    return found if fits else None


def _try_out(subject: Subject, call: Call, few: Run, plan: Plan) -> None:
    """Reuse the steps and fold two passes; what does not give the same is given up."""
    all_fold = all(step.folds for step in plan.steps.values())
    if plan.folds and not all_fold:
        plan.folds = False
        plan.notes.append("what is computed before the first draw has rows that were not found: passes run one by one")
    for steps, folds in ((plan.steps, plan.folds), ({}, plan.folds), (plan.steps, False), ({}, False)):
        if not (steps or folds) or _gives(subject, call, few, steps, 2 if folds else 1):
            break
    if (plan.steps, plan.folds) != (steps, folds):
        plan.notes.append("what comes before the first draw, or passes run together, gave other results: not done")
    plan.steps, plan.folds = steps, folds


def _gives(subject: Subject, call: Call, few: Run, steps: Mapping[Key, Step], times: int) -> bool:
    """Say whether so many passes together, with these steps reused, give what the first one gave alone."""
    known = {key: few.trace.kept[key].output for key in steps}
    prefix = Prefix(steps, known)
    try:
        if any(step.rewritten for step in steps.values()):
            with prefix.recording():
                subject.run(call.copied(), [0])
        with prefix.replaying(times):
            output, _ = subject.reader.picked(subject.run(call.repeated(times).copied(), range(times)))
    except Exception:  # shapes that the model computes from its rows, for one
        return False
    return alike(output[: len(few.output)], few.output)


def alike(one: Tensor, other: Tensor) -> bool:
    """Say whether two results differ by rounding alone."""
    if one.shape != other.shape:
        return False
    tolerance = torch.finfo(one.dtype).eps ** 0.5 * max(1.0, other.abs().nan_to_num().max().item())
    return torch.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True)
