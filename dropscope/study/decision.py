"""The statistics of the advice: what a table of losses, arms × seeds, can and cannot say."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, special, stats

from dropscope.study.rates import Rates, largest, place_of

__all__ = ["Decision", "Losses", "at_edge", "best_guess", "decide", "dunnett_point", "precedence", "residual_square"]

CONFIDENCE = 0.9
NEGLIGIBLE = 0.01  # of the p=0 loss
MOST_SEEDS = 1000


@dataclass(frozen=True, eq=False)
class Losses:
    """What is known of the arms' losses: no test row can reach the advice through this.

    `arms[0]` is (0, 0); `values`, on selection rows, has shape (arms, seeds); `estimates`, of the mean loss, shape
    (arms,), is nan where an arm left; `ratio` is n_select / n_fit; `left` are the positions of arms that left training
    early, beaten: none of them can be the best, but all of them were compared.
    """

    arms: tuple[Rates, ...]
    values: np.ndarray
    estimates: np.ndarray
    ratio: float
    left: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Decision:
    """What the losses say.

    `kind` is "dropout", "no dropout" or "cannot tell"; `arm` indexes the advised arm, which is a best guess where the
    data cannot tell; `best` indexes the arm of the lowest mean selection loss among those with dropout; `gains` are
    mean reductions of that loss for every arm, `se` the standard error of one gain, `point` the one-sided 90 % Dunnett
    point; `seeds_needed` is the number of seeds that would tell, or None.
    """

    kind: str
    arm: int
    best: int
    gains: np.ndarray
    se: float
    point: float
    seeds_needed: int | None


@dataclass(frozen=True)
class _Noise:
    """The residual mean square of the arms in the race, with p=0, and what follows from it for any number of seeds."""

    square: float
    racing: int
    compared: int
    ratio: float

    def error(self, seeds: int) -> float:
        return math.sqrt(2 * self.square * (1 / seeds + self.ratio))

    def point(self, seeds: int) -> float:
        return dunnett_point(self.compared, self.racing * (seeds - 1))


def decide(losses: Losses) -> Decision:
    """Decide between dropout, no dropout and more data, with the false-advice rate held at 10 %.

    Gains d(a,s) = loss(p=0, s) - loss(a, s) form a randomised-block table: with MS the residual mean square of p=0 and
    the R arms in the race, on R(S-1) degrees of freedom, SE = sqrt(2 MS (1/S + n_select/n_fit)). Dropout is advised if
    max gain / SE passes the Dunnett point c of all arms compared; no dropout if gain + c SE < 1 % of the p=0 loss for
    every arm. An arm is out of the race if the best gains more than c SE over it: its losses, far from those that are
    compared, scatter more than they do, and would hide what these show.

    Which rate to use is a matter of estimation: of the arms that pass, the one of the lowest estimate is advised. If
    the data cannot tell, the best guess is the lowest of all arms, be it p=0.

    Args:
        losses: two seeds and two arms or more.

    Returns:
        The decision.

    Raises:
        ValueError: there are fewer than two arms or seeds.

    Example:
        >>> table = np.array([[1.0, 1.1, 0.9], [0.8, 0.91, 0.7], [1.2, 1.3, 1.12]])
        >>> decide(Losses(((0, 0), (0, 0.25), (0, 0.5)), table, table.mean(1), ratio=1 / 3)).kind
        'dropout'

    Reference:
        Dunnett 1955, doi:10.1080/01621459.1955.10501294; Nadeau & Bengio 2003, doi:10.1023/A:1024068626366.
    """
    values, arms = losses.values, losses.arms
    count, seeds = values.shape
    if count - len(losses.left) < 2 or seeds < 2:
        raise ValueError(f"`losses` must hold two arms and two seeds or more, got {count} and {seeds}.")
    gains = values[0].mean() - values.mean(1)
    stayed = [i for i in range(1, count) if i not in losses.left]
    best = min(stayed, key=lambda i: (-gains[i], *precedence(arms[i])))
    noise = _noise(losses, gains, best)
    se, point = noise.error(seeds), noise.point(seeds)
    if gains[best] > point * se:
        passing = [i for i in stayed if gains[i] > point * se]
        return Decision("dropout", _lowest(losses, passing), best, gains, se, point, None)
    limit = NEGLIGIBLE * abs(float(values[0].mean()))  # a log-likelihood may have any sign
    if gains[best] + point * se <= limit:
        return Decision("no dropout", 0, best, gains, se, point, None)
    needed = _seeds_needed(float(gains[best]), noise, limit, seeds)
    return Decision("cannot tell", best_guess(losses), best, gains, se, point, needed)


def best_guess(losses: Losses) -> int:
    """Find the arm to use where nothing is shown: that of the lowest estimate, among all that did not leave.

    Args:
        losses: of one arm or more.

    Returns:
        Its position.

    Example:
        >>> best_guess(Losses(((0, 0), (0, 0.25)), np.ones((2, 5)), np.array([1.0, 0.9]), ratio=1 / 3))
        1
    """
    return _lowest(losses, [i for i in range(len(losses.arms)) if i not in losses.left])


def _lowest(losses: Losses, among: list[int]) -> int:
    return min(among, key=lambda i: (losses.estimates[i], *precedence(losses.arms[i])))


def _noise(losses: Losses, gains: np.ndarray, best: int) -> _Noise:
    """Take arms out of the race until the best one beats none of those that stay."""
    values, race = losses.values, np.arange(1, len(gains))
    while True:
        square = residual_square(values[[0, *race]])
        noise = _Noise(square, len(race), len(gains) - 1, losses.ratio)
        seeds = values.shape[1]
        staying = race[gains[best] - gains[race] <= noise.point(seeds) * noise.error(seeds)]
        if len(staying) == len(race):
            return noise
        race = staying


@lru_cache(maxsize=4096)
def dunnett_point(comparisons: int, freedom: int, confidence: float = CONFIDENCE) -> float:
    """Compute the one-sided Dunnett point: c with P(max_i T_i <= c) = confidence for arms against one control.

    P = E_s E_z Φ(z + √2 c s)^k with z standard normal and s² ~ χ²_ν / ν; both means by Gaussian quadrature.

    Args:
        comparisons: number k of arms compared with the control.
        freedom: degrees of freedom ν of the error.
        confidence: simultaneous confidence level.

    Returns:
        The point, in standard errors of one difference.

    Example:
        >>> round(dunnett_point(1, 10**6), 3)  # one comparison: the normal quantile
        1.282

    Reference:
        Dunnett 1955, doi:10.1080/01621459.1955.10501294.
    """
    nodes, weights = special.roots_hermitenorm(64)
    weights = weights / weights.sum()
    quantiles, masses = special.roots_legendre(512)
    spread = np.sqrt(stats.chi2.ppf((quantiles + 1) / 2, freedom) / freedom)

    def covered(c: float) -> float:
        below = special.ndtr(nodes[:, None] + math.sqrt(2) * c * spread) ** comparisons
        return float(weights @ below @ masses / 2)

    return float(optimize.brentq(lambda c: covered(c) - confidence, -10, 1000))


def precedence(arm: Rates) -> tuple[float, int]:
    """Order arms that do equally well: small rates first, then hidden before input before both, the cheaper change.

    Args:
        arm: (input p, hidden p).

    Returns:
        What to sort by.
    """
    return _reach(arm), _place(arm)


def _place(arm: Rates) -> int:
    return {(False, True): 0, (True, False): 1}.get((arm[0] > 0, largest(arm[1]) > 0), 2)


def _reach(arm: Rates) -> float:
    return max(arm[0], largest(arm[1]))


def at_edge(arms: Sequence[Rates], arm: Rates) -> bool:
    """Say whether an arm has the largest rate of several studied where it drops.

    Args:
        arms: all arms of the study.
        arm: one of them.

    Returns:
        Whether a wider grid might hold a better one.

    Example:
        >>> at_edge([(0, 0), (0, 0.25), (0, 0.5)], (0, 0.5))
        True
    """
    rivals = [_reach(one) for one in arms if place_of(one) == place_of(arm)]
    return len(rivals) > 1 and _reach(arm) == max(rivals)


def _seeds_needed(gain: float, noise: _Noise, limit: float, seeds: int) -> int | None:
    """Smallest number of seeds that would settle it if means and noise stay as they are; the bound only falls."""

    def tells(more: int) -> bool:
        bound = noise.error(more) * noise.point(more)
        return gain > bound or gain + bound <= limit

    needed = bisect_left(range(MOST_SEEDS + 1), True, lo=seeds + 1, key=tells)
    return needed if needed <= MOST_SEEDS else None


def residual_square(values: np.ndarray) -> float:
    """Compute the residual mean square of a randomised-block table.

    Args:
        values: shape (arms, seeds), two of each or more.

    Returns:
        The mean square, on (arms - 1)(seeds - 1) degrees of freedom.

    Example:
        >>> residual_square(np.array([[1.0, 2.0], [3.0, 4.0]]))  # arms and seeds explain everything
        0.0
    """
    residual = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    return float(np.square(residual).sum()) / ((values.shape[0] - 1) * (values.shape[1] - 1))
