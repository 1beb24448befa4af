"""What a spectrum says of itself."""

import json

import numpy as np
import pytest

from dropscope.spectrum import Spectrum, SurvivalCurve


def spectrum(**changes):
    fields = {
        "share": np.array([0.5, 0.25]),
        "rest": 0.25,
        "low": np.array([0.4, 0.05, 0.2]),
        "high": np.array([0.6, 0.45, 0.3]),
        "total": 2.0,
        "mean_order": 1.75,
        "mean_order_low": 1.6,
        "mean_order_high": 1.9,
        "orders": np.array([0.5, 0.25, 0.25]),
        "budget": 10_000,
        "method": "cube",
        "inputs_law": "product",
        "blocks": ((0,), (1, 3), (2,)),
        "point": "smooth",
    }
    return Spectrum(**{**fields, **changes})


def test_survival_sums_what_every_order_keeps():
    assert spectrum().survival(0) == 1
    assert spectrum().survival(1) == 0
    assert spectrum().survival(0.5) == 0.5 * 0.5 + 0.25 * 0.25 + 0.25 * 0.125


@pytest.mark.parametrize("p", [-0.1, 1.2, float("nan")])
def test_survival_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match=r"`p` must be in \[0, 1\], got"):
        spectrum().survival(p)


def test_wide_intervals_are_not_identified():
    assert spectrum().identified.tolist() == [True, False, True]


def test_description_names_blocks_law_and_every_share():
    lines = str(spectrum()).splitlines()
    assert lines[0] == "interaction spectrum over 3 blocks (4 columns), product law of inputs"
    assert lines[1] == "method cube, 10,000 evaluations, variance 2"
    assert lines[2].split() == ["order", "1", "0.500", "[0.400,", "0.600]"]
    assert lines[3] == "  order 2    not identified  [0.050, 0.450]"
    assert lines[4].split()[:4] == ["order", ">", "2", "0.250"]
    assert lines[5].split() == ["mean", "order", "1.750", "[1.600,", "1.900]"]


def test_orders_above_the_number_of_blocks_are_not_described():
    assert "order > 2" not in spectrum(blocks=((0, 1, 2), (3,))).describe()


def test_description_without_intervals_shows_no_brackets():
    nothing = np.full(3, np.nan)
    plain = spectrum(low=nothing, high=nothing, mean_order_low=np.nan, mean_order_high=np.nan)
    assert "[" not in plain.describe()
    assert "not identified" not in plain.describe()


CURVE = SurvivalCurve(*np.array([[0.0, 0.5, 1.0], [1.0, 0.3, 0.0], [1.0, 0.2, 0.0], [1.0, 0.4, 0.0]]))


CHANGES = [
    {},
    {"survival_curve": CURVE},
    {"share": np.full(2, np.nan), "rest": np.nan, "low": np.full(3, np.nan)},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_json_keeps_every_field(changes):
    before = spectrum(**changes)
    after = Spectrum.from_dict(json.loads(json.dumps(before.to_dict(), allow_nan=False)))

    assert after.to_dict() == before.to_dict()
    assert after.describe() == before.describe()
    assert after.blocks == before.blocks
    assert (after.survival_curve is None) == (before.survival_curve is None)
