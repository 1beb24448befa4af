"""Spectra and terms made by hand: every number that a figure shows is known, and no model is measured."""

from dataclasses import replace

import numpy as np

from dropscope.spectrum import Spectrum, Terms
from dropscope.spectrum.surrogate import SurrogateSpectrum
from dropscope.spectrum.terms import Ranking

NAMES = ["hour", "<b>temp</b>", "wind speed of the whole day", "$x_1$", "humidity"]
COMMON = {"total": 2.5, "budget": 50_000, "blocks": ((0,), (1,), (2,), (3,), (4,)), "point": "smooth"}


def spectrum(share=(0.6, 0.3, 0.08), *, half=0.02, blocks=5):
    """Shares with intervals of one half-width, the rest at higher orders."""
    rest = 1 - sum(share)
    values = np.array([*share, rest])
    orders = np.array([*values, *[0.0] * (blocks - len(values))])[:blocks]
    mean = float(np.arange(1, blocks + 1) @ orders)
    return Spectrum(
        share=np.array(share), rest=rest, low=values - half, high=values + half, mean_order=mean,
        mean_order_low=mean - half, mean_order_high=mean + half, orders=orders, method="cube", inputs_law="product",
        **{**COMMON, "blocks": COMMON["blocks"][:blocks]},
    )  # fmt: skip


def half_known():
    """Order 2 has an interval of width .4."""
    one = spectrum()
    wider = np.array([0, 0.18, 0, 0])
    return replace(one, low=one.low - wider, high=one.high + wider)


def learned():
    """A spectrum read off models that were fitted under the joint law."""
    share, nan = np.array([0.6, 0.2]), np.nan
    return SurrogateSpectrum(
        share=share, rest=0.2, low=np.array([0.5, 0.1, 0.1]), high=np.array([0.7, 0.3, 0.3]), mean_order=nan,
        mean_order_low=nan, mean_order_high=nan, orders=np.full(5, nan), method="nested", inputs_law="joint",
        r2=share.cumsum(), caveat="a lower bound", **COMMON,
    )  # fmt: skip


def ranking(*members):
    share = 0.5 ** np.arange(1, len(members) + 1)
    return Ranking(members, share, 0.9 * share, 1.2 * share)


def terms(*, pairs=((0, 1), (0, 2)), triples=((0, 1, 2),), skipped=0.0):
    return Terms(
        totals=ranking((0,), (1,), (2,), (3,)), interacting=ranking((1,), (0,)), pairs=ranking(*pairs),
        triples=ranking(*triples), skipped=skipped, variance=2.5, budget=90_000, inputs_law="product",
        blocks=COMMON["blocks"], names=tuple(NAMES),
    )  # fmt: skip
