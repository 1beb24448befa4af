"""The rows that a user's `load` gives: batches of four parts, checked, counted, moved and told apart."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, Dataset, IterableDataset

__all__ = ["PARTS", "Parts", "bytes_digest", "count_rows", "joined", "moved", "read_parts", "unpacked"]

PARTS = ("fit", "stop", "select", "test")
Parts = dict[str, Iterable[Any] | None]


def read_parts(load: Callable[[int], Any], seed: int, batch_size: int) -> Parts:
    """Call `load` and make batches of what it gives.

    Args:
        load: maps a seed to (fit, stop, select, test): each a Dataset, a DataLoader or other batches that can be gone
            through again and again; test may be None.
        seed: the trial's seed.
        batch_size: rows of a batch of a Dataset; those of fit are shuffled, and a last one that is short is left out
            where there are others.

    Returns:
        Batches by part.

    Raises:
        ValueError: `load` gives something else.
    """
    given = load(seed)
    if not isinstance(given, tuple | list) or len(given) != len(PARTS):
        got = f"{len(given)} of them" if isinstance(given, tuple | list) else type(given).__name__
        raise ValueError(f"`load` must give (fit, stop, select, test), got {got}: test may be None.")
    parts = {name: _batches(part, name, batch_size) for name, part in zip(PARTS, given, strict=True)}
    for name, part in parts.items():
        if part is None and name != "test":
            raise ValueError(f"`load` must give {name} rows, got None: only test may be None.")
    return parts


def _batches(part: Any, name: str, batch_size: int) -> Iterable[Any] | None:
    if isinstance(part, IterableDataset):
        return DataLoader(part, batch_size)
    if isinstance(part, Dataset):
        rows = len(part)  # type: ignore[arg-type]
        fits = name == "fit" and rows > 0
        return DataLoader(part, batch_size, shuffle=fits, drop_last=fits and rows >= batch_size)
    if part is not None and not hasattr(part, "__iter__"):
        raise ValueError(f"`load` must give Datasets or DataLoaders, got {type(part).__name__} as {name}.")
    return part


def unpacked(batch: Any, device: torch.device | str) -> tuple[tuple[Any, ...], Any]:
    """Take a batch apart, on the device.

    Args:
        batch: a tuple or list whose last entry is the target.
        device: where its tensors shall be.

    Returns:
        The arguments of the model, and the target.

    Raises:
        ValueError: the batch is something else.
    """
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise ValueError(f"`load` must give batches of (inputs, target), got {type(batch).__name__}.")
    *inputs, target = moved(batch, device)
    return tuple(inputs), target


def moved(tree: Any, device: torch.device | str) -> Any:
    """Move all tensors of nested containers to a device."""
    return tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, tree)


def count_rows(target: Any) -> int:
    """Count the rows of a batch by its target."""
    leaves = [leaf for leaf in tree_leaves(target) if isinstance(leaf, Tensor)]
    if not leaves or leaves[0].ndim == 0:
        raise ValueError(f"`load` must give batches whose target is a tensor of rows, got {type(target).__name__}.")
    return len(leaves[0])


def joined(batches: list[Any]) -> Any:
    """Join outputs or targets of batches to those of all rows, whatever containers they come in."""
    return tree_map(lambda *leaves: torch.cat(leaves), *batches)


def bytes_digest(tree: Any) -> str:
    """Hash the values of all tensors of nested containers."""
    hashed = hashlib.sha256()
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor):
            values = leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            hashed.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode() + values)
        else:
            hashed.update(repr(leaf).encode())
    return hashed.hexdigest()
