"""Texts: which columns carry words, and what becomes of them."""

import json
import uuid

import numpy as np
import polars
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from dropscope.study import Options
from dropscope.study.preprocess import Encoder
from dropscope.study.problem import pose
from dropscope.study.words import DIRECTIONS, has_words, learn_words

ROWS = 300
NOUNS = "house garden river street bridge school market station church museum".split()
PRAISE, BLAME = "lovely bright quiet warm splendid".split(), "dirty noisy broken cold dreadful".split()


def reviews(seed, rows=ROWS):
    """Texts, and how much better than bad they say it was."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 5, rows)
    words = [
        [*generator.choice(NOUNS, 6), *generator.choice(PRAISE, s), *generator.choice(BLAME, 4 - s)] for s in scores
    ]
    return [" ".join([*generator.permutation(one), f"no {i}"]) for i, one in enumerate(words)], scores.astype(float)


def table(seed):
    texts, score = reviews(seed)
    x, noise = np.random.default_rng([seed, 1]).normal(size=(2, ROWS))
    return polars.DataFrame({"x": x, "text": texts, "y": score + 0.1 * noise})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([f"row {i}" for i in range(90)], False),
        ([f"order no {i} of shop" for i in range(90)], False),
        ([f"ORD-2011-{i % 12:02}-{i:05}" for i in range(90)], False),
        ([f"Smith{i}, {('Mr.', 'Mrs.', 'Miss')[i % 3]} A{i}" for i in range(90)], True),
        ([str(uuid.UUID(int=i * 2**100 + i)) for i in range(90)], False),
        (reviews(0)[0], True),
        ([*reviews(0)[0], None], True),
    ],
)
def test_words_recur_and_identifiers_do_not(values, expected):
    assert has_words(polars.Series(values)) is expected


def test_texts_become_what_scikit_learn_makes_of_them(seed):
    texts = reviews(seed)[0]
    counts = HashingVectorizer(n_features=4096, alternate_sign=False, norm=None).transform(texts)
    weighted = TfidfTransformer(sublinear_tf=True, norm=None).fit(counts).transform(counts)
    svd = TruncatedSVD(DIRECTIONS, random_state=0).fit(normalize(weighted))
    expected = normalize(weighted @ svd.components_.T)
    assert np.allclose(learn_words(polars.Series(texts)).read(polars.Series(texts)), expected, atol=1e-4)


def test_one_column_of_text_is_one_group_of_inputs(seed):
    problem = pose(table(seed), "y", Options())
    assert problem.schema.features == ("x", "text")
    assert problem.reference.columns == (0, *[1] * DIRECTIONS)
    assert any("`text` has 300 distinct texts" in note for note in problem.notes)
    data = problem.seed_data(0)
    assert np.allclose(data.x[data.cut.fit].mean(0), 0, atol=1e-5)
    assert np.allclose(data.x[data.cut.fit].std(0), 1, atol=1e-4)


def test_words_say_what_the_target_is(seed):
    data = pose(table(seed), "y", Options()).seed_data(0)
    cut, y = data.cut, data.y[:, 0]
    weights = np.linalg.lstsq(data.x[cut.fit], y[cut.fit], rcond=None)[0]
    assert np.corrcoef(data.x[cut.select] @ weights, y[cut.select])[0, 1] > 0.6


def test_only_words_of_rows_to_learn_from_decide(seed):
    frame = table(seed)
    test = pose(frame, "y", Options()).cutter.test
    texts = np.array(frame["text"].to_list(), dtype=object)
    texts[test] = [f"{i} entirely other words" for i in test]
    one, two = pose(frame, "y", Options()), pose(frame.with_columns(text=polars.Series(texts.tolist())), "y", Options())
    assert one.seen == two.seen
    assert one.fingerprint != two.fingerprint


def test_missing_texts_and_unknown_words_are_zeros(seed):
    words = learn_words(polars.Series(reviews(seed)[0]))
    assert (words.read(polars.Series([None, "", "a !"])) == 0).all()


def test_few_texts_have_few_directions():
    texts = polars.Series(["red house", "green house", "green garden"] * 20)
    assert learn_words(texts).directions.shape == (4096, 3)


def test_a_study_finds_its_words_again_with_other_threads():
    texts = polars.Series(reviews(0, 1500)[0])
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(learn_words(texts).directions.tobytes())  # the digest of a study tells -0 from 0
    assert found[0] == found[1]


def test_texts_survive_json(seed):
    frame = table(seed)
    problem = pose(frame, "y", Options())
    kept = Encoder.from_dict(json.loads(json.dumps(problem.reference.to_dict())))
    again = kept.transform(kept.schema.raw(frame))
    assert np.array_equal(again, problem.reference.transform(problem.raw))
    assert np.array_equal(kept.transform(kept.schema.raw(frame[3:5])), again[3:5])
