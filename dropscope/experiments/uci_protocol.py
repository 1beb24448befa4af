"""How one UCI table is measured: what the authors chose for it, how its networks are trained, and what is measured."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Generator, Tensor, nn

from dropscope.data import Split
from dropscope.ensemble import predict
from dropscope.errors import DropscopeError
from dropscope.stack import Member, Shape, to_sequential, train

__all__ = [
    "PROTOCOL",
    "Progress",
    "Protocol",
    "log_likelihood",
    "measured",
    "scaled",
    "seeds_of",
    "trained",
    "weight_decay",
]

BATCH = 32
LEARNING_RATE = 1e-3
CHUNK = 2**23  # outputs of all passes that are held at once

Progress = Callable[[str, str, int, int], None]  # table, what is done, how much of it, of how much


@dataclass(frozen=True)
class Protocol:
    """What the authors chose for a table, and how many networks we train for each of its cuts.

    Attributes:
        p: probability of dropping an input or a hidden unit.
        precision: τ, that of the noise, in the units of the target.
        length_scale: l of the prior.
        width: hidden units.
        epochs: passes over the training rows.
        networks: ours for each cut, averaged where the luck of one, as the authors trained, would hide the answer.
    """

    p: float
    precision: float
    length_scale: float = 1e-2
    width: int = 50
    epochs: int = 400
    networks: int = 1


PROTOCOL = {
    "boston": Protocol(0.05, 0.159708, networks=10),
    "concrete": Protocol(0.01, 0.055732, networks=5),
    "energy": Protocol(0.05, 0.427115, networks=5),
    "kin8nm": Protocol(0.05, 192.48291),
    "naval": Protocol(0.05, 42173.515, length_scale=1.0, networks=10),
    "power": Protocol(0.005, 0.0871109),
    "protein": Protocol(0.005, 0.0644419, width=100, epochs=200),
    "wine": Protocol(0.05, 2.958337),
    "yacht": Protocol(0.01, 0.54187, length_scale=0.1, networks=10),
}


def weight_decay(protocol: Protocol, rows: int) -> float:
    """Return torch's weight decay of a table: `l² (1 - p) / (N τ)`, the gradient's factor of the penalty.

    Args:
        protocol: what was chosen for the table.
        rows: N, the rows to train on.

    Example:
        >>> weight_decay(Protocol(0.5, precision=2.0, length_scale=0.1), rows=10)
        0.00025000000000000006
    """
    return protocol.length_scale**2 * (1 - protocol.p) / (rows * protocol.precision)


def log_likelihood(passes: np.ndarray, y: np.ndarray, precision: float) -> np.ndarray:
    """Return the log-density of each target under the mixture of all passes, each with noise of this precision.

    Args:
        passes: outputs (passes, rows) in the units of the target.
        y: targets (rows,).
        precision: τ, one over the variance of the noise.

    Returns:
        Nats (rows,).

    Example:
        >>> log_likelihood(np.zeros((3, 1)), np.zeros(1), precision=2 * np.pi)
        array([0.])
    """
    fits = logsumexp(-precision / 2 * (y - passes) ** 2, axis=0) - math.log(len(passes))
    return fits + math.log(precision / (2 * math.pi)) / 2


@dataclass(frozen=True, eq=False)
class Scaled:
    """A cut in the units of a network, but for the targets to test on, and the way back: `y = mean + std · output`."""

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: np.ndarray
    mean: float
    std: float


def scaled(split: Split) -> Scaled:
    """Standardise a cut by mean and standard deviation of its training rows; constant columns are only centred."""
    mean, std = split.x_train.mean(0), split.x_train.std(0)
    std[std == 0] = 1
    y_mean, y_std = float(split.y_train.mean()), float(split.y_train.std())
    arrays = ((split.x_train - mean) / std, (split.y_train[:, None] - y_mean) / y_std, (split.x_test - mean) / std)
    x_train, y_train, x_test = (torch.tensor(array, dtype=torch.float32) for array in arrays)
    return Scaled(x_train, y_train, x_test, split.y_test, y_mean, y_std)


def seeds_of(name: str, cut: int, seed: int) -> list[int]:
    """Return the seeds of one network: of its initialisation and batches, of its masks, of its passes."""
    return np.random.SeedSequence([seed, cut, *name.encode()]).generate_state(3).tolist()


def trained(cuts: Sequence[Scaled], name: str, seeds: Sequence[int], progress: Progress) -> list[nn.Sequential]:
    """Train a network for each seed and cut, all of them as one stack; those of the first seed come first."""
    protocol, rows = PROTOCOL[name], len(cuts[0].x_train)
    settings = (protocol.p, protocol.p, LEARNING_RATE, weight_decay(protocol, rows))
    members = []
    for seed, cut in product(seeds, range(len(cuts))):
        own, masks, _ = seeds_of(name, cut, seed)
        fit = torch.arange(rows) + cut * rows
        # Nothing is stopped or chosen by a loss: one row stands where a stack wants rows for that.
        members.append(Member(*settings, seed=own, mask_seed=masks, fit=fit, stop=fit[:1]))

    columns = tuple(range(cuts[0].x_train.shape[1]))
    shape = Shape(columns, 1, protocol.width, 1, "regression", initialisation="glorot")
    fitted = train(
        torch.cat([cut.x_train for cut in cuts]),
        torch.cat([cut.y_train for cut in cuts]),
        members,
        shape,
        epochs=protocol.epochs,
        optimizer="adam",
        batch_size=BATCH,
        steps_per_epoch=math.ceil(rows / BATCH),
        patience=protocol.epochs,
        keep="last",
        on_epoch=lambda epoch, *_: progress(name, "training", epoch, protocol.epochs),
    )
    if any(one.diverged for one in fitted):
        raise DropscopeError(f"a network of {name} diverged: try another seed than {seeds[0]}.")
    return [to_sequential(one, shape, protocol.p, protocol.p) for one in fitted]


def measured(
    network: nn.Sequential, cut: Scaled, precision: float, n_samples: int, generator: Generator
) -> tuple[float, float, float]:
    """Return RMSE with dropout off, RMSE of the mean of the passes, and mean log-likelihood, of one cut."""
    with torch.no_grad():
        off = cut.mean + cut.std * network(cut.x_test)[:, 0].double().numpy()
    means, likelihoods = [], []
    rows = max(1, CHUNK // n_samples)
    for start in range(0, len(off), rows):
        passes = cut.mean + cut.std * _passes(network, cut.x_test[start : start + rows], n_samples, generator)
        means.append(passes.mean(0))
        likelihoods.append(log_likelihood(passes, cut.y_test[start : start + rows], precision))

    errors = np.stack([off, np.concatenate(means)]) - cut.y_test
    off_rmse, rmse = np.sqrt((errors**2).mean(1)).tolist()
    return off_rmse, rmse, float(np.concatenate(likelihoods).mean())


def _passes(network: nn.Sequential, x: Tensor, n_samples: int, generator: Generator) -> np.ndarray:
    """Outputs (passes, rows) with masks of each row's own."""
    prediction = predict(network, x, n_samples, generator=generator, keep_samples=True, progress=False)
    return cast(Tensor, prediction.samples)[..., 0].double().numpy()
