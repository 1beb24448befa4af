"""The figure of a detection against the numbers it shows."""

import math

import pytest
import torch
from matplotlib.image import imread

from dropscope.ensemble import detection
from dropscope.report import draw_detection, to_plotly, to_png
from dropscope.report.picture import Line


def two(spread=1.0, score="entropy"):
    scores = torch.arange(200.0, dtype=torch.float64) / 100
    return detection((spread * scores).exp()[:120], (spread * scores).exp()[100:], score=score)


def lines(panel):
    return [item for item in panel.items if isinstance(item, Line)]


def test_bars_of_each_set_sum_to_one():
    for found in (two(), two(6.0), detection([1.0, 1.0], [1.0]), detection([-math.inf, 0.0], [0.0, math.inf])):
        panel = draw_detection(found).panels[0]
        shown = [line for line in lines(panel) if line.label]
        assert [line.label for line in shown] == ["inside", "outside"]
        for line in shown:
            assert sum(line.y[::2]) == pytest.approx(1)
            assert (line.x[0], line.x[-1]) == pytest.approx(panel.x_range)


def test_bars_stand_where_the_scores_are():
    panel = draw_detection(detection([0.0, 0.0, 0.1], [4.0, 3.9, 0.0], score="std")).panels[0]
    inside, outside = (line for line in lines(panel) if line.label)
    assert (inside.y[0], inside.y[2]) == pytest.approx((2 / 3, 1 / 3))
    assert (outside.y[0], outside.y[-1]) == pytest.approx((1 / 3, 2 / 3))


def test_wide_scores_stand_on_a_logarithmic_axis():
    narrow, wide = draw_detection(two()).panels[0], draw_detection(two(6.0)).panels[0]
    assert not narrow.log_x
    assert wide.log_x
    assert wide.ticks == {10.0**k: f"{10.0**k:g}" for k in range(6)[::2]}


def test_the_curve_is_the_detections():
    found = two()
    panel = draw_detection(found).panels[1]
    chance, curve, cross = lines(panel)
    assert (chance.x, chance.y) == ([0, 1], [0, 1])
    false, true = found.curve()
    assert (curve.x, curve.y) == (false.tolist(), true.tolist())
    assert (cross.x, cross.y) == ([found.fpr95], [0.95])
    assert curve.label == f"entropy: {found.auroc:.3f} ± {found.auroc_error:.3f}"


def test_long_curves_keep_their_ends(generator):
    found = detection(torch.randn(5000, generator=generator), torch.randn(5000, generator=generator))
    curve = lines(draw_detection(found).panels[1])[1]
    assert len(curve.x) == 500
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)


def test_the_sentence_and_the_caption_are_computed_from_the_numbers():
    found = {"mutual_information": two(score="mutual_information"), "entropy": detection([1.0, 2.0, 0.0], [2.0, 3.0])}
    figure = draw_detection(found)
    assert figure.reading == (
        "By mutual information, the best here, a row from outside scores higher than one from inside in 98.3 % of "
        "pairs; to flag 95 % of the rows from outside, 12.5 % of those from inside are flagged too."
    )
    assert figure.caption.startswith("120 rows from inside, 100 from outside, which are the positive ones.")
    assert [panel.title for panel in figure.panels] == ["Scores: mutual information", "Scores: entropy", "ROC curve"]


def test_one_to_six_scores_can_be_drawn():
    for wrong in ({}, {str(k): two() for k in range(7)}):
        with pytest.raises(ValueError, match="one to 6 detections"):
            draw_detection(wrong)


@pytest.mark.parametrize("spread", [1.0, 6.0])
def test_is_drawn_by_both_backends(tmp_path, spread):
    figure = draw_detection({"std": two(spread), "entropy": two(spread)})
    to_png(figure, tmp_path / "detection.png")
    assert imread(tmp_path / "detection.png").std() > 0.05
    assert len(to_plotly(figure).data) == 2 * 4 + 5
