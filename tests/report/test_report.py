"""The report against the numbers it shows: nothing lost, nothing executed, nothing fetched."""

import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import synthetic
from matplotlib.image import imread
from plotly import graph_objects
from plotly.offline import get_plotlyjs

from dropscope.report import write_report
from dropscope.report.page import render
from dropscope.report.picture import DARK, LIGHT, Bars, Line
from dropscope.report.plotly_drawing import panel_plot
from dropscope.report.reading import interval
from dropscope.report.writing import figures_of
from dropscope.study import StudyResult

NAMES = [synthetic.NASTY, "<b>bold</b> &amp; $x_1$ \\frac", "c" * 300, "a\nb", "{{ 7*7 }}"]
HUNDRED = [(0.0, 0.0), *((i / 120, 0.0) for i in range(1, 100))]


def with_losses():
    """One network diverged, one is constant, one has no spectrum: what becomes of them in JSON."""
    result = synthetic.make()
    trials, arms = [dict(trial) for trial in result.trials], list(result.arms)
    trials[0]["spectrum"] = None
    flat = {"share": [None] * 3, "rest": None, "orders": [None] * 8, "total": 0.0, "mean_order": None}
    trials[1]["spectrum"] = {**trials[1]["spectrum"], **flat}
    lost = dict.fromkeys(("rmse", "mae", "r2"))
    trials[3] |= {"diverged": True, "stop": None, "best_epoch": 0, "select": lost, "test": lost}
    trials[3] |= {"fit_curve": [1.0, None], "stop_curve": [math.inf]}
    arms[2] = replace(arms[2], share=(), rest=math.nan, total=math.nan, mean_order=math.nan)
    arms[3] = replace(arms[3], select=math.nan, select_se=math.nan, test=math.nan, diverged=True)
    return replace(result, trials=tuple(trials), arms=tuple(arms))


STUDIES = {
    "regression": synthetic.make,
    "classification": lambda: synthetic.make(metric="log_loss", optimum=0.1),
    "no dropout": lambda: synthetic.make(optimum=0.0),
    "void": lambda: synthetic.make(constant=10.0),
    "no spectra": lambda: synthetic.make(spectra=False),
    "one place": lambda: synthetic.make(arms=[(0.0, 0.0), (0.0, 0.25), (0.0, 0.5)]),
    "two learning rates": lambda: synthetic.make(seeds=2, lrs=(1e-3, 3e-3)),
    "hundred arms": lambda: synthetic.make(arms=HUNDRED, seeds=2),
    "nasty names": lambda: synthetic.make(target=synthetic.NASTY, names=NAMES),
    "lost numbers": with_losses,
}


class Page(HTMLParser):
    """Tags with their attributes, cells of every table, scripts, and texts."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.tables, self.scripts, self.text, self.inside = [], [], [], [], ""
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside in ("td", "th"):
            self.tables[-1][-1][-1] += data
        (self.scripts if self.inside == "script" else self.text).append(data)


class Written:
    """A study with its figures and its page, rendered and read once; plotly.js itself is cut out of what is read."""

    def __init__(self, result):
        self.result, self.figures = result, figures_of(result)
        self.source = render(result, self.figures)
        self.page = Page(self.source.replace(get_plotlyjs(), "plotly.js"))


@pytest.fixture(scope="module", params=STUDIES)
def written(request):
    return Written(STUDIES[request.param]())


class TestThePage:
    def test_fetches_nothing(self, written):
        for tag, attributes in written.page.tags:
            assert tag not in ("link", "img", "iframe", "object", "embed", "base")
            assert not {"src", "href", "data", "action"} & set(attributes)
        style = written.source[written.source.index("<style>") : written.source.index("</style>")]
        assert "url(" not in style
        assert "@import" not in style
        assert "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'" in written.source

    def test_executes_no_name(self, written):
        assert [tag for tag, _ in written.page.tags].count("script") == len(written.page.scripts) == 4
        assert not any(tag == "b" for tag, _ in written.page.tags)
        plots = json.loads(written.page.scripts[0])
        assert not any("<script" in text or "<b>" in text for text in strings(plots))

    def test_shows_the_answer_and_every_block(self, written):
        text = " ".join("".join(written.page.text).split())
        blocks = [" + ".join(block) for block in written.result.blocks]
        for part in (*written.result.advice.sentences, *blocks, *written.result.notes):
            assert " ".join(part.split()) in text

    def test_tables_hold_the_numbers_of_the_result(self, written):
        arms, *_, trials = written.page.tables
        assert len(arms) == 1 + len(written.result.arms)
        assert len(trials) == 1 + len(written.result.trials)
        assert all(len(row) == len(arms[0]) for row in arms)
        assert all(len(row) == len(trials[0]) for row in trials)
        for row, arm in zip(arms[1:], written.result.arms, strict=True):
            cells = dict(zip(arms[0], row, strict=True))
            assert (float(cells["input p"]), float(cells["hidden p"])) == pytest.approx(arm.rates, rel=1e-5)
            mean, *error = next(cell for name, cell in cells.items() if name.startswith("selection")).split(" ± ")
            if math.isnan(arm.select):
                assert mean == "–"
            else:
                assert float(mean) == pytest.approx(arm.select, rel=5.1e-4)
                assert float(error[0]) == pytest.approx(arm.select_se, abs=5.1e-4 * arm.select)

    def test_is_the_same_after_a_round_trip_through_json(self, written, tmp_path):
        written.result.save(tmp_path / "result.json")
        again = StudyResult.load(tmp_path / "result.json")
        assert render(again, figures_of(again)) == written.source

    def test_every_panel_names_its_axes_and_shows_something(self, written):
        for panel in (panel for figure in written.figures for panel in figure.panels):
            assert panel.title
            assert panel.x_label
            assert panel.y_label
            assert panel.y_range[0] < panel.y_range[1]
            assert panel.x_range[0] < panel.x_range[1]
            drawn = [item.y if isinstance(item, Line) else item.height for item in panel.items[len(panel.levels) :]]
            assert any(np.isfinite(y).any() for y in drawn)


def strings(data):
    """Every text in nested plain data."""
    if isinstance(data, str):
        return [data]
    items = data.values() if isinstance(data, dict) else data if isinstance(data, list) else []
    return [text for one in items for text in strings(one)]


@pytest.mark.parametrize("name", ["classification", "nasty names"])
def test_writes_a_page_and_pictures_that_are_not_blank(name, tmp_path):
    page, *pictures = write_report(STUDIES[name](), tmp_path / "new folder")
    assert Path(page).stat().st_size > 10**6
    assert len(pictures) == 8
    for path in pictures:
        picture = imread(path)
        assert min(picture.shape[:2]) > 300
        assert picture[..., :3].std() > 0.03


def test_plotly_accepts_every_panel_and_knows_every_colour():
    for panel in (panel for figure in figures_of(synthetic.make()) for panel in figure.panels):
        graph_objects.Figure(painted(panel_plot(panel)))


def painted(data):
    """Name the colours of the light palette, as the page's script does."""
    if isinstance(data, dict):
        return {name: LIGHT.get(v, v) if name.endswith("color") else painted(v) for name, v in data.items()}
    return [painted(one) for one in data] if isinstance(data, list) else data


def test_what_was_not_measured_has_no_figure():
    names = [figure.name for figure in figures_of(synthetic.make())]
    spectra = ["spectrum_by_epoch", "spectrum_by_arm", "measured", "survival"]
    assert names == ["loss", "gain", "spectrum", "learning", *spectra]
    assert [figure.name for figure in figures_of(synthetic.make(spectra=False))] == ["loss", "gain", "learning"]
    assert "gain" not in [figure.name for figure in figures_of(synthetic.make(constant=10.0))]
    perfect = synthetic.make()
    perfect = replace(perfect, arms=(replace(perfect.arms[0], select=0.0), *perfect.arms[1:]))
    assert "gain" not in [figure.name for figure in figures_of(perfect)]  # no loss is left that could fall


def lines_of(panel):
    return [item for item in panel.items if isinstance(item, Line)]


def bars_of(panel):
    return [item for item in panel.items if isinstance(item, Bars)]


@pytest.fixture(scope="module")
def result():
    return synthetic.make()


@pytest.fixture(scope="module")
def figures(result):
    return {figure.name: figure for figure in figures_of(result)}


@pytest.fixture(scope="module")
def hidden(result):
    """No dropout, then dropout after hidden layers: the arms of every figure's middle column."""
    return [arm for arm in result.arms if arm.p_input == 0]


class TestNumbers:
    def test_loss_points_are_the_arms_and_the_advised_one_is_marked(self, result, figures, hidden):
        lines = [line for panel in figures["loss"].panels for line in lines_of(panel) if line.low]
        drawn = {point for line in lines for point in zip(line.x, line.y, strict=True)}
        assert drawn == {(arm.p_hidden or arm.p_input, arm.select) for arm in result.arms}
        [ring] = [line for line in lines_of(figures["loss"].panels[1]) if line.label == "advised"]
        assert (ring.x, ring.y) == ([0.25], [hidden[2].select])

    def test_a_far_reference_is_named_at_the_edge(self, figures):
        constant, linear, boosting = figures["loss"].panels[0].levels
        assert math.isnan(constant.y)
        assert constant.name == "constant\n92 ↑"
        assert figures["loss"].panels[0].y_range[1] < 92
        assert (linear.y, boosting.y) == (50.0, 41.5)

    def test_gains_are_relative_to_no_dropout(self, result, figures, hidden):
        [line] = lines_of(figures["gain"].panels[1])
        assert line.y == pytest.approx([100 * (1 - arm.select / hidden[0].select) for arm in hidden])
        needed = figures["gain"].panels[1].levels[1].y
        assert needed == pytest.approx(100 * result.advice.critical * result.advice.gain_se / hidden[0].select)

    def test_bars_stack_up_to_the_total_variance_and_to_one(self, figures, hidden):
        total, share = (bars_of(figures["spectrum"].panels[i]) for i in (1, 4))
        assert np.sum([bar.height for bar in total], axis=0) == pytest.approx([arm.total for arm in hidden])
        assert np.sum([bar.height for bar in share], axis=0) == pytest.approx(1.0)
        assert share[0].height == pytest.approx([arm.share[0] for arm in hidden])
        assert share[2].base == pytest.approx(np.add(share[0].height, share[1].height))

    def test_whiskers_are_t_intervals_over_seeds(self, result, figures):
        first = lines_of(figures["spectrum"].panels[4])[0]
        shares = [t["spectrum"]["share"][0] for t in result.trials if (t["p_input"], t["p_hidden"]) == (0, 0.25)]
        half = 2.7764451 * np.std(shares, ddof=1) / 5**0.5
        assert (first.low[2], first.high[2]) == pytest.approx((np.mean(shares) - half, np.mean(shares) + half))
        assert interval([2.0]) == pytest.approx((2.0, math.nan, math.nan), nan_ok=True)

    def test_a_single_seed_shows_the_interval_of_its_own_spectrum(self, result):
        one = replace(result, trials=tuple(trial for trial in result.trials if trial["seed"] == 0))
        figure = next(figure for figure in figures_of(one) if figure.name == "spectrum")
        first, measured = lines_of(figure.panels[4])[0], one.trials[0]["spectrum"]
        assert (first.low[0], first.high[0]) == pytest.approx((measured["low"][0], measured["high"][0]))

    def test_epochs_run_in_powers_of_two_to_the_best(self, result, figures):
        ticks = list(figures["spectrum_by_epoch"].panels[0].ticks.values())
        assert ticks == ["1", "2", "4", "8", f"best\n({result.arms[0].best_epoch:g})"]

    def test_learning_curves_are_means_over_seeds(self, result, figures):
        curves = [trial["stop_curve"] for trial in result.trials if trial["p_input"] == trial["p_hidden"] == 0]
        [mean] = [line for line in lines_of(figures["learning"].panels[0]) if line.label.startswith("stop rows")]
        assert mean.y == pytest.approx(np.mean([curve[: len(mean.y)] for curve in curves], axis=0))
        assert len(mean.y) == min(map(len, curves))

    def test_survival_starts_at_one_and_follows_the_shares(self, result, figures):
        curve = figures["survival"].panels[0].items[-1]
        none = [trial for trial in result.trials if trial["p_input"] == trial["p_hidden"] == 0]
        shares = np.mean([trial["spectrum"]["orders"] for trial in none], axis=0)
        assert (curve.y[0], curve.y[-1]) == pytest.approx((1, 0), abs=1e-12)
        assert curve.y[25] == pytest.approx(shares @ 0.5 ** np.arange(1, 9))

    def test_measured_ratios_are_one_without_dropout(self, figures):
        assert "not predicted by qᵏ" in figures["measured"].caption
        for panel in figures["measured"].panels:
            assert [line.label for line in lines_of(panel)] == ["order 1", "order 2", "order 3", "order > 3"]
            assert all(line.y[0] == 1.0 for line in lines_of(panel))


def test_both_palettes_name_the_same_colours_and_lift_them_off_the_page():
    assert list(LIGHT) == list(DARK)
    for palette in (LIGHT, DARK):
        for name in ("ink", "muted", "blue", "green", "vermilion"):
            assert contrast(palette[name], palette["card"]) > 3


def contrast(first, second):
    darker, lighter = sorted(luminance(colour) for colour in (first, second))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    """Relative luminance of an sRGB colour."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]
