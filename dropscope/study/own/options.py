"""The options of a study of one's own model, checked before anything is built: rates and everything beside them."""

import pickle
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from dropscope.study.options import Options
from dropscope.study.rates import Rates

__all__ = ["Grid", "check_device", "check_picklable", "check_settings", "check_workers"]

DIAL = (0.0, 0.1, 0.25, 0.5)


@dataclass(frozen=True)
class Grid:
    """Rates as the user gave them: `p` turns all sites at once, the others turn input and hidden sites apart."""

    p: Any = None
    p_input: Any = None
    p_hidden: Any = None
    pair: Any = None

    def arms(self, places: set[str]) -> list[Rates]:
        """List the arms of the study, no dropout first.

        Args:
            places: where the model has rates to set: input, hidden or both.

        Returns:
            Pairs (input p, hidden p).

        Raises:
            ValueError: a rate is out of its range, none is above 0, or one is given for a place that there is not.

        Example:
            >>> Grid(p=(0.1, 0.5)).arms({"hidden"})
            [(0.0, 0.0), (0.0, 0.1), (0.0, 0.5)]
        """
        apart = {"p_input": self.p_input, "p_hidden": self.p_hidden, "pair": self.pair}
        apart = {name: given for name, given in apart.items() if given is not None}
        if apart and self.p is not None:
            raise ValueError(f"`p` turns all sites at once: give it or `{next(iter(apart))}`, not both.")
        if not apart:
            return self._dial(places)
        for name, given in apart.items():
            missing = {"p_input": {"input"}, "p_hidden": {"hidden"}}.get(name, {"input", "hidden"}) - places
            if missing:
                place = missing.pop()
                raise ValueError(
                    f"`{name}` needs {place} sites, which the model has not, got {given!r}: name them with "
                    f"`sites={{path: {place!r}}}`, or let `build` take `p_{place}`."
                )
        rates = {name: apart.get(name, ()) for name in ("p_input", "p_hidden")}
        return Options.of(**rates, pair=apart.get("pair", None if all(rates.values()) else ())).arms()

    def _dial(self, places: set[str]) -> list[Rates]:
        given = DIAL if self.p is None else self.p
        rates = [given] if isinstance(given, int | float) else list(given)
        for p in rates:
            if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p < 1:
                raise ValueError(f"`p` must be in [0, 1), got {p!r}: it is the probability of dropping.")
        if not any(rates):
            raise ValueError(f"`p` must hold a rate above 0, got {given!r}: no dropout is studied in any case.")
        turned = [(p * ("input" in places), p * ("hidden" in places)) for p in map(float, sorted(rates))]
        return list(dict.fromkeys([(0.0, 0.0), *turned]))


def check_settings(**settings: Any) -> dict[str, Any]:
    """Check settings that a study of a table has too.

    Args:
        settings: numbers by name, as in `Options`.

    Returns:
        The settings.

    Raises:
        ValueError: one of them is out of its range.
    """
    Options.of(**settings)
    return settings


def check_workers(workers: int) -> None:
    """Check a number of processes.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ValueError(f"`workers` must be a whole number of at least 1, got {workers!r}.")


def check_device(device: str | torch.device) -> str:
    """Check that torch can use a device.

    Args:
        device: such as "cpu", "cuda:1" or "mps".

    Returns:
        Its name.

    Raises:
        ValueError: there is no such device.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"`device` must be available, got {str(device)!r}: {reason}.") from error
    return str(device)


def check_picklable(**functions: Any) -> None:
    """Check that functions can be sent to other processes, which start by importing the program anew.

    Args:
        functions: functions, or anything that stands for one, by the names that the user knows.

    Raises:
        ValueError: one of them cannot.
    """
    for name, function in functions.items():
        try:
            pickle.dumps(function)
        except Exception as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise ValueError(
                f"`{name}` must be picklable with `workers` above 1, got {function!r} ({reason}): define it at the "
                "top level of a file."
            ) from error
        if _is_interactive(function):
            raise ValueError(
                f"`{name}` must be defined in a file with `workers` above 1, got {function!r} of an interactive "
                "session, which other processes cannot import."
            )


def _is_interactive(function: Any) -> bool:
    main: ModuleType | None = sys.modules.get("__main__")
    return getattr(function, "__module__", None) == "__main__" and not hasattr(main, "__file__")
