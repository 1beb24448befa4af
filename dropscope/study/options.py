"""What a study may be told, with the defaults of the protocol, checked before anything is read or written."""

import math
from dataclasses import dataclass, fields
from typing import Any

from dropscope.errors import closest
from dropscope.study.rates import PLACES, PROFILES, SINGLE, Rates, profile, single

__all__ = ["METRICS", "OPTIMIZERS", "TEXTBOOK", "Options"]

METRICS = {
    "regression": ("rmse", "mae"),
    "classification": ("log_loss", "error", "balanced_error"),
    "quantile": ("pinball",),
}
OPTIMIZERS = ("adamw", "adam", "sgd")
ACTIVATIONS = ("relu", "gelu", "tanh", "silu")
TASKS = ("auto", "regression", "classification")
TEXTBOOK = (0.2, 0.5)
MOSTLY_INPUT = (0.4, 0.2)
MOMENTUM = 0.9
VALID = {"task": TASKS, "optimizer": OPTIMIZERS, "activation": ACTIVATIONS, "device": ("cpu", "cuda")}
# A spectrum needs 50 cubes of up to 256 evaluations; the comparison of arms needs two seeds.
LEAST = {"seeds": 2, "study_seed": 0, "epochs": 1, "width": 1, "depth": 1, "batch_size": 1, "patience": 1,
         "max_order": 1, "budget": 13_000}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """Everything that decides a study's numbers; `None` means that the study chooses and says so.

    `p_input`, `p_hidden`: rates studied at one place alone; `pair`: (input, hidden) rates studied together, by default
    (p/4, p) for every other hidden p, the textbook's (.2, .5), and (.4, .2) if inputs are studied that far.
    `epochs=None` plans for `max_seconds`; `lr=None` has a pilot choose among 1e-3, 3e-3, 1e-2 and 3e-2 (sgd: .03, .1
    and .3): networks without dropout on the stop rows of two seeds. An epoch is one pass over the fit rows, at least 10
    updates and at most 500; `patience=None` is 15 epochs, and at least 500 updates. `test` and `fractions` are shares
    of rows: test of all, then fit, stop and select of what remains; of more than 100,000 rows to stop, select or test
    on so many are drawn. `halving` lets arms that are clearly beaten leave training early. `places` are where dropout
    is studied; first and last are one hidden layer alone, at each hidden p. `profile` also studies each hidden p as the
    mean of rates that rise or fall over the layers, from p/2 to 3p/2. `label_smoothing` is the share of a label that
    all classes get alike while training. `momentum` and `nesterov` are those of sgd; `max_norm` bounds the norm of the
    incoming weights of every hidden unit. `quantile` is what networks predict of numbers in place of their mean.
    `weight_column` holds what every row counts; `class_weight="balanced"` has all classes count the same.
    """

    task: str = "auto"
    metric: str | None = None
    p_input: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
    p_hidden: tuple[float, ...] = (0.125, 0.25, 0.375, 0.5, 0.625)
    pair: tuple[tuple[float, float], ...] | None = None
    seeds: int = 5
    study_seed: int = 0
    epochs: int | None = None
    max_seconds: float | None = None
    width: int = 128
    depth: int = 3
    batch_size: int = 100
    lr: tuple[float, ...] | None = None
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    patience: int | None = None
    max_order: int = 3
    budget: int = 50_000
    test: float = 0.2
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    split_column: str | None = None
    group_column: str | None = None
    time_column: str | None = None
    categorical: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    allow_leak: bool = False
    device: str = "cpu"
    halving: bool = False
    activation: str = "relu"
    profile: tuple[str, ...] = ()
    label_smoothing: float = 0.0
    places: tuple[str, ...] = ("input", "hidden", "both")
    momentum: float = MOMENTUM
    nesterov: bool = False
    max_norm: float | None = None
    quantile: float | None = None
    weight_column: str | None = None
    class_weight: str | None = None

    def __post_init__(self) -> None:
        _check_names(self)
        _check_rates(self)
        _check_numbers(self)
        _check_target(self)
        _check_rows(self)

    @classmethod
    def of(cls, **given: Any) -> "Options":
        """Make options of what a user typed: numbers become tuples, unknown names are refused.

        Args:
            given: any of the fields; `None` stands for the default.

        Returns:
            The checked options.

        Raises:
            TypeError: a name is not an option.
            ValueError: a value is out of its range.

        Example:
            >>> Options.of(lr=0.01, seeds=3).lr
            (0.01,)
        """
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise TypeError(f"`{name}` is not an option of a study: {closest(name, known)}")
        plural = ("p_input", "p_hidden", "pair", "lr", "categorical", "drop", "fractions", "profile", "places")
        values = {name: value for name, value in given.items() if value is not None}
        for name in plural:
            if name in values:
                values[name] = _tuple(values[name])
        return cls(**values)

    def arms(self) -> list[Rates]:
        """List the (input p, hidden p) pairs of the study, the shared p=0 arm first, each once.

        Returns:
            The arms in the order: none; the studied ones of input alone, hidden alone, both, the first and the last
            hidden layer alone; hidden rates in profiles over depth.

        Example:
            >>> Options.of(p_input=0.1, p_hidden=0.5).arms()
            [(0.0, 0.0), (0.1, 0.0), (0.0, 0.5), (0.125, 0.5), (0.2, 0.5)]
        """
        hidden = [p for p in sorted(self.p_hidden) if p > 0]
        every: dict[str, list[Rates]] = {
            "input": [(p, 0.0) for p in sorted(self.p_input)],
            "hidden": [(0.0, p) for p in hidden],
            "both": [*(self._default_pairs() if self.pair is None else self.pair)],
            **{place: [(0.0, single(place, p, self.depth)) for p in hidden] for place in SINGLE},
        }
        placed = [arm for place in PLACES if place in self.places for arm in every[place]]
        shaped = [(0.0, profile(name, p, self.depth)) for name in self.profile for p in hidden]
        return list(dict.fromkeys([(0.0, 0.0), *placed, *shaped]))

    def _default_pairs(self) -> list[tuple[float, float]]:
        if not any(self.p_input) or not any(self.p_hidden):
            return []
        mostly_hidden = [(p / 4, p) for p in sorted(self.p_hidden) if p > 0][::2]
        return [*mostly_hidden, TEXTBOOK, *([MOSTLY_INPUT] if max(self.p_input) >= MOSTLY_INPUT[0] else [])]


def _tuple(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | int | float):
        return (value,)
    return tuple(_tuple(item) if isinstance(item, list | tuple) else item for item in value)


def _check_names(options: Options) -> None:
    for name, valid in VALID.items():
        value = getattr(options, name)
        if value not in valid:
            raise ValueError(f"`{name}` must be one of {', '.join(valid)}, got {value!r}.")
    every = METRICS["regression"] + METRICS["classification"]
    valid_metrics = every if options.task == "auto" else METRICS[options.task]
    if options.quantile is None and options.metric == "pinball":
        raise ValueError("`metric` pinball is the loss of a quantile: give `quantile` as well.")
    if options.quantile is not None and options.metric not in (None, "pinball"):
        raise ValueError(f"`metric` of a `quantile` must be pinball, got {options.metric!r}.")
    if options.quantile is None and options.metric is not None and options.metric not in valid_metrics:
        raise ValueError(f"`metric` must be one of {', '.join(valid_metrics)}, got {options.metric!r}.")


def _check_rates(options: Options) -> None:
    pairs = [] if options.pair is None else list(options.pair)
    if any(not isinstance(pair, tuple) or len(pair) != 2 for pair in pairs):
        raise ValueError(f"`pair` must be (input p, hidden p), such as 0.1,0.5, got {options.pair!r}.")
    named = [("p_input", p) for p in options.p_input] + [("p_hidden", p) for p in options.p_hidden]
    for name, p in named + [("pair", p) for pair in pairs for p in pair]:
        if not _is_number(p) or not 0 <= p < 1:
            raise ValueError(f"`{name}` must be in [0, 1), got {p!r}: it is the probability of dropping.")
    _check_places(options)
    if len(options.arms()) < 2:
        raise ValueError("a study needs a rate above 0: give `p_input`, `p_hidden` or `pair` one.")


def _check_places(options: Options) -> None:
    for argument, valid in (("profile", PROFILES), ("places", PLACES)):
        for name in getattr(options, argument):
            if name not in valid:
                raise ValueError(f"`{argument}` must be one of {', '.join(valid)}, got {name!r}.")
    if options.depth < 2 and {*SINGLE} & {*options.places}:
        raise ValueError("`places` first and last need two hidden layers: with one, both are `hidden`.")
    if options.pair and "both" not in options.places:
        raise ValueError(f"`pair` is studied at `both`, which `places` must then name, got {options.places}.")
    if options.profile and (options.depth < 2 or max(options.p_hidden, default=0.0) >= 2 / 3):
        raise ValueError(
            "`profile` needs two hidden layers and `p_hidden` below 2/3, since rates go up to 3/2 of it, got "
            f"{options.depth} and {options.p_hidden}."
        )


def _check_numbers(options: Options) -> None:
    for name, least in LEAST.items():
        value = getattr(options, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise ValueError(f"`{name}` must be a whole number of at least {least}, got {value!r}.")
    if options.lr is not None and not (options.lr and all(_is_number(lr) and lr > 0 for lr in options.lr)):
        raise ValueError(f"`lr` must be positive numbers, got {options.lr!r}.")
    if not _is_number(options.weight_decay) or options.weight_decay < 0:
        raise ValueError(f"`weight_decay` must be 0 or more, got {options.weight_decay!r}.")
    if not _is_number(options.label_smoothing) or not 0 <= options.label_smoothing < 1:
        raise ValueError(f"`label_smoothing` must be in [0, 1), got {options.label_smoothing!r}.")
    if options.label_smoothing and options.task == "regression":
        raise ValueError("`label_smoothing` needs labels: leave it out for regression.")
    _check_descent(options)
    if options.max_seconds is not None and not (_is_number(options.max_seconds) and options.max_seconds > 0):
        raise ValueError(f"`max_seconds` must be positive, got {options.max_seconds!r}.")
    if options.max_seconds is not None and options.epochs is not None:
        raise ValueError("`max_seconds` plans the number of epochs: give it or `epochs`, not both.")


def _check_target(options: Options) -> None:
    if options.quantile is not None and not (_is_number(options.quantile) and 0 < options.quantile < 1):
        raise ValueError(f"`quantile` must be in (0, 1), got {options.quantile!r}.")
    if options.quantile is not None and options.task == "classification":
        raise ValueError("`quantile` needs a target of numbers: leave it out for classification.")
    if options.class_weight not in (None, "balanced"):
        raise ValueError(f"`class_weight` must be balanced, got {options.class_weight!r}.")
    if options.class_weight and options.task == "regression":
        raise ValueError("`class_weight` needs classes: leave it out for regression.")


def _check_descent(options: Options) -> None:
    if not _is_number(options.momentum) or not 0 <= options.momentum < 1:
        raise ValueError(f"`momentum` must be in [0, 1), got {options.momentum!r}.")
    if options.optimizer != "sgd" and (options.momentum != MOMENTUM or options.nesterov):
        name = "nesterov" if options.nesterov else "momentum"
        raise ValueError(f"`{name}` is that of `optimizer` sgd, got {options.optimizer}.")
    if options.nesterov and not options.momentum:
        raise ValueError("`nesterov` needs a `momentum` above 0, got 0.")
    if options.max_norm is not None and not (_is_number(options.max_norm) and options.max_norm > 0):
        raise ValueError(f"`max_norm` must be positive, got {options.max_norm!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_rows(options: Options) -> None:
    shares = (options.test, *options.fractions)
    if not all(_is_number(share) and 0 < share < 1 for share in shares):
        raise ValueError(f"`test` and `fractions` must be in (0, 1), got {options.test} and {options.fractions}.")
    if len(options.fractions) != 3 or abs(sum(options.fractions) - 1) > 1e-9:
        raise ValueError(f"`fractions` must be fit, stop and select and sum to 1, got {options.fractions}.")
    cuts = [name for name in ("split_column", "group_column", "time_column") if getattr(options, name)]
    if "time_column" in cuts and "group_column" in cuts:
        raise ValueError("`time_column` and `group_column` cannot both cut the rows: give one of them.")
