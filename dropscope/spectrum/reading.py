"""Reading what a user passes as `inputs`: which kind of table it is, whether it can be mixed, and at most how much."""

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dropscope.spectrum.arguments import advise
from dropscope.spectrum.tables import NumberTable, PandasTable, PolarsTable, Table

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["TableLike", "looks_up", "placed", "read_numbers", "read_table"]

TableLike: TypeAlias = "Tensor | NDArray[Any] | pandas.DataFrame | polars.DataFrame"

# A sample of so many rows has shares within about a thousandth of the table's, and mixing it is faster.
MOST_ROWS = 1_000_000
# Entries of a sample of a wide table: 1 GiB in float32.
MOST_ENTRIES = 2**28

FRAMES = {"pandas": PandasTable, "polars": PolarsTable}
NUMBERS = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)


def read_table(inputs: TableLike, reader: Any, generator: torch.Generator | None) -> Table:
    """Read the table that a user passed.

    Args:
        inputs: tensor, array or DataFrame of shape (rows, columns).
        reader: the model. A torch module is given tensors on its device and in its precision, a scikit-learn estimator
            no tensors but arrays, and everything else is given what `inputs` is.
        generator: source of the choice of rows of a huge table.

    Returns:
        The table.

    Raises:
        TypeError: it is no table, or holds what cannot be mixed or given to the model.
        ValueError: it has fewer than two rows.
    """
    kind = _kind(inputs)

    if kind in FRAMES:
        table: Table = FRAMES[kind](_sampled(inputs, generator))
        return _for_module(table, reader) if isinstance(reader, nn.Module) else table

    rows = read_numbers(inputs, generator)
    if isinstance(reader, nn.Module):
        return NumberTable(placed(rows, reader), as_array=False)
    return NumberTable(rows, as_array=kind == "numpy" or hasattr(reader, "predict"))


def read_numbers(inputs: TableLike, generator: torch.Generator | None) -> Tensor:
    """Read a table of numbers.

    Args:
        inputs: tensor or array of shape (rows, columns).
        generator: source of the choice of rows of a huge table.

    Returns:
        The numbers.

    Raises:
        TypeError: it is no such table, or holds anything else.
        ValueError: it has fewer than two rows.
    """
    kind = _kind(inputs)
    if kind in FRAMES:
        raise TypeError(f"`inputs` must be a tensor or an array, got a {kind} DataFrame: pass `inputs.to_numpy()`.")

    inputs = _sampled(inputs, generator)
    rows = inputs.detach() if isinstance(inputs, Tensor) else _tensor(inputs)
    if rows.dtype not in NUMBERS:
        raise TypeError(f"`inputs` must hold real numbers, got dtype {rows.dtype}: convert them, to float64 say.")
    return rows


def _kind(inputs: Any) -> str:
    """The library that the table is of."""
    for name in FRAMES:
        # A DataFrame of a library that was never imported cannot be.
        library = sys.modules.get(name)
        if library is not None and isinstance(inputs, library.DataFrame):
            return name

    sparse = hasattr(inputs, "tocsr") or (isinstance(inputs, Tensor) and inputs.layout != torch.strided)
    if sparse:
        dense = "to_dense" if isinstance(inputs, Tensor) else "toarray"
        raise TypeError(f"`inputs` must be dense, got a sparse {type(inputs).__name__}: pass `inputs.{dense}()`.")

    if isinstance(inputs, Tensor):
        return "torch"
    if isinstance(inputs, np.ndarray):
        return "numpy"
    raise TypeError(
        f"`inputs` must be a tensor, an array, or a pandas or polars DataFrame, got {type(inputs).__name__}."
    )


def _sampled(inputs: Any, generator: torch.Generator | None) -> Any:
    """A table of two rows or more; of a huge one so many, chosen at random."""
    if len(inputs.shape) != 2 or len(inputs) < 2:
        raise ValueError(f"`inputs` must be a table of two rows or more, got shape {tuple(inputs.shape)}.")

    rows, columns = inputs.shape
    most = min(MOST_ROWS, MOST_ENTRIES // max(columns, 1))
    if rows <= most:
        return inputs

    advise(f"`inputs` has {rows:,} rows: {most:,} of them, chosen at random, stand for the table.")
    source = generator.device if generator is not None else torch.device("cpu")
    chosen = torch.randperm(rows, generator=generator, device=source)[:most].sort().values

    if isinstance(inputs, Tensor):
        return inputs[chosen.to(inputs.device)]
    return (inputs.iloc if hasattr(inputs, "iloc") else inputs)[chosen.cpu().numpy()]


def _tensor(array: NDArray[Any]) -> Tensor:
    """The array as a tensor, without a copy where that can be."""
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"`inputs` must hold real numbers, got an array of {array.dtype}: "
            "convert it (`interaction_spectrum` takes DataFrames too, whose columns may hold anything)."
        )
    if np.ma.is_masked(array):
        raise TypeError("`inputs` must not be masked: fill the masked entries, with nan say.")

    if array.dtype.itemsize > 8 or (array.dtype.kind == "u" and array.dtype.itemsize > 1):
        raise TypeError(f"`inputs` must be float64, int64 or narrower, got {array.dtype}: convert it with `astype`.")

    # torch shares memory that it may write to, in the machine's own byte order, and that runs forward.
    native = np.asarray(array, dtype=array.dtype.newbyteorder("="))
    shared = native.flags.writeable and min(native.strides) >= 0
    return torch.from_numpy(native if shared else native.copy())


def placed(rows: Tensor, module: nn.Module) -> Tensor:
    """Put rows on a module's device and in its precision, but for integers that an embedding may look up."""
    parameter = next((one for one in module.parameters() if one.is_floating_point()), None)
    if parameter is None:
        return rows

    keeps = looks_up(module) and not rows.is_floating_point()
    return rows.to(parameter.device, rows.dtype if keeps else parameter.dtype)


def looks_up(module: nn.Module) -> bool:
    """Say whether a module holds an embedding, which is given integers."""
    return any(isinstance(part, nn.Embedding | nn.EmbeddingBag) for part in module.modules())


def _for_module(table: Table, module: nn.Module) -> NumberTable:
    """The numbers of a DataFrame, which are all that a torch module reads."""
    if table.coded:
        name = table.names[table.coded[0]]
        raise TypeError(f"a torch module needs columns of numbers, but `{name}` holds others: encode it, or wrap f.")
    return NumberTable(placed(torch.from_numpy(table.numbers(table.rows)), module), as_array=False)
