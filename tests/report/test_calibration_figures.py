"""Figures of calibration against the numbers they show."""

import json
import math

import pytest
import torch
from matplotlib.image import imread
from scipy import stats

from dropscope.ensemble import calibration
from dropscope.report import draw_coverage, draw_intervals, draw_pit, draw_reliability, to_plotly, to_png
from dropscope.report.picture import LIGHT, Bars, Line


def found(**options):
    generator = torch.Generator().manual_seed(0)
    p = (2 * torch.randn(400, 3, generator=generator)).softmax(-1)
    labels = torch.multinomial(p, 1, generator=generator).squeeze(1)
    return calibration.reliability(p, labels, bins=10, n_resamples=200, generator=generator, **options)


def numbers(n=300, spread=2.0):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(n, generator=generator)
    return (mean, torch.ones(n)), mean + spread * torch.randn(n, generator=generator)


FIGURES = {
    "reliability": lambda: draw_reliability(found()),
    "of a class": lambda: draw_reliability(found(of_class=1)),
    "coverage": lambda: draw_coverage(calibration.regression_scores(*numbers())),
    "pit": lambda: draw_pit(calibration.regression_scores(*numbers())),
    "intervals": lambda: draw_intervals(calibration.central_intervals(numbers()[0]), numbers()[1]),
}


def lines(figure, panel=0):
    return [item for item in figure.panels[panel].items if isinstance(item, Line)]


class TestReliability:
    def test_points_stand_at_confidence_and_accuracy_of_each_filled_bin(self):
        bins, points = found().bins, lines(FIGURES["reliability"]())[-1]
        filled = bins.count > 0
        assert points.x == pytest.approx((10 * bins.confidence[filled] - 0.5).tolist())
        assert points.y == pytest.approx(bins.accuracy[filled].tolist())
        assert points.high == pytest.approx((bins.accuracy + bins.error)[filled].clamp(max=1).tolist())
        assert not any(map(math.isnan, points.low))

    def test_bands_are_the_range_of_calibrated_models(self):
        bins, bands = found().bins, [line for line in lines(FIGURES["reliability"]()) if line.band]
        filled = bins.count > 0
        assert [band.low[0] for band in bands] == pytest.approx(bins.low[filled].tolist())
        assert [band.high[1] for band in bands] == pytest.approx(bins.high[filled].tolist())
        assert [bool(band.label) for band in bands] == [True] + [False] * (len(bands) - 1)

    def test_rows_are_counted_below(self):
        [bars] = FIGURES["reliability"]().panels[1].items
        assert isinstance(bars, Bars)
        assert sum(bars.height) == 400

    def test_the_sentence_names_chance(self):
        one = found()
        assert draw_reliability(one).reading.startswith(f"Confidence is off by {one.ece:.3f} on average (ECE)")
        assert "share of class 1" in FIGURES["of a class"]().caption


class TestCoverage:
    def test_the_curve_is_the_coverage(self):
        scores = calibration.regression_scores(*numbers())
        curve = lines(draw_coverage(scores))[-1]
        assert [curve.y[round(200 * level)] for level in scores.levels.tolist()] == pytest.approx(
            scores.coverage.tolist()
        )
        assert (curve.y[-1], draw_coverage(scores).panels[0].x_range) == (1, (0, 1))

    def test_the_band_is_binomial(self):
        band = lines(FIGURES["coverage"]())[0]
        assert (band.low[100], band.high[100]) == tuple(stats.binom.ppf((0.025, 0.975), 300, 0.5) / 300)
        assert (band.low[0], band.high[-1]) == (0, 1)

    def test_one_bar_shows_nothing(self):
        with pytest.raises(ValueError, match="`bins` must be at least 2, got 1"):
            draw_pit(calibration.regression_scores(*numbers()), bins=1)

    def test_bars_of_the_truth_are_those_of_the_histogram(self):
        scores = calibration.regression_scores(*numbers())
        bars = draw_pit(scores, bins=5).panels[0].items[0]
        assert bars.height == pytest.approx((scores.pit_histogram(5) / 300).tolist())
        assert draw_pit(scores).reading.endswith("of true laws they would hold 20.0%.")


class TestIntervals:
    def test_points_are_told_apart_by_what_holds_them(self):
        intervals, y = calibration.central_intervals(([3.0, 1.0, 2.0], [1.0] * 3)), [3.0, 9.0, 2.5]
        band, line, inside, outside = draw_intervals(intervals, y).panels[0].items
        assert list(line.y) == [1, 2, 3]
        assert (list(inside.x), list(inside.y)) == ([1, 2], [2.5, 3])
        assert (list(outside.x), list(outside.y)) == ([0], [9])
        assert band.high == pytest.approx([1 + 1.6449, 2 + 1.6449, 3 + 1.6449], abs=1e-3)

    def test_of_many_rows_some_are_shown_and_all_are_counted(self):
        figure = FIGURES["intervals"]()
        assert sum(len(points.x) for points in lines(figure)[2:]) == 150
        assert "150 of 300 rows are shown" in figure.caption
        assert "of 300 measured values" in figure.reading

    def test_an_interval_without_bounds_does_not_stretch_the_axis(self):
        intervals = calibration.Intervals(
            torch.zeros(2), torch.tensor([-1, -math.inf]), torch.tensor([1, math.inf]), 0.9
        )
        low, high = draw_intervals(intervals, [0.0, 0.0]).panels[0].y_range
        assert (low, high) == pytest.approx((-1.08, 1.08))


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_saved_and_shown(name, tmp_path):
    figure = FIGURES[name]()
    assert figure.reading.endswith(".")
    assert figure.caption.endswith(".")

    to_png(figure, tmp_path / "figure.png")
    assert imread(tmp_path / "figure.png")[..., :3].std() > 0.03
    shown = json.loads(to_plotly(figure).to_json())
    assert len(shown["data"]) == sum(len(panel.items) for panel in figure.panels)
    colours = [trace["marker"]["color"] for trace in shown["data"] if "marker" in trace]
    assert set(colours) <= set(LIGHT.values())
