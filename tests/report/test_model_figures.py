"""Figures of one model's spectrum against the numbers they show."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spectra
from matplotlib.image import imread
from plotly.offline import get_plotlyjs

from dropscope.report import draw_shares, draw_spectra, draw_survival, draw_terms, to_plotly, to_png, write_spectrum
from dropscope.report.order_shares import interactions_tile
from dropscope.report.picture import LIGHT, Bars, Line
from dropscope.spectrum import Spectrum
from dropscope.spectrum.result import SurvivalCurve

FIGURES = {
    "shares": lambda: draw_shares(spectra.spectrum(), spectra.NAMES),
    "half known": lambda: draw_shares(spectra.half_known()),
    "learned": lambda: draw_shares(spectra.learned()),
    "survival": lambda: draw_survival(spectra.spectrum(), spectra.NAMES),
    "by name": lambda: draw_spectra([(f"model {k}", spectra.spectrum()) for k in range(3)]),
    "by epoch": lambda: draw_spectra([(str(k), spectra.half_known()) for k in range(30)], axis="epoch"),
    "terms": lambda: draw_terms(spectra.terms()),
}


def bars(figure, panel=0):
    return [item for item in figure.panels[panel].items if isinstance(item, Bars)]


def lines(figure, panel=0):
    return [item for item in figure.panels[panel].items if isinstance(item, Line)]


class TestShares:
    def test_bars_are_the_shares_and_whiskers_their_intervals(self):
        one = spectra.spectrum()
        figure = draw_shares(one)
        assert [bar.height[0] for bar in bars(figure)] == pytest.approx([*one.share, one.rest])
        assert [line.low[0] for line in lines(figure)] == pytest.approx(one.low.clip(0))
        assert [line.high[0] for line in lines(figure)] == pytest.approx(one.high)

    def test_a_share_that_is_not_identified_is_its_interval_alone(self):
        one, figure = spectra.half_known(), draw_shares(spectra.half_known())
        hatched = [bar for bar in bars(figure) if any(bar.hatched)]
        [bar] = hatched
        assert (bar.base[0], bar.base[0] + bar.height[0]) == pytest.approx((one.low[1], one.high[1]))
        assert len(lines(figure)) == 3
        assert figure.panels[0].ticks[1.0] == "2\nn. i."
        assert "Hatched, n. i.: not identified" in figure.caption

    def test_colours_are_those_of_the_studys_orders(self):
        assert [bar.colour for bar in bars(draw_shares(spectra.spectrum()))] == ["blue", "orange", "green", "rest"]

    def test_the_sentence_is_computed_from_the_numbers(self):
        assert draw_shares(spectra.spectrum()).reading == (
            "Interactions hold 40.0 % [38.0, 42.0] of the variance, the largest part of it at order 2 (30.0 %); "
            "the mean interaction order is 1.520 [1.500, 1.540]."
        )

    def test_no_order_is_called_the_largest_beside_one_that_is_not_identified(self):
        assert "the largest" not in draw_shares(spectra.half_known()).reading

    def test_a_first_order_that_is_not_identified_has_no_number(self):
        wide = replace(spectra.spectrum(), low=np.full(4, 0.1), high=np.full(4, 0.9))
        assert "an unidentified share [10.0, 90.0] %" in draw_shares(wide).reading

    def test_the_caption_names_law_blocks_and_budget(self):
        caption = draw_shares(spectra.spectrum(), spectra.NAMES).caption
        assert "the product of 5 blocks" in caption
        assert "hour, <b>temp</b>" in caption
        assert "50,000 evaluations, method cube" in caption

    def test_without_intervals_bars_stand_alone(self):
        nothing = np.full(4, math.nan)
        figure = draw_shares(replace(spectra.spectrum(), low=nothing, high=nothing))
        assert not any(any(bar.hatched) for bar in bars(figure))
        assert not any(math.isfinite(line.low[0]) for line in lines(figure))
        assert "Without intervals" in figure.caption

    def test_one_order_and_the_rest_are_said_once(self):
        assert draw_shares(spectra.spectrum((0.6,))).reading.startswith(
            "Interactions hold 40.0 % [38.0, 42.0] of the variance; the mean"
        )

    def test_no_rest_is_shown_where_every_order_is(self):
        assert len(bars(draw_shares(spectra.spectrum((0.6, 0.3, 0.1), blocks=3)))) == 3

    def test_fitted_models_say_what_they_did_not_learn(self):
        figure = draw_shares(spectra.learned())
        assert "or not learned" in figure.panels[0].ticks[2.0]
        assert figure.reading == (
            "Additive models fitted to this one explain 60.0 % of its variance, with pairs 80.0 %."
        )
        assert "Caution: a lower bound." in figure.caption

    def test_names_must_fit_the_columns(self):
        with pytest.raises(ValueError, match="must name all 5 columns, got 1"):
            draw_shares(spectra.spectrum(), ["hour"])


class TestSurvival:
    def test_the_fitted_curve_runs_from_one_to_zero(self):
        curve = lines(draw_survival(spectra.spectrum()))[-1]
        assert (curve.y[0], curve.y[-1]) == pytest.approx((1, 0), abs=1e-12)
        assert curve.y[25] == pytest.approx(spectra.spectrum().survival(0.5))

    def test_a_measured_curve_is_shown_with_its_band(self):
        p = np.linspace(0, 1, 5)
        measured = SurvivalCurve(p=p, share=1 - p, low=0.9 - p, high=1.1 - p)
        figure = draw_survival(replace(spectra.spectrum(), survival_curve=measured))
        [band] = [line for line in lines(figure) if line.band]
        assert (band.low, band.high) == ((0.9 - p).tolist(), (1.1 - p).tolist())
        assert lines(figure)[-1].y == (1 - p).tolist()
        assert "explains 50.0 % [40.0, 60.0]" in figure.reading
        assert figure.caption.startswith("From the variance at every order; all spectra")

    def test_the_joint_law_has_none(self):
        assert draw_survival(spectra.learned()) is None


class TestSpectra:
    def test_bars_stack_up_to_one(self):
        figure = draw_spectra([("net", spectra.spectrum()), ("trees", spectra.spectrum((0.9, 0.05, 0.05)))])
        assert np.sum([bar.height for bar in bars(figure)], axis=0) == pytest.approx(1)
        assert figure.panels[0].flipped
        assert "net 40.0 % [38.0, 42.0] (the most), trees 10.0 %" in figure.reading

    def test_mean_orders_have_their_intervals(self):
        one = spectra.spectrum()
        [line] = lines(draw_spectra([("1", one), ("2", one)], axis="epoch"), 1)
        assert (line.y[0], line.low[0], line.high[0]) == (one.mean_order, one.mean_order_low, one.mean_order_high)

    def test_epochs_stand_in_a_row_with_few_ticks(self):
        panel = FIGURES["by epoch"]().panels[0]
        assert not panel.flipped
        assert len(panel.ticks) == 10

    def test_what_cannot_be_compared_is_refused(self):
        with pytest.raises(ValueError, match="must share their blocks"):
            draw_spectra([("one", spectra.spectrum()), ("other", spectra.learned())])
        with pytest.raises(ValueError, match="at least one"):
            draw_spectra([])


class TestTerms:
    def test_points_are_the_ranked_shares(self):
        terms = spectra.terms()
        total, shared = lines(draw_terms(terms))
        assert total.y == terms.totals.share.tolist()
        assert shared.y == terms.interacting.share.tolist()
        # Their rows are those of the totals: block 1 is second, block 0 first.
        assert [round(x) for x in shared.x] == [1, 0]

    def test_pairs_and_triples_are_named(self):
        panels = draw_terms(spectra.terms()).panels
        assert [panel.title for panel in panels] == ["Blocks", "Pairs", "Triples"]
        assert panels[1].ticks[0.0] == "hour × <b>temp</b>"

    def test_no_interaction_is_said(self):
        figure = draw_terms(spectra.terms(pairs=(), triples=()))
        assert [panel.title for panel in figure.panels] == ["Blocks"]
        assert "no two blocks interact" in figure.reading

    def test_what_was_skipped_is_said(self):
        assert "none has a share above 1.3 %" in draw_terms(spectra.terms(skipped=0.013)).caption

    def test_a_long_name_keeps_both_ends(self):
        terms = replace(spectra.terms(), names=("a" * 60 + "1", *spectra.NAMES[1:]))
        tick = draw_terms(terms).panels[0].ticks[0.0]
        assert len(tick) <= 22
        assert tick.startswith("aaa")
        assert tick.endswith("a1")

    def test_long_pairs_have_a_line_a_block(self):
        terms = replace(spectra.terms(), names=("the first column", "the second column", *spectra.NAMES[2:]))
        _, pairs, triples = draw_terms(terms).panels
        assert pairs.ticks[0.0] == "the first column\n× the second column"
        assert triples.ticks[0.0].count("\n") == 2
        short = draw_terms(replace(terms, names=tuple("abcde"))).panels[2]
        assert triples.height > short.height

    def test_joined_columns_stand_in_brackets(self):
        blocks = ((0, 1), (2,), (3,), (4,))
        terms = replace(spectra.terms(), blocks=blocks, names=("a + b", "c", "d", "e"))
        panels = draw_terms(terms).panels
        assert (panels[0].ticks[0.0], panels[1].ticks[0.0]) == ("a + b", "(a + b) × c")


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_saved_and_shown(name, tmp_path):
    figure = FIGURES[name]()
    assert figure.title
    assert figure.reading.endswith(".")
    assert "law of inputs" in figure.caption

    to_png(figure, tmp_path / "figure.png")
    picture = imread(tmp_path / "figure.png")
    assert picture[..., :3].std() > 0.03

    shown = json.loads(to_plotly(figure).to_json())
    assert len(shown["data"]) >= sum(len(panel.items) for panel in figure.panels)
    assert "<b>temp" not in json.dumps(shown["layout"])
    colours = [trace["marker"]["color"] for trace in shown["data"] if "marker" in trace]
    assert set(colours) <= set(LIGHT.values())


def test_a_png_holds_the_caption(tmp_path):
    figure = FIGURES["shares"]()
    heights = []
    for caption in (figure.caption, ""):
        to_png(replace(figure, caption=caption), tmp_path / "figure.png")
        heights.append(imread(tmp_path / "figure.png").shape[0])
    assert heights[0] > heights[1] + 20


def test_letters_that_no_font_has_warn_of_nothing(tmp_path):
    to_png(draw_shares(spectra.spectrum(), ["漢字", *spectra.NAMES[1:]]), tmp_path / "figure.png")


def test_a_key_shows_each_label_once():
    shown = to_plotly(FIGURES["by name"]())
    named = [trace.name for trace in shown.data if trace.showlegend]
    assert named == ["order 1", "order 2", "order 3", "order &gt; 3"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spectrum") / "new"
    return write_spectrum(
        spectra.half_known(), folder, terms=spectra.terms(), others=[("trees", spectra.spectrum())],
        columns=np.array(spectra.NAMES), name="<script>net</script>", data="table.csv", notes=["mind the gap"],
    )  # fmt: skip


class TestTheWrittenReport:
    def test_lists_every_file(self, files):
        names = ["spectrum.html", "shares.png", "survival.png", "spectra.png", "terms.png", "spectrum.json"]
        assert [Path(file).name for file in files] == names
        assert all(Path(file).stat().st_size > 1000 for file in files)

    def test_the_numbers_come_back(self, files):
        kept = json.loads(Path(files[-1]).read_text())
        assert Spectrum.from_dict(kept["spectrum"]).to_dict() == spectra.half_known().to_dict()
        assert kept["terms"]["pairs"]["members"] == [[0, 1], [0, 2]]
        assert kept["columns"] == spectra.NAMES

    def test_the_page_executes_no_name_and_fetches_nothing(self, files):
        source = Path(files[0]).read_text().replace(get_plotlyjs(), "plotly.js")
        assert "<script>net" not in source
        assert "<b>temp" not in source
        assert not any(part in source for part in (' src="', "<link", "<img", "@import"))
        assert "mind the gap" in source
        assert "not identified" in source

    def test_the_headline_is_said_once(self, files):
        source = Path(files[0]).read_text()
        assert source.count("Interactions hold 40.0") == 1

    def test_a_share_that_is_not_identified_is_an_interval_in_its_tile(self):
        wide = replace(spectra.spectrum(), low=np.full(4, 0.1), high=np.full(4, 0.9))
        assert interactions_tile(wide) == ("in interactions", "10 to 90 %")
        assert interactions_tile(spectra.spectrum()) == ("in interactions", "40.0 %")

    def test_an_earlier_report_is_replaced_as_a_whole(self, tmp_path, monkeypatch):
        (tmp_path / "mine.png").write_bytes(b"")
        write_spectrum(spectra.spectrum(), tmp_path)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

        with monkeypatch.context() as patch:
            patch.setattr("dropscope.report.model_writing.to_png", full_disk)
            with pytest.raises(OSError, match="full"):
                write_spectrum(spectra.learned(), tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

        write_spectrum(spectra.learned(), tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {*before} - {"survival.png"}

    def test_fitted_models_say_what_they_explain(self, tmp_path):
        """Neither terms nor others are needed."""
        files = write_spectrum(spectra.learned(), tmp_path)
        assert [Path(file).name for file in files] == ["spectrum.html", "shares.png", "spectrum.json"]
        source = Path(files[0]).read_text()
        for part in ("learned interactions", "≥ 20.0 %", "R² up to here", "<td>80.0 %</td>", "Models were fitted to"):
            assert part in source
        assert "functional ANOVA" not in source


def full_disk(*_):
    raise OSError("full")
