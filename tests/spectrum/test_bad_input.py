"""Every refusal, and what it says."""

import re

import pandas as pd
import pytest
import torch
from torch import nn

from dropscope.spectrum import interaction_spectrum, stack_spectra

INPUTS = torch.linspace(-1, 1, 60).repeat(9, 1).T.clone()
FRAME = pd.DataFrame(INPUTS.numpy(), columns=["age", "pay", "sex", "tax", "zip", "pay", "day", "job", "car"])

pytestmark = pytest.mark.filterwarnings("ignore:.* have rank correlation")


def first(x):
    return x[:, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "masks"}, "`method` must be 'cube', got 'masks'."),
        ({"inputs_law": "marginal"}, "`inputs_law` must be 'product' or 'joint', got 'marginal'."),
        ({"point": "raw"}, "`point` must be 'smooth' or 'nnls', got 'raw'."),
        ({"inputs": INPUTS[0]}, "`inputs` must be a table of two rows or more, got shape (9,)."),
        ({"inputs": INPUTS[:1]}, "`inputs` must be a table of two rows or more, got shape (1, 9)."),
        ({"inputs": INPUTS[:, :1], "max_order": 1}, "at least two blocks of columns, got 1."),
        ({"blocks": [range(9)], "max_order": 1}, "at least two blocks of columns, got 1."),
        ({"blocks": [(0, 9), range(1, 9)]}, "`blocks` must name columns 0 to 8, got [9]."),
        ({"blocks": [(0, -1), range(1, 9)]}, "`blocks` must name columns 0 to 8, got [-1]."),
        ({"blocks": [(0, 1, 2), range(2, 9)]}, "`blocks` must not overlap, got [2] more than once."),
        (
            {"blocks": [(0, 1), range(3, 8)]},
            "`blocks` must hold every column, got none with [2, 8]: give them their own.",
        ),
        ({"blocks": [(), range(9)]}, "`blocks` must not be empty: a block needs at least one column."),
        ({"blocks": [("x0", "x9"), range(1, 9)]}, "name columns of `inputs`, got 'x9', which names 0 columns: Valid"),
        ({"inputs": FRAME, "blocks": [("agee",)]}, "got 'agee', which names 0 columns: did you mean `age`?"),
        ({"inputs": FRAME, "blocks": [("age", "pay")]}, "got 'pay', which names 2 columns"),
        ({"inputs": FRAME, "blocks": [("age", 0), range(1, 9)]}, "`blocks` must not overlap, got [0] more than once."),
        ({"inputs": FRAME.iloc[:, :1], "max_order": 1}, "at least two blocks of columns, got 1."),
        ({"inputs": FRAME.iloc[:1]}, "`inputs` must be a table of two rows or more, got shape (1, 9)."),
        ({"max_order": 10}, "`max_order` must be in 1 to 9, the number of blocks, got 10."),
        ({"max_order": 0}, "`max_order` must be in 1 to 9, the number of blocks, got 0."),
        ({"f": lambda x: x[:1, 0]}, "`f` must give one output per row, got shape (1,) for 32 rows."),
        ({"f": lambda x: x.sum()}, "`f` must give one output per row, got shape () for 32 rows."),
        ({"f": lambda x: 0 * x[:, 0] + 2}, "`f` must vary with its inputs"),
        ({"f": lambda x: 1e6 + 1e-3 * x[:, 0]}, "`f` must vary with its inputs"),
        ({"f": lambda x: torch.rand(len(x))}, "two passes differ: switch dropout and batch norm to evaluation"),
        ({"f": lambda x: nn.functional.dropout(x[:, 0], 0.5)}, "two passes differ"),
        ({"f": lambda x: x[:, 0].log()}, "`f` must give finite outputs, got nan for the row [-1, -1, -1"),
        ({"f": lambda x: 1 / (x[:, 0] - x[:, 1])}, "`f` must give finite outputs, got inf for the row ["),
    ],
)
def test_the_refusal_says_what_must_hold(arguments, message):
    arguments = {"f": first, "inputs": INPUTS, "budget": 10_000} | arguments
    with pytest.raises(ValueError, match=re.escape(message)):
        interaction_spectrum(arguments.pop("f"), arguments.pop("inputs"), **arguments)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([0, 1], "`blocks` must be a list of lists of columns, got 0: write [0] for one."),
        (["x0", "x1"], "`blocks` must be a list of lists of columns, got 'x0': write ['x0'] for one."),
        ([(0.5, 1)], "`blocks` must hold column indices or names, got 0.5."),
        (3, "`blocks` must be a list of lists of columns, got 3."),
    ],
)
def test_blocks_of_the_wrong_kind_are_refused(blocks, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        interaction_spectrum(first, INPUTS, blocks=blocks)


def test_the_smallest_budget_is_the_one_that_is_named():
    with pytest.raises(ValueError, match=r"`budget` must be at least \d+ for 9 blocks \(50 cubes") as refused:
        interaction_spectrum(first, INPUTS, budget=1)
    least = int(re.search(r"\d+", str(refused.value))[0])

    assert interaction_spectrum(first, INPUTS, budget=least).budget <= least
    with pytest.raises(ValueError, match=f"`budget` must be at least {least} for 9 blocks"):
        interaction_spectrum(first, INPUTS, budget=least - 1)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: x[None, :, :1], "`f` must give outputs of 2 models, got shape (1, 32, 1)."),
        (lambda x: x[:2, :1], "`f` must give outputs of shape (models, 32, outputs) for 32 rows, got (2, 1)."),
        (lambda x: torch.rand(2, len(x), 1), "two passes differ"),
    ],
)
def test_a_stack_of_the_wrong_shape_is_refused(f, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        stack_spectra(f, INPUTS, models=2, budget=10_000)
