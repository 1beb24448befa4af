"""The constructor's arguments, checked when fitting begins: one clear line each."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from dropscope.errors import closest

__all__ = ["check_settings", "rates_of"]

LEAST = {"width": 1, "depth": 1, "batch_size": 1, "max_iter": 1, "n_iter_no_change": 1, "n_samples": 2}
NAMES = {"optimizer": ("adamw", "adam", "sgd"), "activation": ("relu", "gelu", "tanh", "silu")}


def check_settings(settings: dict[str, Any]) -> None:
    """Check every argument of an estimator.

    Args:
        settings: what `get_params` returns.

    Raises:
        ValueError: a value is out of its range; the message says which.
    """
    rates_of(settings["p"])
    for name, least in LEAST.items():
        value = settings[name]
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"`{name}` must be a whole number of at least {least}, got {value!r}.")
    for name, valid in NAMES.items():
        if settings[name] not in valid:
            raise ValueError(f"`{name}` must be a known name, got {settings[name]!r}: "
                             f"{closest(str(settings[name]), list(valid))}")  # fmt: skip
    if not _is_number(settings["lr"]) or settings["lr"] <= 0:
        raise ValueError(f"`lr` must be a positive number, got {settings['lr']!r}.")
    if not _is_number(settings["weight_decay"]) or settings["weight_decay"] < 0:
        raise ValueError(f"`weight_decay` must be a number of at least 0, got {settings['weight_decay']!r}.")
    _check_fractions(settings["validation_fraction"], settings["calibration_fraction"])
    if not isinstance(settings["early_stopping"], bool | np.bool_):
        raise ValueError(f"`early_stopping` must be True or False, got {settings['early_stopping']!r}.")
    if not isinstance(settings["study_options"], Mapping | None):
        raise ValueError(f"`study_options` must be a dict of options or None, got {settings['study_options']!r}.")


def _check_fractions(validation: Any, calibration: Any) -> None:
    if not _is_number(validation) or not 0 < validation < 1:
        raise ValueError(f"`validation_fraction` must be in (0, 1), got {validation!r}.")
    if not _is_number(calibration) or not 0 <= calibration < 1:
        raise ValueError(f"`calibration_fraction` must be in [0, 1), got {calibration!r}.")
    if validation + calibration > 0.8:
        raise ValueError(
            "`validation_fraction` and `calibration_fraction` must leave a fifth of the rows to fit, "
            f"got {validation} and {calibration}."
        )


def rates_of(p: Any) -> tuple[float, float] | None:
    """Read the probabilities of dropping.

    Args:
        p: one number for the hidden layers, a pair (input, hidden), or "auto".

    Returns:
        (input p, hidden p), or None for "auto".

    Raises:
        ValueError: `p` is something else, or not in [0, 1).

    Example:
        >>> rates_of(0.5), rates_of((0.1, 0.5))
        ((0.0, 0.5), (0.1, 0.5))
    """
    if isinstance(p, str) and p == "auto":
        return None
    rates = (0.0, p) if isinstance(p, Real) else p
    if not isinstance(rates, tuple | list | np.ndarray) or len(rates) != 2 or not all(map(_is_number, rates)):
        raise ValueError(f"`p` must be a number, a pair (input p, hidden p) or 'auto', got {p!r}.")
    if not all(0 <= rate < 1 for rate in rates):
        raise ValueError(f"`p` must be in [0, 1), got {p!r}: it is the probability of dropping.")
    return float(rates[0]), float(rates[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and bool(np.isfinite(float(value)))
