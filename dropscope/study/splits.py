"""Which rows fit, stop, select and test: cut once for the test, and once more by each trial's seed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dropscope.errors import BadTable
from dropscope.study.options import Options

__all__ = ["MOST_ROWS", "Cut", "Cutter"]

# The mean loss of so many rows errs by a third of a percent of the standard deviation of one row's.
MOST_ROWS = 100_000
PARTS = ("fit", "stop", "select")


@dataclass(frozen=True, eq=False)
class Cut:
    """Row indices of one trial seed: weights from `fit`, the epoch from `stop`, the score from `select`."""

    fit: np.ndarray
    stop: np.ndarray
    select: np.ndarray


class Cutter:
    """Cuts the rows of one study.

    The test rows come from the study seed alone, so they are the same for every trial. Every other cut takes only from
    the remaining rows. Groups are never divided; with a time column, later rows are never used to predict earlier
    ones; classes keep their shares. Of more than 100,000 stop, selection or test rows so many are drawn, unless the
    table itself names the rows of the part.

    Args:
        rows: number of rows.
        options: the study's options (`test`, `fractions`, `study_seed`).
        classes: one class index a row, or None.
        groups: one group index a row, or None.
        times: one sortable value a row, or None.
        given: one word a row (`train`, `test`, or `fit`, `stop`, `select`, `test`), or None.

    Attributes:
        samples: whether stop, selection or test rows are drawn from more of them.

    Raises:
        BadTable: a cut would be empty, or `given` holds other words.
    """

    def __init__(
        self,
        rows: int,
        options: Options,
        *,
        classes: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        times: np.ndarray | None = None,
        given: np.ndarray | None = None,
    ) -> None:
        self.options, self.classes = options, classes
        self.units = groups if groups is not None else times if times is not None else np.arange(rows)
        self.in_time = times is not None
        self.given = given
        self.samples = False
        if given is not None:
            self.test, self.rest = np.flatnonzero(given == "test"), np.flatnonzero(given != "test")
            self._check_given(set(given.tolist()))
        else:
            rest = np.arange(rows)
            shares = (1 - options.test, options.test)
            self.rest, test = self._divide(rest, shares, np.random.default_rng([options.study_seed, 0]))
            self.test = _sample(test, np.random.default_rng([options.study_seed, 2]))
            self.samples = len(test) > MOST_ROWS
        if given is None or "fit" not in given:
            self.samples |= len(self.rest) * max(options.fractions[1:]) > MOST_ROWS
        self._check("test", self.test)

    def cut(self, seed: int) -> Cut:
        """Cut the remaining rows for one trial seed, the same for every arm.

        Args:
            seed: the trial's seed.

        Returns:
            The rows that fit, stop and select; none of them is a test row.

        Raises:
            BadTable: one of the three would be empty.
        """
        if self.given is not None and "fit" in self.given:
            cut = Cut(*(np.flatnonzero(self.given == part) for part in PARTS))
        else:
            # Seeds of the cuts must not collide with the study's own test cut, which uses [study_seed, 0].
            generator = np.random.default_rng([self.options.study_seed, 1, seed])
            rest = self._window(generator) if self.in_time else self.rest
            fit, *scored = self._divide(rest, self.options.fractions, generator)
            cut = Cut(fit, *(_sample(rows, generator) for rows in scored))
        for part in PARTS:
            self._check(part, getattr(cut, part))
        return cut

    def last(self) -> Cut:
        """Cut the remaining rows for one last network, which nothing will be compared with: none of them scores.

        Rows that would score also fit; with a time column they are the newest, and choose the epoch.

        Returns:
            The rows that fit and stop, and no others.
        """
        if self.in_time and self.given is None:
            generator = np.random.default_rng([self.options.study_seed, 3])
            share = self.options.fractions[1]
            fit, stop = self._divide(self.rest, (1 - share, share), generator)
            return Cut(fit, _sample(stop, generator), stop[:0])
        cut = self.cut(0)
        return Cut(np.sort(np.concatenate([cut.fit, cut.select])), cut.stop, cut.select[:0])

    def _window(self, generator: np.random.Generator) -> np.ndarray:
        """Four fifths of the remaining time span, starting at a random moment of the first fifth."""
        moments = np.unique(self.units[self.rest])
        start = int(generator.random() * 0.2 * len(moments))
        chosen = moments[start : start + max(3, int(0.8 * len(moments)))]
        return self.rest[np.isin(self.units[self.rest], chosen)]

    def _divide(self, rows: np.ndarray, shares: tuple[float, ...], generator: np.random.Generator) -> list[np.ndarray]:
        """Divide rows by shares, whole units at a time; each part's rows are sorted."""
        units, inverse, counts = np.unique(self.units[rows], return_inverse=True, return_counts=True)
        order = np.arange(len(units)) if self.in_time else self._shuffle(rows, len(units), generator)
        filled = np.cumsum(counts[order]) - counts[order] / 2
        part_of_unit = np.empty(len(units), int)
        part_of_unit[order] = np.searchsorted(np.cumsum(shares)[:-1] * len(rows), filled, side="right")
        part = part_of_unit[inverse]
        return [rows[part == i] for i in range(len(shares))]

    def _shuffle(self, rows: np.ndarray, units: int, generator: np.random.Generator) -> np.ndarray:
        order = generator.permutation(units)
        if self.classes is None or units < len(rows):
            return order
        # Rank every row within its class: walking by rank / class size meets all classes at an even pace.
        classes = self.classes[rows][np.argsort(self.units[rows], kind="stable")][order]
        pace = np.empty(len(rows))
        for label in np.unique(classes):
            members = classes == label
            pace[members] = (np.arange(members.sum()) + generator.random()) / members.sum()
        return order[np.argsort(pace, kind="stable")]

    def _check_given(self, words: set[Any]) -> None:
        if words not in ({"train", "test"}, {*PARTS, "test"}):
            raise BadTable(
                "the split column must hold `train` and `test`, or `fit`, `stop`, `select` and `test`, "
                f"got {', '.join(sorted(map(str, words))[:6])}."
            )

    def _check(self, part: str, rows: np.ndarray) -> None:
        if len(rows) < 2:
            raise BadTable(f"the {part} rows must be two or more, got {len(rows)}: give more rows, groups or times.")


def _sample(rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    if len(rows) <= MOST_ROWS:
        return rows
    return np.sort(generator.choice(rows, MOST_ROWS, replace=False))
