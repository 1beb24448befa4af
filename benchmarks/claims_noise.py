"""Claims on networks fitted to pure noise: what dropout does to how much they learn, and at which orders.

Every network has 25 inputs from U(-1, 1) and 3 hidden ReLU layers, starts from He's law, and is trained by Adam at
1e-3, under two protocols: that of the paper's text, trained long, and that of its published code, which stops early.
Data, start and batches are shared by all rates of a seed. Variances are those of the noise, and so are all intervals
over seeds.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from claims_record import Finding, claim, interval, slopes, verdict

from dropscope import stack
from dropscope.spectrum import distill, stack_spectra

N = 25
RATES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625)
PLACES = {"input": (1, 0), "activation": (0, 1), "both": (1, 1)}
SEEDS = {32: 10, 128: 4}
DISTILLED_SEEDS = 3
BUDGET = 300_000
# Networks whose variance is below this part of the noise's have learned a constant: their shares mean nothing. The
# published code draws that line at .0008.
CONSTANT = 1e-3


@dataclass(frozen=True)
class Protocol:
    """What noise is fitted, and for how long; a network leaves after `patience` epochs without a lower loss."""

    name: str
    rows: int
    deviation: float
    batch_size: int
    epochs: int
    patience: int


# The text: 1,500 rows of N(0, 1); how long is not said: 7,500 steps interpolate the noise without dropout.
TEXT = Protocol("text", 1500, 1.0, 100, 500, 500)
# The code: 750 of 1,000 rows of N(0, 5), full batches, until the loss without masks rises for the first time.
CODE = Protocol("code", 750, 5.0, 750, 10_000, 1)


class Cells(NamedTuple):
    """All networks of a protocol and width: arrays of shape (places, rates, seeds), of models and of measurements."""

    fitted: np.ndarray
    total: np.ndarray
    share: np.ndarray
    steps: np.ndarray
    rows: torch.Tensor


@cache
def cells(protocol: Protocol, width: int) -> Cells:
    """Train every cell as one stack and measure the spectra of all on the same mixtures of rows."""
    shape = stack.Shape(tuple(range(N)), 1, width, 3, "regression")
    x, y, members = [], [], {}

    for seed in range(SEEDS[width]):
        generator = torch.Generator().manual_seed(seed)
        x.append(2 * torch.rand(protocol.rows, N, generator=generator) - 1)
        y.append(protocol.deviation * torch.randn(protocol.rows, 1, generator=generator))
        rows = torch.arange(protocol.rows) + seed * protocol.rows
        for place, (at_input, at_hidden) in PLACES.items():
            for p in RATES:
                rates = (p * at_input, p * at_hidden)
                key = (place if p else "none", p, seed)  # without dropout, the place makes no difference
                members[key] = stack.Member(*rates, 1e-3, 0.0, seed, 100 + len(members), fit=rows, stop=rows)

    models = stack.train(
        torch.cat(x),
        torch.cat(y),
        list(members.values()),
        shape,
        epochs=protocol.epochs,
        optimizer="adam",
        batch_size=protocol.batch_size,
        patience=protocol.patience,
        extend=False,
    )
    inputs = 2 * torch.rand(20_000, N, generator=torch.Generator().manual_seed(1)) - 1
    spectra = stack_spectra(
        lambda rows: stack.forward(models, rows),
        inputs,
        models=len(models),
        budget=BUDGET,
        intervals=False,
        generator=torch.Generator().manual_seed(2),
    )

    position = {key: i for i, key in enumerate(members)}
    index = np.array(
        [[[position[place if p else "none", p, s] for s in range(SEEDS[width])] for p in RATES] for place in PLACES]
    )
    steps = [model.epochs * (protocol.rows // protocol.batch_size) for model in models]
    return Cells(
        np.array(models, dtype=object)[index],
        np.array([spectrum.total for spectrum in spectra])[index] / protocol.deviation**2,
        np.array([[*spectrum.share, spectrum.rest] for spectrum in spectra])[index],
        np.array(steps)[index],
        torch.stack(x),
    )


def low_share(found: Cells) -> np.ndarray:
    """Share of orders 1 and 2, nan at rates of a place where networks learn a constant."""
    low = found.share[..., :2].sum(-1)
    return np.where(found.total.mean(-1, keepdims=True) < CONSTANT, np.nan, low)


def goes(values: np.ndarray, sign: int) -> tuple[bool, tuple[float, float, float], int]:
    """Whether values of shape (rates, seeds) go up or down with p, the slope, and significant steps the other way."""
    slope = interval(slopes(RATES, values.T))
    steps = sign * np.diff(values, axis=0)
    level = 1 - 0.05 / len(steps)  # together, the steps of a place have a chance of 5 % to seem to turn
    turned = sum(interval(step, level)[2] < 0 for step in steps if np.isfinite(step).all())
    return bool(sign * slope[1] > 0 and sign * slope[2] > 0 and not turned), slope, turned


def above_zero(sample: np.ndarray) -> str:
    """Whether a mean lies above 0, by its interval."""
    _, low, high = interval(sample)
    return "yes" if low > 0 else "no" if high < 0 else "undecided"


def brackets(three: tuple[float, float, float]) -> str:
    return f"{three[0]:+.2f} [{three[1]:+.2f}, {three[2]:+.2f}]"


def plain(protocol: Protocol, width: int, found: Cells) -> dict:
    """What a figure needs, with means and every seed."""
    return {
        "protocol": protocol.name,
        "width": width,
        "rates": RATES,
        "places": list(PLACES),
        "total": found.total.tolist(),
        "share": found.share.tolist(),
        "steps": found.steps.tolist(),
    }


def distilled(found: Cells) -> np.ndarray:
    """Shares (places, rates, seeds, orders) by the published scheme, on the very rows that were fitted."""
    shares = np.empty((*found.fitted.shape[:2], DISTILLED_SEEDS, 4))
    for place, rate, seed in np.ndindex(shares.shape[:3]):
        if rate == 0 and place > 0:
            shares[place, rate, seed] = shares[0, rate, seed]
            continue
        model = found.fitted[place, rate, seed]
        spectrum = distill(lambda rows, model=model: stack.forward([model], rows)[0], found.rows[seed], scheme="code")
        shares[place, rate, seed] = [*spectrum.share, spectrum.rest]
    return shares


@claim(
    "A7",
    "Fig. 5: of networks fitted to pure noise (3 hidden layers of 32), the total learned variance falls with p and the "
    "share of low orders rises, for Input, Activation and both kinds of Dropout",
    "for each place and protocol, over 10 seeds: slope of log Var on p below 0, and slope of the share of orders 1 and "
    "2 above 0, by 95 % intervals, with no step between neighbouring rates significantly (5 % over a place's steps) "
    "the other way; rates that learn a constant (mean Var < .001 of the noise's) do not enter the share. 'holds' if "
    "for all, 'fails' if for none",
)
def noise() -> Finding:
    lines, data, parts = [], [], []
    for protocol in (TEXT, CODE):
        found = cells(protocol, 32)
        data.append(plain(protocol, 32, found))
        low = low_share(found)
        for i, place in enumerate(PLACES):
            falls, down, up_again = goes(np.log(found.total[i]), -1)
            rises, up, down_again = goes(low[i], 1)
            parts += [falls, rises]
            means, shares = found.total[i].mean(1), found.share[i].mean(1)
            learned = [k for k, one in enumerate(low[i]) if np.isfinite(one).all()]
            last = learned[-1]
            lines += [
                f"{protocol.name}, {place}: d log Var / dp {brackets(down)}, steps back {up_again}; d low / dp "
                f"{brackets(up)}, steps back {down_again}: falls {falls}, rises {rises}",
                "    Var " + " ".join(f"{mean:.4f}" for mean in means) + f" at p = {RATES[0]:g} to {RATES[-1]:g}; "
                f"shares {shares[0].round(2)} at p = 0, {shares[last].round(2)} at p = {RATES[last]:g}; "
                f"steps of training {found.steps[i].mean(1).round().astype(int).tolist()}",
            ]

    found = cells(TEXT, 32)
    trees = distilled(found)
    data[0]["distilled"] = trees.tolist()
    for i, place in enumerate(PLACES):
        both = (trees[i].mean(1), found.share[i, :, :DISTILLED_SEEDS].mean(1))
        pairs = (f"{RATES[k]:g}: {both[0][k].round(2)} ({both[1][k].round(2)})" for k in (0, 2, 4))
        lines.append(f"distilled, published scheme (unbiased), text, {place}: " + ", ".join(pairs))
    return Finding(verdict(*parts), lines, {"cells": data})


@claim(
    "A8",
    "Fig. C.1: with 128 units, Activation Dropout has only a small effect, and Input Dropout stays as strong",
    "for each protocol, paired over 4 seeds, on the slopes of log Var and of the share of orders 1 and 2 on p: small "
    "if that of Activation Dropout is below half that of Input Dropout; as strong if Input Dropout's at 128 units is "
    "above 3/4 of that at 32; yes or no by the 95 % interval of the difference, undecided if it holds 0. All yes, for "
    "both slopes and protocols: 'holds'; none: 'fails'",
)
def wide_networks() -> Finding:
    lines, data, parts = [], [], []
    seeds = SEEDS[128]
    for protocol in (TEXT, CODE):
        wide, narrow = cells(protocol, 128), cells(protocol, 32)
        data.append(plain(protocol, 128, wide))
        measures = {
            "log Var": (-np.log(wide.total), -np.log(narrow.total[..., :seeds])),
            "low share": (low_share(wide), low_share(narrow)[..., :seeds]),
        }
        for name, (at_128, at_32) in measures.items():
            strength = {
                (place, width): slopes(RATES, values[i].T)
                for i, place in enumerate(PLACES)
                for width, values in ((128, at_128), (32, at_32))
            }
            small = above_zero(strength["input", 128] / 2 - strength["activation", 128])
            strong = above_zero(strength["input", 128] - 0.75 * strength["input", 32])
            parts += [small == "yes", strong == "yes"]
            lines.append(
                f"{protocol.name}, {name}, strength (slope): "
                + ", ".join(f"{place} {width}: {brackets(interval(s))}" for (place, width), s in strength.items())
                + f": small {small}, as strong {strong}"
            )
        for i, place in enumerate(PLACES):
            low = wide.share[i, ..., :2].sum(-1).mean(1)
            lines.append(
                f"    {place}: Var "
                + " ".join(f"{mean:.4f}" for mean in wide.total[i].mean(1))
                + "; orders 1 and 2 "
                + " ".join(f"{share:.2f}" for share in low)
                + f"; steps {wide.steps[i].mean(1).round().astype(int).tolist()}"
            )
    return Finding(verdict(*parts), lines, {"cells": data})
