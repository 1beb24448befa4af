"""Fixtures every test file shares: fresh seeds that are printed and can be replayed."""

import os
import secrets

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several test processes with several threads each wait for one another most of the time.
    torch.set_num_threads(1)


@pytest.fixture
def seed():
    """A fresh seed for each test, printed on failure; `DROPSCOPE_TEST_SEED=n` replays it."""
    value = int(os.environ.get("DROPSCOPE_TEST_SEED", secrets.randbits(31)))
    print(f"DROPSCOPE_TEST_SEED={value}")
    return value


@pytest.fixture
def generator(seed):
    """A torch generator on the fresh seed."""
    return torch.Generator().manual_seed(seed)
