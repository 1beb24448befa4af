"""A small table in place of yacht, its published results, and a protocol that trains in no time."""

import numpy as np

from dropscope.data import Split, UciResults
from dropscope.experiments.uci_protocol import Protocol

PROTOCOL = Protocol(0.1, 2.0, width=4, epochs=2, networks=2)


def splits():
    """Twenty cuts of a noisy line."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 2))
    y = x[:, 0] + generator.normal(size=40)
    orders = [generator.permutation(40) for _ in range(20)]
    return tuple(Split(x[rows[:36]], y[rows[:36]], x[rows[36:]], y[rows[36:]]) for rows in orders)


def results():
    """Results that somebody might have published of it."""
    return UciResults(*np.random.default_rng(1).uniform(1, 2, size=(3, 20)))


def put_in_place(monkeypatch):
    """Let the experiment find them."""
    from dropscope.experiments import uci, uci_protocol

    monkeypatch.setitem(uci_protocol.PROTOCOL, "yacht", PROTOCOL)
    monkeypatch.setattr(uci, "uci", lambda name: splits())
    monkeypatch.setattr(uci, "uci_results", lambda name: results())
