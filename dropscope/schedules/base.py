"""What all schedules over time share: the sites, the step, and their state."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import nn

from dropscope.sites import find
from dropscope.surgery.rates import Rates, assign, wanted

__all__ = ["Schedule"]


class Schedule(ABC):
    """Change the rates of a whole model step by step: at step t each site drops with `p · share(t)`.

    A subclass gives `share(t)`. Its `p` is that of the site, so that rates that differ over depth go on doing so. The
    schedule sets the rates of step 0 when it is made, and those of the next one at each `step()`, which is called
    where the step of a learning rate's schedule is: once per update or once per epoch, whichever the numbers mean.

    Args:
        model: any module; sites added later are not followed.
        p: the full rates, as in `surgery.set_p`: a number, a mapping from paths or a function of the site; None:
            what each site has now.
        where: which of the paths to change; None: all.

    Raises:
        TypeError: a rate is not a number.
        ValueError: a rate is not a probability, or `p` names a path that is no site.

    Example:
        >>> class Halving(Schedule):
        ...     def share(self, step):
        ...         return 0.5**step
        >>> dropout = nn.Dropout()
        >>> schedule = Halving(dropout, p=0.4)
        >>> schedule.step()
        >>> dropout.p
        0.2
    """

    def __init__(self, model: nn.Module, *, p: Rates | None = None, where: Callable[[str], bool] | None = None) -> None:
        sites = [site for site in find(model) if where is None or where(site.path)]
        self.full = wanted(sites, (lambda site: site.p) if p is None else p)
        self.steps_done = 0
        self._apply()

    @abstractmethod
    def share(self, step: int) -> float:
        """Give the part of each site's full rate that holds at a step, in [0, 1]."""

    @property
    def rates(self) -> dict[str, float]:
        """The rate of each site now, by its path."""
        share = self.share(self.steps_done)
        return {site.path: p * share for site, p in self.full}

    def step(self) -> None:
        """Set the rates of the next step."""
        self.steps_done += 1
        self._apply()

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint must hold: the number of steps done, and each site's full rate."""
        return {"steps_done": self.steps_done, "full": {site.path: p for site, p in self.full}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint: take its steps and full rates, and set the model's rates.

        Args:
            state: what `state_dict` gave, for a model with the same sites.

        Raises:
            ValueError: the sites are not the same; nothing is changed.
        """
        paths = {site.path for site, _ in self.full}
        if different := sorted(paths ^ set(state["full"])):
            raise ValueError(f"`state` must be of a model with the same dropout sites, got other {different}.")
        self.full = wanted([site for site, _ in self.full], state["full"])
        self.steps_done = state["steps_done"]
        self._apply()

    def _apply(self) -> None:
        rates = self.rates
        assign([(site, rates[site.path]) for site, _ in self.full])
