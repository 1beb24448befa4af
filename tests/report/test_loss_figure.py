"""The figure of losses: every line of it lies within its panel."""

from dataclasses import replace

import pytest
import synthetic

from dropscope.report.loss_figures import loss_figure
from dropscope.report.picture import Line


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
def test_estimates_far_from_selection_losses_are_within_the_panels(factor):
    """Stop rows chose the epoch, and of a small table their loss may be far below that of selection rows."""
    made = synthetic.make()
    result = replace(made, arms=tuple(replace(arm, estimate=factor * arm.select) for arm in made.arms))
    for panel in loss_figure(result).panels:
        low, high = panel.y_range
        dashed = [y for item in panel.items if isinstance(item, Line) and item.dash == "dash" for y in item.y]
        assert dashed
        assert all(low < y < high for y in dashed)
