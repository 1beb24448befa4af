"""Calling a user's model: the right method, on its device, in evaluation mode, with outputs that are checked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dropscope.spectrum.arguments import Blocks, advise, check_design, check_generator, whole_number
from dropscope.spectrum.cube import Evaluate
from dropscope.spectrum.mixtures import Design
from dropscope.spectrum.reading import TableLike, read_table
from dropscope.spectrum.scores import score_function
from dropscope.spectrum.tables import Table

__all__ = ["Subject", "evaluation", "examine"]

# How far the sum of a row of probabilities in half precision may lie from one.
ROUNDING = 1e-2


@dataclass(frozen=True, eq=False)
class Subject:
    """What is measured: a model and the table whose rows it is given.

    Attributes:
        table: what the user passed as inputs.
        design: its rows, as they are mixed, and blocks.
        evaluate: maps such rows to outputs of shape (1, rows, outputs).
    """

    table: Table
    design: Design
    evaluate: Evaluate


def examine(
    f: Any,
    inputs: TableLike,
    blocks: Blocks | None,
    *,
    target: int | None = None,
    generator: torch.Generator | None = None,
) -> Subject:
    """Check a model, the table of its inputs, and the blocks of its columns.

    Args:
        f: a torch module, a fitted estimator, or a callable.
        inputs: tensor, array or DataFrame of shape (rows, columns).
        blocks: columns of each block; None makes each column its own.
        target: the only output to measure.
        generator: source of the choice of rows of a huge table.

    Returns:
        The model and its table, ready to be mixed.

    Raises:
        ValueError: an argument has the wrong value.
        TypeError: an argument is of the wrong kind.
    """
    check_generator(generator)
    if target is not None:
        target = whole_number("target", target, least=0)

    function = score_function(f)
    # A method reads what the object reads that it belongs to.
    table = read_table(inputs, getattr(f, "__self__", f), generator)
    design = check_design(table.rows, blocks, table.labels)
    return Subject(table, design, _checked(function, table, target))


@contextmanager
def evaluation(f: Any) -> Iterator[None]:
    """No gradients, and every submodule of a module in evaluation mode until the end."""
    module = getattr(f, "__self__", f)
    modes = {part: part.training for part in module.modules()} if isinstance(module, nn.Module) else {}

    try:
        for part in modes:
            part.training = False
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _checked(function: Callable[[Any], Any], table: Table, target: int | None) -> Evaluate:
    """The model as a stack of one, whose outputs must be finite numbers, one or more per row."""
    first = True

    def evaluate(rows: Tensor) -> Tensor:
        nonlocal first
        outputs = _outputs(function(table.give(rows)), len(rows))
        _check_finite(table, rows, outputs)

        if first and _look_like_probabilities(outputs):
            advise(
                "the outputs of `f` look like probabilities: their interactions are mostly those of the softmax. Give "
                "the logits, or `lambda x: centre_logits(numpy.log(f(x)))` (`torch.log` for tensors)."
            )
        first = False
        return (outputs if target is None else _only(outputs, target))[None]

    return evaluate


def _outputs(outputs: Any, rows: int) -> Tensor:
    """Whatever the model gave as a tensor of real numbers of shape (rows, outputs)."""
    if isinstance(outputs, list | tuple) and len(outputs) != rows and any(hasattr(part, "shape") for part in outputs):
        raise TypeError(
            f"`f` must give one array, got a {type(outputs).__name__} of {len(outputs)}: "
            "pass a function of one of them, `lambda x: f(x)[0]` for the first."
        )

    tensor = outputs if isinstance(outputs, Tensor) else _tensor(outputs)
    if tensor.is_complex():
        raise TypeError(f"`f` must give real numbers, got a tensor of {tensor.dtype}.")
    if tensor.ndim == 0 or len(tensor) != rows:
        raise ValueError(f"`f` must give one output per row, got shape {tuple(tensor.shape)} for {rows} rows.")

    return (tensor if tensor.is_floating_point() else tensor.double()).reshape(rows, -1)


def _tensor(outputs: Any) -> Tensor:
    """Arrays, frames, and lists of numbers or of anything that holds numbers."""
    array = np.asarray(outputs)
    if array.dtype.kind == "O" and array.ndim > 0:
        # Frames of numbers that may be missing come as objects.
        with suppress(TypeError, ValueError):
            array = array.astype(np.float64)

    if array.dtype.kind not in "fiub":
        raise TypeError(f"`f` must give real numbers, got {type(outputs).__name__}{_contents(array)}.")
    # In the machine's own byte order, and in its own precision as far as torch knows it.
    size = min(array.itemsize, 8) if array.dtype.kind == "f" else 8
    return torch.from_numpy(array.astype(f"f{size}"))


def _contents(array: NDArray[Any]) -> str:
    """What an array of anything but numbers holds, and what to do about labels of classes."""
    if array.ndim == 0:
        return ""
    held = sorted({type(value).__name__ for value in array.ravel().tolist()})
    return f" of {' and '.join(held)}" + (": pass the classifier itself, not its labels" if "str" in held else "")


def _only(outputs: Tensor, target: int) -> Tensor:
    if not 0 <= target < outputs.shape[1]:
        raise ValueError(f"`target` must be in 0 to {outputs.shape[1] - 1}, the outputs of f, got {target}.")
    return outputs[:, target : target + 1]


def _look_like_probabilities(outputs: Tensor) -> bool:
    """Whether every row holds two or more numbers from 0 to 1 that sum to one."""
    if outputs.shape[1] < 2:
        return False
    sums = outputs.sum(1, dtype=torch.float64)
    return bool(((outputs >= 0).all() & (sums - 1).abs().max().lt(ROUNDING)).item())


def _check_finite(table: Table, rows: Tensor, outputs: Tensor) -> None:
    """Show the first row whose outputs are not finite."""
    # One pass where all is well; a sum may also overflow, so that it accuses nobody.
    if outputs.sum().isfinite():
        return
    bad = (~outputs.isfinite()).any(1).nonzero()

    if len(bad):
        row = int(bad[0])
        (value, *_) = outputs[row][~outputs[row].isfinite()].tolist()
        raise ValueError(
            f"`f` must give finite outputs, got {value} for the row [{table.show(rows[row])}] "
            "(a mixture of rows of `inputs`, block by block)."
        )
