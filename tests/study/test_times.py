"""Dates and times: how text is read, which parts say something, and what the networks are given of them."""

import datetime as dt
import json

import numpy as np
import polars
import pytest

from dropscope.errors import BadTable
from dropscope.study import Options
from dropscope.study.preprocess import Encoder
from dropscope.study.problem import pose
from dropscope.study.times import ISO, Clock, learn_clock, parse_times, read_form

ROWS = 400
START = dt.datetime(2011, 1, 1)  # a Saturday


def moments(step, rows=ROWS):
    return [START + i * step for i in range(rows)]


def table(seed, **columns):
    x, y = np.random.default_rng(seed).normal(size=(2, ROWS))
    return polars.DataFrame({"x": x, "y": y, **columns})


class TestText:
    @pytest.mark.parametrize(
        ("texts", "form"),
        [
            (["2011-07-31", None, "2011-08-01"], ISO),
            (["2011-07-31 10:00", "2011-08-01 10:00:05"], ISO),
            (["2011-07-31T10:00:00Z"], ISO),
            (["31.07.2011", "01.08.2011"], "%d.%m.%Y"),
            (["07/31/2011", "08/01/2011"], "%m/%d/%Y"),
            (["01/02/2011", "31/07/2011"], "%d/%m/%Y"),
            (["7/31/2011 9:05"], "%m/%d/%Y %H:%M"),
            (["09:05", "23:59"], "%H:%M"),
            (["01/02/2011", "03/04/2011"], ""),  # the day or the month may stand first
            (["2011-07-31", "soon"], None),
            (["31.07.11"], None),
            (["2:1", "3:1"], None),
            (["20110731"], None),
            (["7", "8"], None),
        ],
    )
    def test_forms_are_found_and_nothing_is_guessed(self, texts, form):
        assert read_form(polars.Series(texts)) == form

    def test_all_forms_of_a_moment_are_the_same_moment(self):
        clock = learn_clock(polars.Series(moments(dt.timedelta(hours=7))), ISO, trend=True)
        moment = dt.datetime(2011, 7, 31, 10, 30)
        expected = clock.read(polars.Series([moment]))
        for form in ("%d/%m/%Y %H:%M", "%m-%d-%Y %H:%M"):
            written = Clock(form, None, clock.parts).read(polars.Series([moment.strftime(form)]))
            assert np.array_equal(written, expected)
        assert np.array_equal(clock.read(polars.Series(["2011-07-31T10:30:00"])), expected)

    def test_other_text_is_refused(self):
        with pytest.raises(BadTable, match=r"`when` must hold dates or times .* got 'soon'"):
            Clock(ISO, None, ("trend",)).read(polars.Series("when", ["soon"]))
        with pytest.raises(BadTable, match="`when` must hold dates or times, got Int64"):
            Clock(ISO, None, ("trend",)).read(polars.Series("when", [3]))

    def test_a_later_table_may_have_no_time_at_all(self):
        for nothing in (polars.Series([None, None]), polars.Series([None], dtype=polars.Date)):
            assert np.isnan(Clock(ISO, None, ("trend", "hour")).read(nothing)).all()

    def test_dates_are_dates_and_moments_are_moments(self):
        assert parse_times(polars.Series(["2011-07-31"]), ISO).dtype == polars.Date
        assert parse_times(polars.Series(["2011-07-31 10:00"]), ISO).dtype == polars.Datetime


class TestParts:
    @pytest.mark.parametrize(
        ("values", "parts"),
        [
            (moments(dt.timedelta(hours=1)), ("trend", "hour", "weekday")),
            (moments(dt.timedelta(hours=1), 24), ("trend", "hour")),
            (moments(dt.timedelta(minutes=1), 60), ("trend",)),
            ([m.date() for m in moments(dt.timedelta(days=1), 28)], ("trend", "weekday")),
            ([m.date() for m in moments(dt.timedelta(days=1))], ("trend", "weekday", "day of the year")),
            (moments(dt.timedelta(days=7)), ("trend", "day of the year")),
            ([m.time() for m in moments(dt.timedelta(hours=1))], ("hour",)),
            ([dt.date(2011, 1, 1)] * 5, ()),
            ([dt.time(8)] * 5, ()),
        ],
    )
    def test_only_what_varies_over_its_whole_cycle_counts(self, values, parts):
        assert learn_clock(polars.Series(values), ISO, trend=True).parts == parts
        without = learn_clock(polars.Series(values), ISO, trend=False).parts
        assert without == tuple(part for part in parts if part != "trend")

    def test_parts_are_those_of_the_calendar(self):
        column = polars.Series([dt.datetime(1970, 1, 1), dt.datetime(2012, 12, 31, 18, 45), None])
        parts = Clock(ISO, None, ("trend", "hour", "weekday", "day of the year")).read(column)
        assert parts[0].tolist() == [0, 0, 3, 0]  # a Thursday
        assert parts[1].tolist() == [15705.78125, 18.75, 0, 365]  # a Monday, the 366th day
        assert np.isnan(parts[2]).all()

    def test_hours_are_those_of_the_wall_clock_where_the_table_was_made(self):
        column = polars.Series(moments(dt.timedelta(hours=1))).dt.replace_time_zone("UTC")
        berlin = column.dt.convert_time_zone("Europe/Berlin")
        clock = learn_clock(berlin, ISO, trend=True)
        assert clock.read(berlin)[:2, 1].tolist() == [1, 2]
        assert np.array_equal(clock.read(column), clock.read(berlin))


class TestInputs:
    def test_a_column_becomes_a_standardised_trend_and_points_on_circles(self, seed):
        problem = pose(table(seed, when=moments(dt.timedelta(hours=1))), "y", Options())
        data = problem.seed_data(0)
        hours = np.arange(ROWS)
        trend = (hours - hours[data.cut.fit].mean()) / hours[data.cut.fit].std()
        days = hours // 24 + 5  # since a Monday
        angles = 2 * np.pi * hours / 24, 2 * np.pi * (days % 7) / 7
        expected = [trend, *(f(angle) for angle in angles for f in (np.sin, np.cos))]
        assert np.allclose(data.x[:, 1:], np.column_stack(expected), atol=1e-5)

    def test_all_parts_are_one_table_column_and_one_block(self, seed):
        problem = pose(table(seed, when=moments(dt.timedelta(hours=1))), "y", Options())
        assert problem.reference.columns == (0, 1, 1, 1, 1, 1)
        assert problem.block_names() == [["x"], ["when"]]

    def test_gaps_are_the_middle_of_everything_and_marked(self, seed):
        when = [None if i % 5 == 0 else moment for i, moment in enumerate(moments(dt.timedelta(hours=1)))]
        problem = pose(table(seed, when=when), "y", Options())
        data = problem.seed_data(0)
        median, mean, scale = data.encoder.trends["when"]
        gap = np.array([moment is None for moment in when])
        assert np.allclose(data.x[gap, 1], (median - mean) / scale, atol=1e-6)
        assert (data.x[gap, 2:6] == 0).all()
        assert np.array_equal(data.x[:, 6] == 1, gap)

    def test_rows_cut_by_time_have_no_trend_and_it_is_said(self, seed):
        frame = table(seed, when=moments(dt.timedelta(hours=1)), other=moments(dt.timedelta(days=1)))
        problem = pose(frame, "y", Options(time_column="when"))
        assert problem.schema.times["when"].parts == ("hour", "weekday")
        assert problem.schema.times["other"].parts == ("weekday", "day of the year")
        assert any("no date is a trend" in note for note in problem.notes)
        cut = problem.cutter.cut(0)
        assert cut.fit.max() < cut.stop.min() < cut.select.min() < problem.cutter.test.min()

    def test_test_rows_do_not_decide_the_parts(self, seed):
        frame = table(seed)
        test = pose(frame, "y", Options()).cutter.test
        when = np.full(ROWS, START.date())
        when[test] += np.arange(len(test)) * dt.timedelta(days=9)
        assert "when" not in pose(frame.with_columns(when=polars.Series(when.tolist())), "y", Options()).schema.times

    def test_text_is_read_alike_before_and_after(self, seed):
        days = moments(dt.timedelta(days=1))
        frame = table(seed, when=[day.strftime("%m/%d/%Y") for day in days])
        problem = pose(frame, "y", Options())
        assert any("`when` is read as %m/%d/%Y" in note for note in problem.notes)
        kept = Encoder.from_dict(json.loads(json.dumps(problem.reference.to_dict())))
        first = kept.transform(kept.schema.raw(frame[:1]))  # which could be the first of any month, or of January
        assert np.array_equal(first, problem.reference.transform(problem.raw[:1]))
        typed = pose(frame.with_columns(when=polars.Series([day.date() for day in days])), "y", Options())
        assert np.array_equal(typed.raw, problem.raw)

    def test_text_that_could_be_two_dates_is_a_category_and_said(self, seed):
        problem = pose(table(seed, when=[f"0{1 + i % 9}/02/2011" for i in range(ROWS)]), "y", Options())
        assert "when" in problem.schema.levels
        assert any("`when` may write the day or the month first" in note for note in problem.notes)

    def test_durations_are_numbers_in_any_unit(self, seed):
        took = polars.Series([dt.timedelta(seconds=i) for i in range(ROWS)])
        problem = pose(table(seed, took=took), "y", Options())
        assert problem.raw[:, 1].tolist() == list(range(ROWS))
        assert problem.schema.raw(table(seed, took=took.cast(polars.Duration("ms"))))[:, 1].tolist() == list(
            range(ROWS)
        )
