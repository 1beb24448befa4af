"""The rules by which rates change over the steps of a training."""

import math
from collections.abc import Callable
from numbers import Integral
from typing import Literal

from torch import nn

from dropscope.schedules.base import Schedule
from dropscope.surgery.rates import Rates

__all__ = ["Constant", "Curriculum", "Early", "Late", "Linear"]


class Constant(Schedule):
    """Drop with the full rates at every step: the control among schedules.

    Args:
        model: any module.
        p: the full rates, as in `surgery.set_p`; None: what each site has now.
        where: which of the paths to change; None: all.

    Example:
        >>> Constant(nn.Dropout(), p=0.2).rates
        {'': 0.2}
    """

    def share(self, step: int) -> float:
        """Give 1."""
        return 1.0


class Linear(Schedule):
    """Go evenly from one part of the full rates to another, and stay there.

    `share(t) = start + (end - start) · min(t / steps, 1)`.

    Args:
        model: any module.
        steps: number of steps of the way.
        start: part of the full rates at step 0, in [0, 1].
        end: part of the full rates from step `steps` on, in [0, 1].
        p: the full rates, as in `surgery.set_p`; None: what each site has now.
        where: which of the paths to change; None: all.

    Raises:
        TypeError: `start` or `end` is not a number.
        ValueError: `steps` is not a positive integer, or `start` or `end` not in [0, 1].

    Example:
        >>> schedule = Linear(nn.Dropout(), steps=4, p=0.2)
        >>> schedule.step()
        >>> schedule.rates
        {'': 0.05}
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        steps: int,
        start: float = 0.0,
        end: float = 1.0,
        p: Rates | None = None,
        where: Callable[[str], bool] | None = None,
    ) -> None:
        self.steps = _check_steps(steps)
        self.start, self.end = _check_part("start", start), _check_part("end", end)
        super().__init__(model, p=p, where=where)

    def share(self, step: int) -> float:
        """Give `start + (end - start) · min(step / steps, 1)`."""
        done = min(step / self.steps, 1.0)
        return (1 - done) * self.start + done * self.end


class Early(Schedule):
    """Drop in the first steps only: early dropout, which lets a network underfit less.

    `share(t) = 1 - t / steps` (or 1, with `shape="constant"`) for `t < steps`, then 0.

    Args:
        model: any module.
        steps: number of steps with dropout.
        shape: "linear" falls evenly to 0, "constant" stays at the full rates until it ends.
        p: the full rates, as in `surgery.set_p`; None: what each site has now.
        where: which of the paths to change; None: all.

    Raises:
        ValueError: `steps` is not a positive integer, or `shape` is unknown.

    Example:
        >>> schedule = Early(nn.Dropout(), steps=2, p=0.2)
        >>> schedule.step()
        >>> schedule.rates
        {'': 0.1}

    Reference:
        Liu et al., 2023, "Dropout reduces underfitting", arXiv:2303.01500.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        steps: int,
        shape: Literal["linear", "constant"] = "linear",
        p: Rates | None = None,
        where: Callable[[str], bool] | None = None,
    ) -> None:
        if shape not in ("linear", "constant"):
            raise ValueError(f'`shape` must be "linear" or "constant", got {shape!r}.')
        self.steps, self.shape = _check_steps(steps), shape
        super().__init__(model, p=p, where=where)

    def share(self, step: int) -> float:
        """Give `1 - step / steps`, or 1, before step `steps`, then 0."""
        if step >= self.steps:
            return 0.0
        return 1 - step / self.steps if self.shape == "linear" else 1.0


class Late(Schedule):
    """Train without dropout first: late dropout, which regularises a network that would overfit.

    `share(t) = 0` for `t < steps`, then 1.

    Args:
        model: any module.
        steps: number of steps without dropout.
        p: the full rates, as in `surgery.set_p`; None: what each site has now.
        where: which of the paths to change; None: all.

    Raises:
        ValueError: `steps` is not a positive integer.

    Example:
        >>> schedule = Late(nn.Dropout(), steps=1, p=0.2)
        >>> schedule.step()
        >>> schedule.rates
        {'': 0.2}

    Reference:
        Liu et al., 2023, "Dropout reduces underfitting", arXiv:2303.01500.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        steps: int,
        p: Rates | None = None,
        where: Callable[[str], bool] | None = None,
    ) -> None:
        self.steps = _check_steps(steps)
        super().__init__(model, p=p, where=where)

    def share(self, step: int) -> float:
        """Give 0 before step `steps`, then 1."""
        return float(step >= self.steps)


class Curriculum(Schedule):
    """Raise the rates from 0 ever more slowly towards the full ones: curriculum dropout.

    `share(t) = 1 - exp(-gamma · t)`: the probability of keeping is `(1 - q) exp(-gamma · t) + q`, `q = 1 - p`.

    Args:
        model: any module.
        gamma: how fast, per step; `10 / total steps` has the rates at their full values in the end.
        p: the full rates, as in `surgery.set_p`; None: what each site has now.
        where: which of the paths to change; None: all.

    Raises:
        TypeError: `gamma` is not a number.
        ValueError: `gamma` is not a positive number.

    Example:
        >>> Curriculum(nn.Dropout(), gamma=1e-3, p=0.5).rates
        {'': 0.0}

    Reference:
        Morerio et al., 2017, arXiv:1703.06229.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        gamma: float = 1e-3,
        p: Rates | None = None,
        where: Callable[[str], bool] | None = None,
    ) -> None:
        if not isinstance(gamma, int | float):
            raise TypeError(f"`gamma` must be a positive number, got {gamma!r}.")
        if not 0 < gamma < math.inf:
            raise ValueError(f"`gamma` must be a positive number, got {gamma!r}.")
        self.gamma = float(gamma)
        super().__init__(model, p=p, where=where)

    def share(self, step: int) -> float:
        """Give `1 - exp(-gamma · step)`."""
        return -math.expm1(-self.gamma * step)


def _check_steps(steps: int) -> int:
    if not isinstance(steps, Integral) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"`steps` must be a positive integer, got {steps!r}.")
    return int(steps)


def _check_part(name: str, value: float) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"`{name}` must be a number in [0, 1], got {value!r}.")
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be a part of the full rates, in [0, 1], got {value!r}.")
    return float(value)
