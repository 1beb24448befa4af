"""The small panels of all rates: the areas are the measured shares, on one pair of axes, at every number of rates."""

from dataclasses import replace

import numpy as np
import pytest
import synthetic
from matplotlib.figure import Figure as Canvas

from dropscope.report.arm_figures import arms_figure
from dropscope.report.page import render
from dropscope.report.paper_drawing import draw_panels, natural_size, paper_style
from dropscope.report.plotly_drawing import panel_plot
from dropscope.report.reading import trials_of
from dropscope.report.spectrum_figures import spectrum_figure

RISING = (0.0625, 0.125, 0.1875, 0.25)


@pytest.fixture(scope="module")
def result():
    return synthetic.make()


def areas(panel):
    return [item for item in panel.items if item.band]


def with_profile(result):
    """The last arm drops at a rate of each of four layers."""
    old = result.arms[-1]
    trials = [
        {**t, "p_input": 0.0, "p_hidden": list(RISING)} if (t["p_input"], t["p_hidden"]) == old.rates else t
        for t in result.trials
    ]
    arms = (*result.arms[:-1], replace(old, p_input=0.0, p_hidden=RISING))
    return replace(result, trials=tuple(trials), arms=arms)


def test_there_is_a_panel_for_every_rate_and_no_dropout_comes_first(result):
    shuffled = replace(result, arms=result.arms[::-1])
    assert arms_figure(result).panels[0].title == "no dropout"
    assert arms_figure(shuffled).panels[0].title == "no dropout"
    assert len(arms_figure(result).panels) == len(result.arms)


def test_areas_are_the_mean_shares_by_epoch_and_stack_up_to_one(result):
    for arm, panel in zip(result.arms, arms_figure(result).panels, strict=True):
        bands = areas(panel)
        assert [band.label for band in bands] == ["order 1", "order 2", "order 3", "order > 3"]
        assert bands[0].low == [0.0] * len(bands[0].x)
        assert bands[-1].high == pytest.approx([1.0] * len(bands[-1].x))
        for i, epoch in enumerate(bands[0].x):
            curves = [trial["curve"] for trial in trials_of(result, arm)]
            shares = [curve[int(epoch)]["share"] for curve in curves if int(epoch) in curve]
            heights = [band.high[i] - band.low[i] for band in bands[:3]]
            assert heights == pytest.approx(np.mean(shares, axis=0))


def test_an_epoch_that_fewer_than_half_of_the_seeds_reached_is_left_out(result):
    def shortened(seeds):
        trials = [
            {**t, "curve": {e: one for e, one in t["curve"].items() if e < 8 or t["seed"] < seeds}}
            for t in result.trials
        ]
        return areas(arms_figure(replace(result, trials=tuple(trials))).panels[0])[0].x

    assert shortened(2) == [1, 2, 4]
    assert shortened(3)[:4] == [1, 2, 4, 8]


def test_all_panels_have_the_same_axes_and_mark_the_best_epoch(result):
    panels = arms_figure(result).panels
    assert len({(panel.x_range, panel.y_range, tuple(panel.ticks)) for panel in panels}) == 1
    for arm, panel in zip(result.arms, panels, strict=True):
        [mark] = [item for item in panel.items if item.label == "best epoch"]
        assert list(mark.x) == [arm.best_epoch] * 2
        assert panel.x_range[0] < arm.best_epoch < panel.x_range[1]


@pytest.mark.parametrize(("arms", "columns"), [(3, 3), (5, 5), (6, 3), (15, 5), (16, 4)])
def test_rows_are_even_at_every_number_of_rates(arms, columns):
    figure = arms_figure(synthetic.make(arms=synthetic.ARMS[:arms], seeds=2))
    assert (len(figure.panels), figure.columns) == (arms, columns)


def test_of_too_many_rates_some_are_shown_and_the_caption_says_so():
    many = [(0.0, 0.0), *((i / 120, 0.0) for i in range(1, 100))]
    figure = arms_figure(synthetic.make(arms=many, seeds=2))
    assert len(figure.panels) == 30
    assert figure.panels[0].title == "no dropout"
    assert "30 of 100 rates, evenly spaced" in figure.caption


def test_a_profile_of_many_layers_is_named_by_its_ends(result):
    assert arms_figure(with_profile(result)).panels[-1].title == "hidden p = 0.0625/…/0.25"


def test_a_network_that_never_varied_has_no_panel_and_the_caption_says_so(result):
    last = result.arms[-1]
    flat = {"share": [None] * 3, "rest": None, "total": 0.0}
    trials = [
        {**t, "curve": dict.fromkeys(t["curve"], flat)} if (t["p_input"], t["p_hidden"]) == last.rates else t
        for t in result.trials
    ]
    figure = arms_figure(replace(result, trials=tuple(trials)))
    assert len(figure.panels) == len(result.arms) - 1
    assert f"{len(result.arms) - 1} of {len(result.arms)} rates; of the others" in figure.caption


def test_on_paper_only_the_outer_panels_are_labelled():
    figure = arms_figure(synthetic.make(arms=synthetic.ARMS[:11], seeds=2))
    width, height = natural_size(figure)
    with paper_style():
        canvas = Canvas(figsize=(width, height), layout="constrained")
        draw_panels(canvas, figure, width)
    axes = canvas.axes[:11]
    assert [bool(axis.get_ylabel()) for axis in axes] == [i % 4 == 0 for i in range(11)]
    assert [bool(axis.get_xlabel()) for axis in axes] == [i + 4 >= 11 for i in range(11)]


def test_on_the_page_small_panels_have_small_letters_and_all_areas(result):
    panel = arms_figure(result).panels[0]
    small, usual = panel_plot(panel, small=True), panel_plot(panel)
    assert small["layout"]["font"]["size"] < usual["layout"]["font"]["size"]
    assert sum(trace.get("fill") == "toself" for trace in small["data"]) == 4


def test_rates_that_differ_over_layers_stand_one_above_the_other(result):
    figure = spectrum_figure(with_profile(result))
    assert "0.0625\n0.125\n0.188\n0.25" in [tick for panel in figure.panels for tick in panel.ticks.values()]
    assert "the first layer's on top" in figure.caption


def test_the_page_of_an_advised_profile_names_all_its_rates(result):
    result = with_profile(result)
    advice = replace(result.advice, p_input=0.0, p_hidden=RISING)
    assert "p = 0.0625/0.125/0.1875/0.25 after hidden layers" in render(replace(result, advice=advice), [])
