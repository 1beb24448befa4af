"""What every test of the stack may ask for: members, and the number of threads put back."""

import pytest
import torch

from dropscope.stack import Member


@pytest.fixture(autouse=True)
def threads():
    """One thread, unless a test says otherwise: these models are too small for two, and cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_member(generator):
    """Members on random rows of a table with 200 rows; anything can be overridden."""

    def make(**options):
        rows = torch.randperm(200, generator=generator)
        seeds = torch.randint(2**31, (2,), generator=generator).tolist()
        defaults = {
            "p_input": 0.0,
            "p_hidden": 0.0,
            "lr": 1e-2,
            "weight_decay": 0.0,
            "seed": seeds[0],
            "mask_seed": seeds[1],
            "fit": rows[:120],
            "stop": rows[120:],
        }
        return Member(**(defaults | options))

    return make
