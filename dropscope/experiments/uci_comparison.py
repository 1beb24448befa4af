"""Our results on the UCI tables beside those of Gal & Ghahramani (2016), and whether the two agree."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dropscope.data import UciResults
from dropscope.experiments.pairing import Pairs, paired

__all__ = ["PUBLISHED", "Outcome", "Reproduction"]

LARGEST_T = 3.4
MARGIN = 0.05  # of the ratio of RMSEs around one
WIDER = {"boston": 0.1, "yacht": 0.1}  # tables of few rows

# Their means and standard errors, of RMSE and of log-likelihood, for when the results of each cut are not to be had.
PUBLISHED = {
    "boston": ("2.974±0.190", "-2.460±0.055"),
    "concrete": ("5.230±0.118", "-3.039±0.020"),
    "energy": ("1.663±0.043", "-1.985±0.020"),
    "kin8nm": ("0.0965±0.0007", "0.951±0.006"),
    "naval": ("0.0055±0.0001", "3.805±0.011"),
    "power": ("4.022±0.041", "-2.795±0.010"),
    "protein": ("4.356±0.019", "-2.891±0.004"),
    "wine": ("0.620±0.009", "-0.933±0.014"),
    "yacht": ("1.109±0.085", "-1.554±0.027"),
}


@dataclass(frozen=True, eq=False)
class Outcome:
    """One table, measured again.

    Attributes:
        name: which table.
        n_seeds: networks for each cut.
        ours: our results, one number for each cut, averaged over its networks.
        theirs: the authors', of the same cuts; None if they could not be had.
        training_seconds: of all networks together.
        passes_seconds: of all passes with dropout on.
    """

    name: str
    n_seeds: int
    ours: UciResults
    theirs: UciResults | None
    training_seconds: float
    passes_seconds: float

    @property
    def rmse(self) -> Pairs | None:
        """The RMSEs with dropout on, compared cut by cut."""
        return None if self.theirs is None else paired(self.ours.rmse, self.theirs.rmse)

    @property
    def log_likelihood(self) -> Pairs | None:
        """The log-likelihoods, compared cut by cut."""
        return None if self.theirs is None else paired(self.ours.log_likelihood, self.theirs.log_likelihood)

    @property
    def verdict(self) -> str:
        """Say whether we agree.

        agrees: both |t| are at most 3.4 and the interval of the ratio of RMSEs lies within its margin around one.
        differs: a |t| is larger, or the interval lies outside of the margin. undecided: the interval is too wide to
        tell; more cuts or networks would narrow it. not compared: the authors' results of each cut could not be had.
        """
        rmse, log_likelihood = self.rmse, self.log_likelihood
        if rmse is None or log_likelihood is None:
            return "not compared"
        margin = WIDER.get(self.name, MARGIN)
        outside = rmse.low > 1 + margin or rmse.high < 1 - margin
        if outside or max(abs(rmse.t), abs(log_likelihood.t)) > LARGEST_T:
            return "differs"
        return "agrees" if 1 - margin <= rmse.low and rmse.high <= 1 + margin else "undecided"

    def row(self) -> dict[str, str]:
        """Its line of the printed table."""
        rmse, likelihood = PUBLISHED[self.name]
        row = {
            "table": self.name,
            "networks": f"{len(self.ours.rmse)}×{self.n_seeds}",
            "RMSE": _mean_and_error(self.ours.rmse),
            "authors": rmse,
            "ratio, 95 %": "",
            "t": "",
            "log-lik.": _mean_and_error(self.ours.log_likelihood),
            "authors'": likelihood,
            "t ": "",
            "verdict": self.verdict,
            "s": f"{self.training_seconds + self.passes_seconds:.0f}",
        }
        if self.theirs is not None and self.rmse is not None and self.log_likelihood is not None:
            row["authors"] = _mean_and_error(self.theirs.rmse)
            row["authors'"] = _mean_and_error(self.theirs.log_likelihood)
            row["ratio, 95 %"] = f"{self.rmse.ratio:.3f} {self.rmse.low:.3f}–{self.rmse.high:.3f}"
            row["t"], row["t "] = f"{self.rmse.t:+.1f}", f"{self.log_likelihood.t:+.1f}"
        return row

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON."""
        return {
            "table": self.name,
            "n_seeds": self.n_seeds,
            "ours": _plain(self.ours),
            "theirs": None if self.theirs is None else _plain(self.theirs),
            "rmse": None if self.rmse is None else asdict(self.rmse),
            "log_likelihood": None if self.log_likelihood is None else asdict(self.log_likelihood),
            "verdict": self.verdict,
            "training_seconds": self.training_seconds,
            "passes_seconds": self.passes_seconds,
        }


@dataclass(frozen=True, eq=False)
class Reproduction:
    """All tables that were measured again.

    Attributes:
        outcomes: one for each table.
        n_samples: passes T for each network.
        seed: the first seed.
    """

    outcomes: tuple[Outcome, ...]
    n_samples: int
    seed: int

    def rows(self) -> list[dict[str, str]]:
        """The lines of the printed table."""
        return [outcome.row() for outcome in self.outcomes]

    def describe(self) -> str:
        """Say how the numbers were found and by which rule they are judged."""
        lines = [
            f"networks: cuts × networks of each; {self.n_samples:,} passes with dropout on, seed {self.seed}; ± is the "
            "standard error over cuts.",
            f"agrees: paired by cut, both |t| ≤ {LARGEST_T} and the interval of the ratio of RMSEs within 5 % of one "
            "(boston, yacht: 10 %); undecided: the interval is too wide for that.",
        ]
        if any(outcome.theirs is None for outcome in self.outcomes):
            lines.append(
                "not compared: the authors' results of each cut could not be had, so that their published means stand "
                "here; set DROPSCOPE_DATA to a folder that holds them."
            )
        return "\n".join(lines)

    __str__ = describe

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, ready for JSON."""
        outcomes = [outcome.to_dict() for outcome in self.outcomes]
        return {"n_samples": self.n_samples, "seed": self.seed, "outcomes": outcomes}


def _mean_and_error(values: np.ndarray) -> str:
    error = values.std(ddof=1) / len(values) ** 0.5
    digits = max(0, 1 - int(np.floor(np.log10(error)))) if error > 0 else 3
    return f"{values.mean():.{digits}f}±{error:.{digits}f}"


def _plain(results: UciResults) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in vars(results).items()}
