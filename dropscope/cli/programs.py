"""Programs in a file, of torch.export or ONNX: called on any number of rows, whatever batch they were made for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor

from dropscope.errors import need

__all__ = ["Program", "load_exported", "load_onnx"]

# A program is never called on more rows than the spectrum passes at once.
MOST_ROWS = 8192
ONNX_TYPES = {"tensor(float)": torch.float32, "tensor(double)": torch.float64, "tensor(float16)": torch.float16}


@dataclass(frozen=True, eq=False)
class Program:
    """A function of rows that may take only so many at once.

    Attributes:
        run: maps rows to outputs.
        batch: rows that it takes at once, None for any number.
        width: number of columns, None where the program does not say.
        dtype: of the rows.
    """

    run: Callable[[Tensor], Tensor]
    batch: int | None
    width: int | None
    dtype: torch.dtype

    def __call__(self, rows: Tensor) -> Tensor:
        """Run the program, the last batch filled up with copies of its last row."""
        rows = rows.to(self.dtype)
        if self.batch is None:
            return self.run(rows)

        missing = -len(rows) % self.batch
        filled = torch.cat([rows, rows[-1:].expand(missing, -1)])
        return torch.cat([self.run(piece) for piece in filled.split(self.batch)])[: len(rows)]


def load_exported(path: Path) -> Program:
    """Load a program of torch.export.

    Args:
        path: the `.pt2` file.

    Returns:
        The program.

    Raises:
        ValueError: it is no such file, or does not take one table.
    """
    if not is_zipfile(path):  # torch would log a traceback
        raise ValueError(f"{path.name} is not a program that torch.export.save wrote.")
    try:
        program = torch.export.load(path)
    except Exception as error:
        raise ValueError(f"{path.name} is not a program that torch.export.save wrote: {_first_line(error)}") from error

    names = program.graph_signature.user_inputs
    inputs = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    tables = [inputs[name] for name in names if isinstance(inputs.get(str(name)), Tensor)]
    if len(names) != 1 or len(tables) != 1:
        raise ValueError(f"{path.name} must take one table of rows, but it takes {len(names)} inputs.")
    table = tables[0]
    _check_table(path, len(table.shape), table.dtype if table.is_floating_point() else None, str(table.dtype))

    rows, columns = table.shape
    module = program.module()
    width = columns if isinstance(columns, int) else None
    return Program(module, _batch_of(program, rows), width, table.dtype)


def _batch_of(program: Any, rows: Any) -> int | None:
    """The rows that a program takes at once: those of its example, or as many as its dynamic dimension allows."""
    if isinstance(rows, int):
        return rows
    allowed = program.range_constraints.get(rows.node.expr)
    low, high = (int(allowed.lower), allowed.upper) if allowed is not None else (1, MOST_ROWS)
    if low <= 2 and high >= MOST_ROWS:
        return None
    return int(min(high, max(low, MOST_ROWS)))


def load_onnx(path: Path) -> Program:
    """Load an ONNX model into onnxruntime.

    Args:
        path: the `.onnx` file.

    Returns:
        The program; of several outputs, the first one of floating point numbers.

    Raises:
        ValueError: it is no such file, or does not map one table to numbers.
        MissingExtra: onnxruntime is not installed.
    """
    runtime = need("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors only: they come as exceptions
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(f"{path.name} is not a model that onnxruntime runs: {_first_line(error)}") from error

    inputs, outputs = session.get_inputs(), [one.name for one in session.get_outputs() if one.type in ONNX_TYPES]
    if len(inputs) != 1:
        raise ValueError(f"{path.name} must take one table of rows, but it takes {len(inputs)} inputs.")
    if not outputs:
        raise ValueError(f"{path.name} must give floating point numbers, but none of its outputs does.")
    [table] = inputs
    dtype = ONNX_TYPES.get(table.type)
    _check_table(path, len(table.shape), dtype, table.type)

    def run(rows: Tensor) -> Tensor:
        return torch.from_numpy(session.run(outputs[:1], {table.name: rows.cpu().numpy()})[0])

    batch, width = (size if isinstance(size, int) else None for size in table.shape)
    return Program(run, batch, width, dtype or torch.float32)


def _check_table(path: Path, dimensions: int, dtype: torch.dtype | None, kind: str) -> None:
    if dimensions != 2 or dtype is None:
        raise ValueError(
            f"{path.name} must take floating point numbers of shape (rows, columns), but it takes {kind} of "
            f"{dimensions} dimensions: name a callable that turns rows into them, `module:attribute`."
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
