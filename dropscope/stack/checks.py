"""The arguments of `train`, checked before anything is allocated: one clear line each."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from dropscope.errors import closest
from dropscope.stack.optimizer import MOMENTUM, OPTIMIZERS
from dropscope.stack.shape import Fitted, Member, Shape

__all__ = ["check_counts", "check_descent", "check_options", "check_rows", "epoch_length"]


def check_rows(x: Tensor, y: Tensor, members: Sequence[Member], shape: Shape) -> None:
    """Check that rows, targets, members and shape fit together."""
    if not members:
        raise ValueError("`members` must hold at least one model, got none.")
    if x.dim() != 2 or x.shape[1] != len(shape.columns):
        raise ValueError(f"`x` must be (rows, {len(shape.columns)}), got {tuple(x.shape)}.")
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"`x` must be float32 or float64, got {x.dtype}.")
    if len(y) != len(x):
        raise ValueError(f"`y` must have as many rows as `x` ({len(x)}), got {len(y)}.")

    if shape.task != "classification":
        if not y.is_floating_point() or y.shape != (len(x), shape.outputs):
            raise ValueError(
                f"`y` must be float of shape ({len(x)}, {shape.outputs}) for {shape.task}, got {y.dtype} "
                f"{tuple(y.shape)}."
            )
        if shape.task == "multilabel" and not bool(((y == 0) | (y == 1)).all()):
            raise ValueError("`y` must hold labels of 0 and 1 for multilabel, got other values.")
    elif y.dtype != torch.int64 or y.dim() != 1:
        raise ValueError(f"`y` must be int64 of shape ({len(x)},) for classification, got {y.dtype} {tuple(y.shape)}.")
    elif not 0 <= int(y.min()) <= int(y.max()) < shape.outputs:
        raise ValueError(f"`y` must hold labels in [0, {shape.outputs}), got {int(y.min())} to {int(y.max())}.")

    for member in members:
        check_member(member, len(x), shape)


def check_member(member: Member, count: int, shape: Shape) -> None:
    """Check that a member's rows and weights are those of a table of so many rows, and its start of this shape."""
    for name, rows in (("fit", member.fit), ("stop", member.stop)):
        if rows.dtype != torch.int64 or not 0 <= int(rows.min()) <= int(rows.max()) < count:
            raise ValueError(f"`{name}` must hold int64 indices of rows in [0, {count}), got {rows}.")

    if isinstance(member.p_hidden, tuple) and len(member.p_hidden) != shape.depth:
        raise ValueError(f"`p_hidden` must be one rate or one per hidden layer ({shape.depth}), got {member.p_hidden}.")
    if member.weights is not None and member.weights.shape != (count,):
        raise ValueError(f"`weights` must be one per row of `x` ({count},), got {tuple(member.weights.shape)}.")
    for name, rows in (("fit", member.fit), ("stop", member.stop)):
        if member.weights is not None and not member.weights[rows].any():
            raise ValueError(f"`weights` must be positive for at least one row of `{name}`, got zeros alone.")

    if member.start is not None:
        check_start(member.start, shape)


def check_start(start: Fitted, shape: Shape) -> None:
    """Check that a trained model is one of this shape."""
    layers = [*pairwise(shape.sizes)]
    weights, biases = ([tuple(tensor.shape) for tensor in part] for part in (start.weights, start.biases))
    if weights != layers or biases != [(outs,) for _, outs in layers]:
        raise ValueError(f"`start` must have layers {layers}, got weights {weights} and biases {biases}.")
    if start.activation != shape.activation:
        raise ValueError(f"`start` must be a model with {shape.activation}, got {start.activation}.")


def check_options(shape: Shape, optimizer: str, keep: str, label_smoothing: float) -> None:
    """Check the names, and that labels are smoothed only where there are labels, and only in part."""
    for argument, name, known in (("optimizer", optimizer, [*OPTIMIZERS]), ("keep", keep, ["best", "last"])):
        if name not in known:
            raise ValueError(f"`{argument}` must be a known name, got {name!r}: {closest(name, known)}")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"`label_smoothing` must be in [0, 1), got {label_smoothing}.")
    if label_smoothing > 0 and shape.task == "regression":
        raise ValueError(f"`label_smoothing` must be 0 for regression, got {label_smoothing}.")


def check_descent(optimizer: str, momentum: float, nesterov: bool, max_norm: float | None) -> None:
    """Check that momentum is asked of sgd alone, and that norms may be positive."""
    if not 0 <= momentum < 1:
        raise ValueError(f"`momentum` must be in [0, 1), got {momentum}.")
    if optimizer != "sgd" and (momentum != MOMENTUM or nesterov):
        name = "nesterov" if nesterov else "momentum"
        raise ValueError(f"`{name}` is that of sgd, got {optimizer}: leave it out, or take sgd.")
    if nesterov and not momentum:
        raise ValueError("`nesterov` needs a `momentum` above 0, got 0.")
    if max_norm is not None and not 0 < max_norm < math.inf:
        raise ValueError(f"`max_norm` must be a positive number, got {max_norm}.")


def check_counts(**counts: int) -> None:
    """Check that every count is at least one."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"`{name}` must be at least 1, got {count}.")


def epoch_length(members: Sequence[Member], batch_size: int, steps_per_epoch: int | None) -> int:
    """Return the steps per epoch, which may not depend on which models happen to share a stack."""
    if steps_per_epoch is not None:
        check_counts(steps_per_epoch=steps_per_epoch)
        return steps_per_epoch
    counts = {len(member.fit) for member in members}
    if len(counts) > 1:
        raise ValueError(
            f"`steps_per_epoch` must be given where models have different numbers of fit rows, got "
            f"{min(counts)} to {max(counts)} rows."
        )
    return max(1, counts.pop() // batch_size)
