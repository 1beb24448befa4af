"""Arrays, pandas and polars: the same numbers from the same table; text, categories and missing values."""

from itertools import product as product_of

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from small_models import classifier, product, regressor, words

from dropscope.estimators.network import ColumnDropout, outputs, passes

NAMES = ["a", "b", "c"]


def mixed(seed, rows=120):
    """A target that a text and a boolean column decide, with gaps."""
    random = np.random.default_rng(seed)
    x, _ = product(seed, rows)
    colour = random.choice(["red", "green", "blue"], rows)
    flag = random.random(rows) > 0.5
    y = x[:, 0] + 3 * (colour == "red") - 2 * flag
    number = np.where(random.random(rows) < 0.1, np.nan, x[:, 0])
    columns = {
        "number": number,
        "colour": [None if i % 17 == 0 else str(c) for i, c in enumerate(colour)],
        "flag": flag,
    }
    return columns, y


@pytest.mark.parametrize("gaps", [False, True])
def test_arrays_and_frames_give_the_same_numbers(gaps, seed):
    x, y = product(seed)
    if gaps:
        x[np.random.default_rng(seed).random(x.shape) < 0.1] = np.nan
    frames = [x, pd.DataFrame(x, columns=NAMES), pl.DataFrame(x, schema=NAMES), pl.from_numpy(x, NAMES).fill_nan(None)]
    models = [regressor(p=(0.1, 0.1)).fit(frame, y) for frame in frames]
    intervals = [model.predict_interval(frame, 0.2) for model, frame in zip(models, frames, strict=True)]
    assert all((interval == intervals[0]).all() for interval in intervals)
    assert np.isfinite(intervals[0]).all()


def test_text_and_booleans_give_the_same_numbers_in_pandas_and_polars(seed):
    columns, y = mixed(seed)
    frames = [pd.DataFrame(columns), pl.DataFrame(columns, nan_to_null=True)]
    frames.append(frames[0].astype({"colour": "category"}))
    frames.append(frames[1].with_columns(pl.col("colour").cast(pl.Categorical)))
    models = [regressor(p=(0.1, 0.1), max_iter=30).fit(frame, y) for frame in frames]
    means = [model.predict(frame) for model, frame in zip(models, frames, strict=True)]
    assert all((mean == means[0]).all() for mean in means)
    assert models[0].feature_names_in_.tolist() == ["number", "colour", "flag"]
    assert models[0].score(frames[0], y) > 0.5


def test_numbers_that_pandas_calls_a_category_are_one(seed):
    x, _ = product(seed)
    code = np.random.default_rng(seed).integers(3, size=120)
    frame = pd.DataFrame({"x": x[:, 0], "code": pd.Categorical(code)})
    model = regressor(max_iter=20).fit(frame, (code == 1) * 1.0)
    assert set(model.encoder_.schema.levels["code"]) == {"0", "1", "2"}
    assert model.score(frame, (code == 1) * 1.0) > 0.5


def test_the_columns_of_a_category_are_dropped_together(seed, generator):
    columns, y = mixed(seed)
    model = regressor(p=(0.5, 0.0)).fit(pl.DataFrame(columns), y)
    dropout = model.network_[0]
    assert isinstance(dropout, ColumnDropout)
    x = model._new_inputs(pl.DataFrame(columns)).double().abs() + 1
    kept = dropout.train()(x) / x
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    columns = np.array(model.encoder_.columns)
    assert len(columns) > 3
    for column in range(3):
        own = kept[:, columns == column]
        assert (own == own[:, :1]).all()
    assert (kept[:, columns == 0][:, 0] != kept[:, columns == 1][:, 0]).any()


def test_the_passes_average_over_the_masks_of_whole_columns(seed):
    columns, y = mixed(seed)
    model = regressor(p=(0.3, 0.0)).fit(pl.DataFrame(columns), y)
    x = model._new_inputs(pl.DataFrame(columns)[:5]).double()
    every, keep = np.array(list(product_of([0.0, 1 / 0.7], repeat=3))), np.array(model.encoder_.columns)
    chance = np.where(every > 0, 0.7, 0.3).prod(1)
    results = np.stack([outputs(model.network_, x * torch.from_numpy(mask[keep])).numpy()[:, 0] for mask in every])
    mean = chance @ results
    sampled = passes(model.network_, x, 3000, seed)
    for name, exact in (("mean", mean), ("variance", chance @ np.square(results - mean))):
        difference = getattr(sampled, name)[:, 0].numpy() - exact
        assert (np.abs(difference) < 6 * sampled.standard_error(name)[:, 0].numpy()).all()


def test_a_level_never_seen_is_unknown(seed):
    columns, y = mixed(seed)
    model = regressor().fit(pl.DataFrame(columns), y)
    new = pl.DataFrame({"number": [0.0], "colour": ["ultraviolet"], "flag": [True]})
    encoded = model._new_inputs(new)[0]
    assert (encoded[np.array(model.encoder_.columns) == 1] == 0).all()
    assert np.isfinite(model.predict(new)).all()


def test_a_column_of_gaps_or_of_one_value_says_nothing(seed):
    x, y = product(seed)
    x = np.column_stack([x, np.full(120, np.nan), np.full(120, 7.0)])
    model = regressor().fit(x, y)
    other = x.copy()
    other[:, 4] = 8.0
    assert (model.predict(x) == model.predict(other)).all()
    assert np.isfinite(model.predict(x)).all()


def test_the_classifier_takes_frames_too(seed):
    columns, y = mixed(seed)
    frame = pl.DataFrame(columns)
    model = classifier(max_iter=25).fit(frame, pl.Series(words(y)))
    assert model.score(frame, words(y)) > 0.5
    assert (model.predict_proba(frame.to_pandas()) == model.predict_proba(frame)).all()


class TestBadTables:
    def test_names_must_be_those_that_were_fitted(self, seed):
        columns, y = mixed(seed)
        model = regressor().fit(pl.DataFrame(columns), y)
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(pl.DataFrame(columns).rename({"colour": "color"}))

    def test_an_array_cannot_stand_for_text(self, seed):
        columns, y = mixed(seed)
        model = regressor().fit(pl.DataFrame(columns), y)
        with pytest.raises(ValueError, match="`X` must be a DataFrame with the columns that were fitted"):
            model.predict(np.zeros((2, 3)))

    def test_arrays_hold_numbers(self):
        with pytest.raises(ValueError, match="could not convert string to float"):
            regressor().fit(np.array([["a"], ["b"]] * 5, dtype=object), np.arange(10.0))

    def test_dates_are_no_numbers(self, seed):
        x, y = product(seed)
        frame = pd.DataFrame({"x": x[:, 0], "day": pd.date_range("2020-01-01", periods=120)})
        with pytest.raises(ValueError, match="`day` must hold numbers or text, got dates"):
            regressor().fit(frame, y)

    def test_lists_are_no_numbers(self):
        with pytest.raises(ValueError, match="`pair` must hold numbers or text, got List"):
            regressor().fit(pl.DataFrame({"pair": [[1, 2]] * 20}), np.arange(20.0))

    def test_columns_have_names_of_their_own(self, seed):
        x, y = product(seed)
        with pytest.raises(ValueError, match="more than one column named `a`: names must differ"):
            regressor().fit(pd.DataFrame(x, columns=["a", "b", "a"]), y)

    def test_a_column_holds_numbers_or_text(self):
        with pytest.raises(ValueError, match="column `a` must hold either numbers or text, got both"):
            regressor().fit(pd.DataFrame({"a": [1, "x", None] * 10}), np.arange(30.0))

    @pytest.mark.parametrize("bad", [np.inf, -np.inf])
    def test_infinity_is_no_number(self, bad, seed):
        columns, y = mixed(seed)
        columns["number"][3] = bad
        with pytest.raises(ValueError, match="`number` must be finite, got infinity"):
            regressor().fit(pd.DataFrame(columns), y)
        with pytest.raises(ValueError, match="contains infinity"):
            regressor().fit(columns["number"][:, None], y)

    def test_a_number_column_cannot_become_text(self, seed):
        columns, y = mixed(seed)
        model = regressor().fit(pl.DataFrame(columns), y)
        with pytest.raises(ValueError, match="a numeric column holds text"):
            model.predict(pl.DataFrame(columns | {"number": ["much"] * 120}))

    def test_capped_levels_are_said(self):
        frame = pl.DataFrame({"name": [f"n{i}" for i in range(700)], "flag": [True, False] * 350})
        with pytest.warns(UserWarning, match="capped at 512"):
            regressor(max_iter=1).fit(frame, np.arange(700.0))
