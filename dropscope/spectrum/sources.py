"""Which input columns each output column of a fitted scikit-learn transformer is made from."""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from dropscope.errors import need

__all__ = ["sources_of"]

Sources = list[set[int]]


def sources_of(transformer: Any) -> Sources:
    """Input columns that each output column depends on.

    Args:
        transformer: a fitted scikit-learn transformer, or a pipeline that may end with a predictor.

    Returns:
        One set of input columns per output column.

    Raises:
        ValueError: a transformer does not say which columns its outputs come from.
    """
    need("sklearn", "study")
    if not hasattr(transformer, "n_features_in_"):
        raise ValueError(f"`preprocessor` must be a fitted scikit-learn transformer, got {type(transformer).__name__}.")

    return _through(transformer, [{column} for column in range(transformer.n_features_in_)])


def _through(transformer: Any, inputs: Sources) -> Sources:
    """Sources of a transformer's outputs, given those of its inputs."""
    if transformer == "drop":
        return []
    if transformer is None or transformer == "passthrough":
        return inputs

    for name, rule in RULES.items():
        if any(kind.__name__ == name for kind in type(transformer).__mro__):
            return rule(transformer, inputs)
    return _by_names(transformer, inputs)


def _pipeline(pipeline: Any, inputs: Sources) -> Sources:
    *steps, (_, last) = pipeline.steps
    for _, step in steps:
        inputs = _through(step, inputs)

    predicts = hasattr(last, "predict") and not hasattr(last, "transform")
    return inputs if predicts else _through(last, inputs)


def _union(union: Any, inputs: Sources) -> Sources:
    return [source for _, part in union.transformer_list for source in _through(part, inputs)]


def _columns(transformer: Any, inputs: Sources) -> Sources:
    """Parts of a ColumnTransformer, each at the place of its output."""
    outputs: Sources = [set() for _ in range(max(part.stop for part in transformer.output_indices_.values()))]

    for name, part, columns in transformer.transformers_:
        place = transformer.output_indices_[name]
        if place.stop > place.start:
            outputs[place] = _through(part, [inputs[j] for j in _indices(columns, transformer)])
    return outputs


def _indices(columns: Any, transformer: Any) -> list[int]:
    """Column indices for any way in which a ColumnTransformer may be told its columns."""
    everything = np.arange(transformer.n_features_in_)
    names = list(getattr(transformer, "feature_names_in_", []))

    if isinstance(columns, slice):
        # A slice of names holds its end.
        ends = [names.index(end) if isinstance(end, str) else end for end in (columns.start, columns.stop)]
        after = 1 if isinstance(columns.stop, str) else 0
        return everything[ends[0] : ends[1] if ends[1] is None else ends[1] + after : columns.step].tolist()

    several = [columns] if isinstance(columns, str | int) else list(columns)
    if several and all(isinstance(column, bool | np.bool_) for column in several):
        return everything[np.array(several)].tolist()
    return [names.index(column) if isinstance(column, str) else int(everything[column]) for column in several]


def _one_hot(encoder: Any, inputs: Sources) -> Sources:
    """One column per category, less those dropped; infrequent ones share a column."""
    infrequent = getattr(encoder, "infrequent_categories_", None) or repeat(None)
    dropped = encoder.drop_idx_ if encoder.drop_idx_ is not None else repeat(None)

    outputs: Sources = []
    for source, categories, rare, drop in zip(inputs, encoder.categories_, infrequent, dropped, strict=False):
        count = len(categories) - (len(rare) - 1 if rare is not None else 0) - (drop is not None)
        outputs += [source] * count
    return outputs


def _imputer(imputer: Any, inputs: Sources) -> Sources:
    """The columns that were not empty, then the indicators of those with missing values."""
    indicators = imputer.indicator_.features_ if imputer.indicator_ is not None else []
    names = list(imputer.get_feature_names_out())
    kept = names[: len(names) - len(indicators)]
    return [*_kept(kept, imputer, inputs), *(inputs[j] for j in indicators)]


def _indicator(indicator: Any, inputs: Sources) -> Sources:
    return [inputs[j] for j in indicator.features_]


def _bins(discretizer: Any, inputs: Sources) -> Sources:
    if discretizer.encode == "ordinal":
        return inputs
    return [source for source, bins in zip(inputs, discretizer.n_bins_, strict=True) for _ in range(bins)]


def _powers(features: Any, inputs: Sources) -> Sources:
    return [set().union(*(inputs[j] for j in np.flatnonzero(powers))) for powers in features.powers_]


def _equal_parts(transformer: Any, inputs: Sources) -> Sources:
    """As many outputs for each input, input by input."""
    each = len(transformer.get_feature_names_out()) // len(inputs)
    return [source for source in inputs for _ in range(each)]


def _selected(selector: Any, inputs: Sources) -> Sources:
    return [inputs[j] for j in selector.get_support(indices=True)]


def _unchanged(_: Any, inputs: Sources) -> Sources:
    return inputs


def _by_names(transformer: Any, inputs: Sources) -> Sources:
    """Outputs that bear the names of inputs come from them; any other may come from all inputs."""
    try:
        names = list(transformer.get_feature_names_out())
    except (AttributeError, ValueError):
        raise ValueError(
            f"`preprocessor` must say which columns its outputs come from, but {type(transformer).__name__} does not: "
            'a FunctionTransformer that keeps its columns needs `feature_names_out="one-to-one"`.'
        ) from None

    if set(names) <= set(_input_names(transformer)):
        return _kept(names, transformer, inputs)
    return [set().union(*inputs) for _ in names]


def _kept(names: Sequence[str], transformer: Any, inputs: Sources) -> Sources:
    source = dict(zip(_input_names(transformer), inputs, strict=True))
    return [source[name] for name in names]


def _input_names(transformer: Any) -> list[str]:
    """The names under which a transformer knows its inputs: scikit-learn calls them x0, x1, ... where they had none."""
    unnamed = [f"x{column}" for column in range(transformer.n_features_in_)]
    return list(getattr(transformer, "feature_names_in_", unnamed))


RULES: dict[str, Callable[[Any, Sources], Sources]] = {
    "Pipeline": _pipeline,
    "FeatureUnion": _union,
    "ColumnTransformer": _columns,
    "OneHotEncoder": _one_hot,
    "SimpleImputer": _imputer,
    "KNNImputer": _imputer,
    "IterativeImputer": _imputer,
    "MissingIndicator": _indicator,
    "KBinsDiscretizer": _bins,
    "PolynomialFeatures": _powers,
    "SplineTransformer": _equal_parts,
    "TargetEncoder": _equal_parts,
    "SelectorMixin": _selected,
    "OneToOneFeatureMixin": _unchanged,
}
