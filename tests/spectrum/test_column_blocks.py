"""Blocks of columns: found from fitted preprocessing, checked by changing one input and seeing which outputs move."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from dropscope.spectrum import column_blocks, lag_blocks, patch_blocks

ROWS = 60
TARGET = np.arange(ROWS) % 3


@pytest.fixture
def frame(seed):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(size=ROWS),
            "city": rng.permutation(["rome"] * 30 + ["oslo"] * 25 + ["bonn"] * 3 + ["lima"] * 2),
            "age_city": rng.normal(size=ROWS),
            "sex": rng.permutation(["f"] * 31 + ["m"] * 29),
            "pay": rng.exponential(size=ROWS),
        }
    )
    frame.loc[rng.permutation(ROWS)[:5], "pay"] = np.nan
    return frame


def moved_together(transformer, table):
    """Blocks by experiment: shift one input column at a time, see which outputs move, and join what shares one."""
    before = np.asarray(transformer.transform(table), dtype=float)
    linked = np.eye(before.shape[1], dtype=bool)

    for column in range(table.shape[1]):
        changed = table.copy()
        changed.iloc[:, column] = np.roll(table.iloc[:, column].to_numpy(), 1)
        after = np.asarray(transformer.transform(changed), dtype=float)
        moved = ~np.isclose(before, after, equal_nan=True).all(axis=0)
        linked |= np.outer(moved, moved)

    reach = np.linalg.matrix_power(linked.astype(int), len(linked)) > 0
    return sorted({tuple(np.flatnonzero(row).tolist()) for row in reach})


def one_hot(**options):
    return OneHotEncoder(sparse_output=False, **options)


NUMBERS, WORDS = ["age", "age_city", "pay"], ["city", "sex"]
BINS = KBinsDiscretizer(3, encode="onehot-dense", quantile_method="averaged_inverted_cdf")
TRANSFORMERS = {
    "one-hot": ColumnTransformer([("words", one_hot(), WORDS), ("numbers", StandardScaler(), NUMBERS)]),
    "drop first": ColumnTransformer([("words", one_hot(drop="first"), WORDS)], remainder="passthrough"),
    "drop if binary": ColumnTransformer([("words", one_hot(drop="if_binary"), WORDS)], remainder="drop"),
    "drop named": ColumnTransformer([("words", one_hot(drop=["oslo", "m"]), WORDS)], remainder="passthrough"),
    "infrequent": ColumnTransformer([("words", one_hot(min_frequency=5), WORDS)], remainder=StandardScaler()),
    "at most": ColumnTransformer([("words", one_hot(max_categories=2, drop="first"), WORDS)], remainder="passthrough"),
    "indices": ColumnTransformer([("n", StandardScaler(), [0, -1]), ("w", one_hot(), [3, 1])], remainder="drop"),
    "one name": ColumnTransformer([("n", StandardScaler(), ["age"]), ("w", one_hot(), slice("sex", "sex"))]),
    "slices": ColumnTransformer([("n", StandardScaler(), slice(2, 3)), ("w", one_hot(), slice("city", "city"))]),
    "mask": ColumnTransformer([("w", one_hot(), [False, True, False, True, False])], remainder="passthrough"),
    "selector": ColumnTransformer(
        [("w", one_hot(), make_column_selector(dtype_exclude=float)), ("x", "drop", ["age"])], remainder="passthrough"
    ),
    "indicators": ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), NUMBERS),
            ("words", make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot()), WORDS),
        ]
    ),
    "missing": ColumnTransformer(
        [("there", MissingIndicator(), NUMBERS), ("filled", KNNImputer(n_neighbors=ROWS), NUMBERS)]
    ),
    "twice": ColumnTransformer([("plain", "passthrough", ["age"]), ("bins", BINS, ["age_city", "age"])]),
    "ordinal": ColumnTransformer([("words", OrdinalEncoder(), WORDS)], remainder=MinMaxScaler()),
    "unions": ColumnTransformer([("n", make_union(StandardScaler(), SplineTransformer(3)), ["age", "age_city"])]),
    "powers": ColumnTransformer(
        [("n", PolynomialFeatures(2, interaction_only=True), ["age", "age_city"])], remainder="drop"
    ),
    "components": ColumnTransformer([("n", PCA(2), ["age", "age_city"]), ("w", one_hot(), WORDS)]),
    "targets": ColumnTransformer([("w", TargetEncoder(target_type="multiclass"), WORDS)], remainder="drop"),
    "nested": Pipeline(
        [
            ("encode", ColumnTransformer([("w", one_hot(), WORDS)], remainder="passthrough")),
            ("fill", SimpleImputer()),
            ("keep", SelectKBest(k=6)),
            ("vary", VarianceThreshold()),
        ]
    ),
}


@pytest.mark.filterwarnings("ignore:.*(Found unknown categories|Bins whose width|force_int_remainder_cols)")
class TestColumnBlocks:
    @pytest.mark.parametrize("name", TRANSFORMERS)
    def test_blocks_are_those_that_move_together(self, name, frame):
        transformer = TRANSFORMERS[name].fit(frame, TARGET)
        assert [tuple(block) for block in column_blocks(transformer)] == moved_together(transformer, frame)

    def test_one_hot_groups_are_what_their_names_say(self, frame):
        transformer = TRANSFORMERS["one-hot"].fit(frame)
        names = transformer.get_feature_names_out()
        named = [sorted(names[block]) for block in column_blocks(transformer)]
        assert named == [
            [f"words__city_{city}" for city in ("bonn", "lima", "oslo", "rome")],
            ["words__sex_f", "words__sex_m"],
            ["numbers__age"], ["numbers__age_city"], ["numbers__pay"],
        ]  # fmt: skip

    def test_an_encoder_of_an_array_alone(self):
        table = np.array([[1, 5], [2, 6], [3, 5]])
        assert column_blocks(OneHotEncoder().fit(table)) == [[0, 1, 2], [3, 4]]
        assert column_blocks(StandardScaler().fit(table)) == [[0], [1]]

    def test_empty_columns_that_an_imputer_leaves_out(self):
        table = np.array([[np.nan, 1, np.nan], [np.nan, 2, 5.0]])
        imputer = SimpleImputer(add_indicator=True)
        with pytest.warns(UserWarning, match="Skipping features without any observed values"):
            imputer.fit(table).transform(table)
        # Outputs: column 1, column 2, the indicators of columns 0 and 2.
        assert column_blocks(imputer) == [[0], [1, 3], [2]]

    def test_the_classifier_at_the_end_is_left_out(self, frame):
        pipeline = make_pipeline(TRANSFORMERS["indicators"], LogisticRegression()).fit(frame, TARGET)
        assert column_blocks(pipeline) == column_blocks(pipeline[:-1])

    def test_a_function_that_keeps_its_columns_must_say_so(self, frame):
        numbers = frame[["age", "pay"]]
        told = FunctionTransformer(np.exp, feature_names_out="one-to-one").fit(numbers)
        assert column_blocks(told) == [[0], [1]]
        with pytest.raises(ValueError, match="FunctionTransformer does not: a FunctionTransformer that keeps"):
            column_blocks(FunctionTransformer(np.exp).fit(numbers))

    @pytest.mark.parametrize("thing", [OneHotEncoder(), PCA(), "encoder", None])
    def test_what_is_not_fitted_is_refused(self, thing):
        with pytest.raises(ValueError, match="`preprocessor` must be a fitted scikit-learn transformer"):
            column_blocks(thing)


class TestPatchBlocks:
    @pytest.mark.parametrize("channels_last", [False, True])
    def test_patches_are_squares_of_the_unflattened_image(self, channels_last):
        image = torch.zeros((6, 9, 3) if channels_last else (3, 6, 9))
        blocks = patch_blocks(6, 9, (2, 3), channels=3, channels_last=channels_last)
        assert len(blocks) == 9
        flat = image.flatten()
        flat[blocks[4]] = 1
        expected = torch.zeros(6, 9)
        expected[2:4, 3:6] = 1
        for channel in image.unbind(2 if channels_last else 0):
            assert torch.equal(channel, expected)

    def test_edge_patches_are_smaller_and_every_pixel_is_in_one(self):
        blocks = patch_blocks(5, 4, 3, channels=2)
        assert [len(block) for block in blocks] == [18, 6, 12, 4]
        assert sorted(column for block in blocks for column in block) == list(range(40))

    @pytest.mark.parametrize(
        ("sizes", "message"),
        [
            ((0, 4, 2), "`height` must be at least 1, got 0."),
            ((4, 4, 0), "`patch_size` must be at least 1, got 0."),
            ((4, 4, (2, -1)), "`patch_size` must be at least 1, got -1."),
        ],
    )
    def test_sizes_must_be_positive(self, sizes, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            patch_blocks(*sizes)


class TestLagBlocks:
    @pytest.mark.parametrize("time_first", [False, True])
    @pytest.mark.parametrize("per", ["feature", "lag"])
    def test_blocks_are_slices_of_the_unflattened_window(self, per, time_first):
        window = torch.zeros((4, 3) if time_first else (3, 4))
        blocks = lag_blocks(3, 4, per=per, time_first=time_first)
        assert len(blocks) == (3 if per == "feature" else 4)
        window.flatten()[blocks[1]] = 1

        by_feature = window.T if time_first else window
        expected = torch.zeros(3, 4)
        expected[(1,) if per == "feature" else (slice(None), 1)] = 1
        assert torch.equal(by_feature, expected)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"lags": 0}, "`lags` must be at least 1, got 0."),
            ({"per": "time"}, "`per` must be 'feature' or 'lag', got 'time'."),
        ],
    )
    def test_the_refusal_says_what_must_hold(self, arguments, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            lag_blocks(**{"features": 2, "lags": 3} | arguments)
