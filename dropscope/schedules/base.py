"""What all schedules over time share: the sites, the step, and their state."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import nn

from dropscope.sites import Site
from dropscope.surgery.rates import Rates, assign, checked, wanted

__all__ = ["Schedule"]


class Schedule(ABC):
    """Change the rates of a whole model step by step: at step t each site drops with `p · share(t)`.

    A subclass gives `share(t)`. Its `p` is that of the site, so that rates that differ over depth go on doing so. The
    schedule sets the rates of step 0 when it is made, and those of the next one at each `step()`, which is called
    where the step of a learning rate's schedule is: once per update or once per epoch, whichever the numbers mean.

    It holds the sites as they are when it is made: make it after the surgery. What comes after another schedule needs
    `p`, for that one may have left the rates at 0. Learned rates are left alone, as by `surgery.set_p`. The numbers
    and words that a subclass holds are its settings, which a checkpoint must share.

    Args:
        model: any module.
        p: the full rates, as in `surgery.set_p`: a number, a mapping from paths or a function of the site; None:
            what each site has now.
        where: which of the paths to change; None: all.

    Raises:
        TypeError: a rate is not a number.
        ValueError: a rate is not a probability, `p` names a path that is no site, or `share` gives no part of it.

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
        self._go_to(0, wanted(model, (lambda site: site.p) if p is None else p, where))

    @abstractmethod
    def share(self, step: int) -> float:
        """Give the part of each site's full rate that holds at a step, in [0, 1]."""

    @property
    def rates(self) -> dict[str, float]:
        """The rate of each site now, by its path."""
        share = self.share(self.steps_done)
        return {site.path: p * share for site, p in self.full}

    def step(self) -> None:
        """Set the rates of the next step.

        Raises:
            ValueError: `share` gives no number in [0, 1] there; nothing is changed.
        """
        self._go_to(self.steps_done + 1, self.full)

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint must hold: the rule, the number of steps done, and each site's full rate."""
        return {
            "rule": self._rule(),
            "steps_done": self.steps_done,
            "full": {_plain(site.path): p for site, p in self.full},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint: take its steps and full rates, and set the model's rates.

        Args:
            state: what `state_dict` gave, for the same rule and a model with the same sites, compiled or not.

        Raises:
            TypeError: a rate is not a number; nothing is changed.
            ValueError: the rule or the sites are not the same, or the state is none; nothing is changed.
        """
        if not isinstance(state, dict) or not {"rule", "steps_done", "full"} <= set(state):
            raise ValueError(f"`state` must be what `state_dict` gave, got {state!r}.")
        if state["rule"] != self._rule():
            raise ValueError(f"`state` must be of {self._rule()}, got one of {state['rule']}.")
        if type(state["steps_done"]) is not int or state["steps_done"] < 0:
            raise ValueError(f"`state` must hold a number of steps done, 0 or more, got {state['steps_done']!r}.")
        if different := sorted({_plain(site.path) for site, _ in self.full} ^ set(state["full"])):
            raise ValueError(f"`state` must be of a model with the same dropout sites, got other {different}.")

        full = [(site, checked(state["full"][_plain(site.path)], site)) for site, _ in self.full]
        self._go_to(state["steps_done"], full)

    def _go_to(self, step: int, full: list[tuple[Site, float]]) -> None:
        """Set the rates of a step, then take it as done."""
        share = self.share(step)
        if not 0 <= share <= 1:
            raise ValueError(f"`share` must give a part of the full rates, in [0, 1], got {share!r} at step {step}.")
        assign([(site, p * share) for site, p in full])
        self.full, self.steps_done = full, step

    def _rule(self) -> str:
        """Name the rule with its own settings, which a state must share."""
        settings = [
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if name != "steps_done" and isinstance(value, int | float | str)
        ]
        return f"{type(self).__name__}({', '.join(settings)})"


def _plain(path: str) -> str:
    """Give the path that a module has in the model before it is compiled."""
    return ".".join(part for part in path.split(".") if part != "_orig_mod")
