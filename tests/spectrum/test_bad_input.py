"""Every refusal, and what it says."""

import re

import pytest
import torch
from torch import nn

from dropscope.spectrum import interaction_spectrum, stack_spectra

INPUTS = torch.linspace(-1, 1, 60).repeat(9, 1).T.clone()


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
        ({"max_order": 10}, "`max_order` must be in 1 to 9, the number of blocks, got 10."),
        ({"max_order": 0}, "`max_order` must be in 1 to 9, the number of blocks, got 0."),
        ({"budget": 3263}, "`budget` must be at least 3264 for 9 blocks (50 cubes of 64 mixtures), got 3263."),
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


def test_the_smallest_budget_is_enough():
    spectrum = interaction_spectrum(first, INPUTS, budget=3264)
    assert spectrum.budget == 3264


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
