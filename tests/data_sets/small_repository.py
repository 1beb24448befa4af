"""A small table and its results, written as the authors of the UCI cuts lay out theirs."""

import hashlib

import numpy as np

TABLE = np.random.default_rng(0).normal(size=(30, 4))  # two inputs, the target, a column of no use
RESULTS = np.random.default_rng(1).normal(size=(3, 20))
TEXT = "UCI_Datasets/yacht/data/data.txt"
MEASURES = ("rmse", "MC_rmse", "ll")


def digest(numbers):
    """The checksum of numbers."""
    return hashlib.sha256(np.ascontiguousarray(numbers).tobytes()).hexdigest()


def write(path, numbers):
    """Write numbers to a text file, with all their digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, numbers, fmt="%.18e")


def write_repository(folder):
    """Write the table in place of yacht, and its results."""
    write(folder / TEXT, TABLE)
    for measure, values in zip(MEASURES, RESULTS, strict=True):
        write(folder / "yacht" / "net" / "results" / f"test_{measure}.txt", values)
