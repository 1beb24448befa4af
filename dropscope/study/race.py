"""Who leaves training early: arms that are clearly beaten on the stop rows, all seeds taken together."""

import math
from collections.abc import Sequence

import numpy as np

from dropscope.study.decision import dunnett_point, residual_square
from dropscope.study.options import TEXTBOOK
from dropscope.study.rates import Rates
from dropscope.study.trial import Trial

__all__ = ["Race", "beaten"]

RUNGS = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1)  # of the planned epochs
CONFIDENCE = 0.995


class Race:
    """Successive halving over the trials of a study, as `stack.train` asks for it (`beaten`).

    After an eighth to all of the planned epochs, at `RUNGS`, arms leave whose stop losses so far are `beaten`. What an
    arm caught up with the leader in the last doubling of epochs it may catch up in each one to come: much dropout
    learns slowly. No dropout and the textbook's arm stay, since the report compares with them, and so does the best
    with dropout.

    Args:
        trials: all trials of the study, in the order in which they are trained.
        epochs: planned number of epochs.
    """

    def __init__(self, trials: Sequence[Trial], epochs: int) -> None:
        self.epochs = epochs
        self.rungs = {max(2, round(share * epochs)) for share in RUNGS}
        self.places: dict[tuple[Rates, float], list[int]] = {}
        for place, trial in enumerate(trials):
            self.places.setdefault((trial.arm, trial.lr), []).append(place)
        self.racing = [*self.places]

    def __call__(self, epoch: int, stop_curves: list[list[float]]) -> set[int]:
        """Name the trials that leave after this epoch, by their places."""
        if epoch not in self.rungs:
            return set()
        now, before = (
            {one: [_lowest(stop_curves[i][:end]) for i in self.places[one]] for one in self.racing}
            for end in (epoch, epoch // 2)
        )
        sound = [one for one in self.racing if np.isfinite(now[one]).all()]
        arms = [arm for arm, _ in sound]
        if len(set(arms)) < 2:
            return set()
        losses, earlier = (np.array([table[one] for one in sound]) for table in (now, before))
        doublings = max(0.0, math.log2(self.epochs / epoch))
        out = {sound[i] for i in beaten(losses, arms, doublings * caught_up(losses, earlier))}
        self.racing = [one for one in self.racing if one not in out]
        return {place for one in out for place in self.places[one]}


def caught_up(losses: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Find how much of its lag behind the leader each arm has made good between two epochs.

    Args:
        losses: shape (arms, seeds), at the later one.
        earlier: the same at the earlier one.

    Returns:
        Shape (arms,), 0 for an arm that fell back.

    Example:
        >>> caught_up(np.array([[1.0], [3.0], [4.0]]), np.array([[2.0], [6.0], [4.5]])).tolist()
        [0.0, 2.0, 0.0]
    """
    now, before = losses.mean(1), earlier.mean(1)
    leader = now.argmin()
    return np.maximum(0.0, (before - before[leader]) - (now - now[leader]))


def beaten(losses: np.ndarray, arms: Sequence[Rates], hopes: np.ndarray | float = 0.0) -> list[int]:
    """Find the arms that could no longer be advised.

    An arm is beaten if its mean loss over S seeds, less what it may still make good, exceeds the lowest of the race by
    more than

        c sqrt(2 MS / S)

    with the residual mean square MS of the arms in the race and their one-sided 99.5 % Dunnett point c.

    Args:
        losses: shape (arms, seeds).
        arms: their (input p, hidden p).
        hopes: how much of its lag each arm may still make good, shape (arms,).

    Returns:
        The positions of those beaten; never (0, 0), the textbook's arm or the best arm with dropout.

    Example:
        >>> arms = [(0, 0), (0, 0.1), (0, 0.2), (0, 0.6)]
        >>> beaten(np.array([[1.0, 1.1], [0.9, 1.01], [0.9, 1.0], [3.0, 3.1]]), arms)
        [3]

    Reference:
        Jamieson & Talwalkar 2016, arXiv:1502.07943; Dunnett 1955, doi:10.1080/01621459.1955.10501294.
    """
    seeds, means = losses.shape[1], losses.mean(1)
    with_dropout = [i for i, arm in enumerate(arms) if arm != (0, 0)]
    safe = {i for i, arm in enumerate(arms) if arm in ((0, 0), TEXTBOOK)}
    safe.add(min(with_dropout or [0], key=lambda i: means[i]))
    lags = means - means.min() - hopes
    race = [*range(len(arms))]
    while True:
        point = dunnett_point(len(arms) - 1, (len(race) - 1) * (seeds - 1), CONFIDENCE)
        error = point * math.sqrt(2 * residual_square(losses[race]) / seeds)
        staying = [a for a in race if a in safe or lags[a] <= error]
        if staying == race or len(staying) < 2:
            return [a for a in range(len(arms)) if a not in race]
        race = staying


def _lowest(curve: Sequence[float]) -> float:
    return float(np.nanmin([*curve, math.inf]))
