"""Every refusal, and what it says."""

import inspect
import math
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dropscope.spectrum import distill, interaction_spectrum, output_spectra, rank_terms, stack_spectra

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
        ({"inputs": FRAME, "blocks": [("age", "pay")]}, "got 'pay', which names 2 columns: give their indices."),
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
        ({"one": [0], "all": [1]}, "must be a list of lists of columns, got a dict: pass `list(blocks.values())`."),
    ],
)
def test_blocks_of_the_wrong_kind_are_refused(blocks, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        interaction_spectrum(first, INPUTS, blocks=blocks)


def test_integers_that_may_be_labels_or_positions_are_refused():
    frame = FRAME.set_axis(range(1, 10), axis=1)
    with pytest.raises(ValueError, match=re.escape("1 may be a position or a label, as columns of `inputs` are lab")):
        interaction_spectrum(lambda x: x[1], frame, blocks=[(1, 2), range(3, 10)])

    # As text they are labels, and where labels are positions there is nothing to tell apart.
    labels = [("1", "2"), [*map(str, range(3, 10))]]
    positions = ((0, 1), tuple(range(2, 9)))
    assert interaction_spectrum(lambda x: x[1], frame, blocks=labels, budget=5000).blocks == positions
    plain = FRAME.set_axis(range(9), axis=1)
    assert interaction_spectrum(lambda x: x[1], plain, blocks=positions, budget=5000).blocks == positions


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


def never(x):
    raise AssertionError("the model was called")


ESTIMATES = {
    "interaction_spectrum": interaction_spectrum,
    "output_spectra": output_spectra,
    "rank_terms": rank_terms,
    "distill": distill,
    "stack_spectra": partial(stack_spectra, models=2),
}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("budget", None, "`budget` must be a whole number, got None."),
        ("budget", 1e4 + 0.5, "`budget` must be a whole number, got 10000.5."),
        ("budget", math.inf, "`budget` must be a whole number, got inf."),
        ("budget", "1e5", "`budget` must be a whole number, got '1e5'."),
        ("max_order", 2.5, "`max_order` must be a whole number, got 2.5."),
        ("target", 0.5, "`target` must be a whole number, got 0.5."),
        ("target", -1, "`target` must be at least 0, got -1."),
        ("top", 0.5, "`top` must be a whole number, got 0.5."),
        ("trees", math.nan, "`trees` must be a whole number, got nan."),
        ("models", 0, "`models` must be at least 1, got 0."),
        (
            "generator",
            0,
            "`generator` must be a torch.Generator or None, got 0: `torch.Generator().manual_seed(0)`",
        ),
    ],
)
def test_numbers_are_checked_before_the_model_is_called(name, value, message):
    takers = [f for f in ESTIMATES.values() if name in inspect.signature(f).parameters]
    assert takers
    for estimate in takers:
        with pytest.raises((TypeError, ValueError), match=re.escape(message)):
            estimate(never, INPUTS, **{name: value})


@pytest.mark.parametrize("number", [float, np.int64, np.float32])
def test_a_whole_number_may_come_in_any_type(number):
    options = {"budget": number(20_000), "max_order": number(2), "target": number(0)}
    spectrum = interaction_spectrum(first, INPUTS, **options)
    assert (len(spectrum.share), type(spectrum.budget)) == (2, int)
    assert distill(first, INPUTS, trees=number(5), **options).max_order == 2
    assert output_spectra(first, INPUTS, budget=number(20_000), max_order=number(2))[0].max_order == 2
    assert rank_terms(first, INPUTS, budget=number(20_000), top=number(3)).totals.share[0] == pytest.approx(1)
    (one,) = stack_spectra(lambda x: x[None, :, :1], INPUTS, models=number(1), budget=number(20_000))
    assert one.max_order == 3


def test_two_blocks_have_two_orders_unless_said_otherwise(generator):
    inputs = torch.rand(200, 2, generator=generator, dtype=torch.float64)

    def product(x):
        return x[:, :1] * x[:, 1:]

    options = {"budget": 5000, "generator": generator}
    spectra = [
        interaction_spectrum(product, inputs, **options),
        interaction_spectrum(product, inputs, inputs_law="joint", **options),
        *output_spectra(product, inputs, **options),
        *stack_spectra(lambda x: product(x)[None], inputs, models=1, **options),
        distill(product, inputs, trees=5, **options),
    ]
    assert [spectrum.max_order for spectrum in spectra] == [2] * 5
