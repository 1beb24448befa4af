"""Who leaves training early: arms that are clearly beaten on the stop rows, all seeds taken together."""

import math
from collections.abc import Sequence

import numpy as np

from dropscope.study.decision import dunnett_point, residual_square
from dropscope.study.options import TEXTBOOK
from dropscope.study.rates import Rates
from dropscope.study.trial import Trial

__all__ = ["Race", "beaten"]

RUNGS = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1)  # of the planned epochs
CONFIDENCE = 0.995


class Race:
    """Successive halving over the trials of a study, as `stack.train` asks for it (`beaten`).

    After a sixteenth to all of the planned epochs, at `RUNGS`, arms leave whose stop losses so far are `beaten`. No
    dropout and the textbook's arm stay, since the report compares with them, and so does the best with dropout.

    Args:
        trials: all trials of the study, in the order in which they are trained.
        epochs: planned number of epochs.
    """

    def __init__(self, trials: Sequence[Trial], epochs: int) -> None:
        self.rungs = {max(1, round(share * epochs)) for share in RUNGS}
        self.places: dict[tuple[Rates, float], list[int]] = {}
        for place, trial in enumerate(trials):
            self.places.setdefault((trial.arm, trial.lr), []).append(place)
        self.racing = [*self.places]

    def __call__(self, epoch: int, stop_curves: list[list[float]]) -> set[int]:
        """Name the trials that leave after this epoch, by their places."""
        if epoch not in self.rungs:
            return set()
        losses = {one: [np.nanmin([*stop_curves[i], math.inf]) for i in self.places[one]] for one in self.racing}
        sound = [one for one in self.racing if np.isfinite(losses[one]).all()]
        arms = [arm for arm, _ in sound]
        if len(set(arms)) < 2:
            return set()
        out = {sound[i] for i in beaten(np.array([losses[one] for one in sound]), arms)}
        self.racing = [one for one in self.racing if one not in out]
        return {place for one in out for place in self.places[one]}


def beaten(losses: np.ndarray, arms: Sequence[Rates]) -> list[int]:
    """Find the arms that could no longer be advised.

    An arm is beaten if its mean loss over S seeds exceeds the lowest of the race by more than

        c sqrt(2 MS / S)

    with the residual mean square MS of the arms in the race and their one-sided 99.5 % Dunnett point c.

    Args:
        losses: shape (arms, seeds).
        arms: their (input p, hidden p).

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
    race = [*range(len(arms))]
    while True:
        point = dunnett_point(len(arms) - 1, (len(race) - 1) * (seeds - 1), CONFIDENCE)
        error = point * math.sqrt(2 * residual_square(losses[race]) / seeds)
        staying = [a for a in race if a in safe or means[a] - means[race].min() <= error]
        if staying == race or len(staying) < 2:
            return [a for a in range(len(arms)) if a not in race]
        race = staying
