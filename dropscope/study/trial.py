"""One trial: an arm, a learning rate and a seed; its key names it in the store."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from dropscope.study.rates import HiddenRate, Rates

__all__ = ["NUMERICS", "Trial", "digest", "trials"]

# Raised by every change of code that changes the numbers of a trial: older stores are then refused, not mixed.
NUMERICS = 3


def digest(fields: Any) -> str:
    """Hash plain data: sha256 of its canonical JSON.

    Args:
        fields: dictionaries, lists, strings, numbers and None; floats are rounded to 12 digits.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> digest({"p": 0.1 + 0.2}) == digest({"p": 0.3})
        True
    """
    canonical = json.dumps(_rounded(fields), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _rounded(fields: Any) -> Any:
    if isinstance(fields, float):
        return round(fields, 12)
    if isinstance(fields, dict):
        return {str(name): _rounded(value) for name, value in fields.items()}
    if isinstance(fields, list | tuple):
        return [_rounded(value) for value in fields]
    return fields


@dataclass(frozen=True)
class Trial:
    """One network to train: rates of dropping at the input and in the hidden layers, learning rate, seed."""

    p_input: float
    p_hidden: HiddenRate
    lr: float
    seed: int

    @property
    def arm(self) -> Rates:
        """The rates, (input, hidden): what is compared."""
        return self.p_input, self.p_hidden

    def key(self, study: str) -> str:
        """Name this trial within a study.

        Args:
            study: digest of everything else that decides its numbers.

        Returns:
            64 hexadecimal digits; also the seed of the trial's masks.
        """
        return digest({"study": study, **asdict(self)})


def trials(arms: list[Rates], rates: tuple[float, ...], seeds: int) -> list[Trial]:
    """List every trial of a study, all arms of seed 0 first, so that a part is already a fair comparison.

    Args:
        arms: (input p, hidden p) pairs.
        rates: learning rates.
        seeds: number of seeds.

    Returns:
        The trials.

    Example:
        >>> len(trials([(0, 0), (0, 0.5)], (1e-3,), seeds=5))
        10
    """
    return [Trial(*arm, lr, seed) for seed in range(seeds) for arm in arms for lr in rates]
