"""Encoding against scikit-learn's own transformers, and what must move together."""

import json

import numpy as np
import polars
import pytest
from sklearn.preprocessing import StandardScaler

from dropscope.study import Options
from dropscope.study.preprocess import Encoder, correlated_blocks
from dropscope.study.problem import pose


@pytest.fixture
def problem(seed):
    generator = np.random.default_rng(seed)
    a, b, y = generator.normal(size=(3, 200))
    table = polars.DataFrame(
        {"a": a, "b": [None if i % 7 == 0 else v for i, v in enumerate(b)], "c": list("xyzx") * 50, "y": y}
    )
    return pose(table, "y", Options())


def test_numbers_are_standardised_by_the_fit_rows(problem):
    data = problem.seed_data(0)
    scaler = StandardScaler().fit(problem.raw[data.cut.fit][:, :1])
    expected = scaler.transform(problem.raw[:, :1])
    assert np.allclose(data.x[:, :1], expected, atol=1e-6)
    assert not np.allclose(data.x[:, :1], problem.seed_data(1).x[:, :1])


def test_missing_numbers_become_the_median_and_an_indicator(problem):
    encoder = problem.seed_data(0).encoder
    x = problem.seed_data(0).x
    absent = np.isnan(problem.raw[:, 1])
    assert np.array_equal(x[:, 2] == 1, absent)
    assert np.allclose(x[absent, 1], (encoder.medians[1] - encoder.means[1]) / encoder.scales[1], atol=1e-6)


def test_each_table_column_is_one_group(problem):
    assert problem.reference.columns == (0, 1, 1, 2, 2, 2)
    assert problem.encoded_blocks() == [[0], [1, 2], [3, 4, 5]]


def test_one_hot_columns_are_left_as_they_are_and_unknown_levels_are_zeros(problem):
    encoder = problem.reference
    rows = encoder.transform(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]))
    assert rows[0, 3:].tolist() == [0, 1, 0]
    assert rows[1, 3:].tolist() == [0, 0, 0]


def test_a_column_constant_when_fitted_is_encoded_as_zero(problem):
    raw = problem.raw.copy()
    raw[:, 0] = 7.0
    encoder = Encoder.fit(problem.schema, raw, problem.missing)
    raw[3, 0] = 1e30
    assert (encoder.transform(raw)[:, 0] == 0).all()


def test_rare_levels_do_not_glue_columns_together(seed):
    generator = np.random.default_rng(seed)
    x = np.column_stack([generator.normal(size=(300, 2)), np.arange(300) == 5, np.arange(300) == 5])
    assert correlated_blocks(x, (0, 1, 2, 3)) == [[0], [1], [2], [3]]


def test_an_encoder_survives_json(problem):
    kept = json.loads(json.dumps(problem.reference.to_dict()))
    again = Encoder.from_dict(kept)
    assert np.array_equal(again.transform(problem.raw), problem.reference.transform(problem.raw))


def test_correlated_columns_join_one_block(seed):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(500, 4))
    x[:, 2] = -x[:, 0] + 0.1 * x[:, 2]
    assert correlated_blocks(x, (0, 1, 2, 3)) == [[0, 2], [1], [3]]


def test_the_fingerprint_sees_every_value(problem):
    raw = problem.raw.copy()
    raw[5, 0] += 1e-9
    changed = type(problem)(problem.schema, raw, problem.y, problem.cutter, problem.metric)
    assert changed.fingerprint != problem.fingerprint
