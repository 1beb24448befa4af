"""Texts as numbers: words are hashed, weighted by how rare they are, and summed up in a few directions."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from dropscope.errors import need

__all__ = ["DIRECTIONS", "Words", "has_words", "learn_words"]

BUCKETS, DIRECTIONS = 4096, 32
LEARNED = 100_000  # rows
DIGITS = 6  # kept, which makes the file of a model half as long
BLOCK = 10_000  # rows
LOOKED_AT = 10_000  # rows
RECURRING, SHARE = 3, 0.02
WORD = re.compile(r"\b[^\W\d_]{2,}\b")


@dataclass(frozen=True, eq=False)
class Words:
    """How texts become numbers: latent semantic analysis of hashed words.

    With counts n of a text's words in 4,096 buckets, `v = (1 + log n) * weights` (0 where n is 0), and the numbers are
    `v @ directions`, scaled to length 1; they are 0 for a text without a known word, or none.

    Reference:
        Deerwester et al., 1990, doi:10.1002/(SICI)1097-4571(199009)41:6<391::AID-ASI1>3.0.CO;2-9.
    """

    weights: np.ndarray
    directions: np.ndarray

    def read(self, column: Any) -> np.ndarray:
        """Turn texts into numbers.

        Args:
            column: a polars column.

        Returns:
            Shape (rows, directions), float64.
        """
        scaled = need("sklearn.preprocessing", "study").normalize
        blocks = [np.zeros((0, self.directions.shape[1]))]
        for start in range(0, len(column), BLOCK):
            counts = _counted(column[start : start + BLOCK])
            counts.data = (1 + np.log(counts.data)) * self.weights[counts.indices]
            blocks.append(scaled(counts @ self.directions))
        return np.concatenate(blocks)


def has_words(column: Any) -> bool:
    """Whether at least three words each stand in 2 to 98 % of the texts: language repeats itself, identifiers do not.

    Args:
        column: a polars column of text.

    Returns:
        Whether the texts carry words.

    Example:
        >>> import polars
        >>> has_words(polars.Series([f"invoice {i}" for i in range(90)]))
        False
        >>> has_words(polars.Series([f"{'a red' if i % 2 else 'the green'} car, number {i}" for i in range(90)]))
        True
    """
    texts = column.drop_nulls()
    texts = texts.gather_every(max(1, len(texts) // LOOKED_AT))
    rows_with = Counter(word for text in texts for word in set(WORD.findall(str(text).lower())))
    least, most = max(2.0, SHARE * len(texts)), (1 - SHARE) * len(texts)
    return sum(least <= count <= most for count in rows_with.values()) >= RECURRING


def learn_words(column: Any) -> Words:
    """Learn the weight of each bucket and the directions in which texts differ most; no target enters.

    Args:
        column: a polars column of text: the rows to learn from, of which at most 100,000 are used.

    Returns:
        The words.
    """
    text, decomposition = need("sklearn.feature_extraction.text", "study"), need("sklearn.decomposition", "study")
    counts = _counted(column.gather_every(-(-len(column) // LEARNED)))
    weighting = text.TfidfTransformer(sublinear_tf=True).fit(counts)
    # Sums depend on the number of threads, and by them directions along which texts differ alike: a study would not
    # find its store again.
    with need("threadpoolctl", "study").threadpool_limits(1):
        found = decomposition.TruncatedSVD(DIRECTIONS, random_state=0).fit(weighting.transform(counts))
    # Directions along which nothing differs are noise of the arithmetic.
    kept = found.singular_values_ > 1e-6 * found.singular_values_.max()
    return Words(np.round(weighting.idf_, DIGITS), np.round(found.components_[kept].T, DIGITS))


def _counted(column: Any) -> Any:
    text = need("sklearn.feature_extraction.text", "study")
    hashing = text.HashingVectorizer(n_features=BUCKETS, alternate_sign=False, norm=None)
    return hashing.transform(["" if one is None else str(one) for one in column.to_list()])
