"""Blocks of columns that belong together: those made from one input column, patches of images, lags of time series."""

from typing import Any

import numpy as np

from dropscope.spectrum.arguments import check_choice
from dropscope.spectrum.sources import sources_of

__all__ = ["column_blocks", "lag_blocks", "patch_blocks"]


def column_blocks(preprocessor: Any) -> list[list[int]]:
    """Blocks of the columns that a fitted scikit-learn preprocessor makes, joined where they share an input column.

    The one-hot columns of a category are one block, a number and its missing indicator are one, and the components of a
    PCA are one, as each needs all inputs.

    Args:
        preprocessor: a fitted transformer: a ColumnTransformer, Pipeline (a final predictor is left out), FeatureUnion,
            OneHotEncoder, or any that says which columns its outputs come from.

    Returns:
        Blocks of output columns, for `interaction_spectrum(..., blocks=)`: a partition, in the order of first columns.

    Raises:
        ValueError: a transformer does not say which columns its outputs come from.

    Example:
        >>> from sklearn.preprocessing import OneHotEncoder
        >>> column_blocks(OneHotEncoder().fit([["red", 1], ["green", 2], ["blue", 1]]))
        [[0, 1, 2], [3, 4]]
    """
    joined: list[tuple[set[int], list[int]]] = []

    for column, sources in enumerate(sources_of(preprocessor)):
        known, columns = sources, [column]
        sharing = [block for block in joined if block[0] & sources]

        for block in sharing:
            joined.remove(block)
            known, columns = known | block[0], block[1] + columns
        joined.append((known, sorted(columns)))

    return sorted(columns for _, columns in joined)


def patch_blocks(
    height: int, width: int, patch_size: int | tuple[int, int], *, channels: int = 1, channels_last: bool = False
) -> list[list[int]]:
    """Blocks of the columns of flattened images: each patch is one, with all its channels.

    Args:
        height: rows of pixels.
        width: columns of pixels.
        patch_size: side of the patches, or their height and width; those at the lower and right edge are smaller where
            it does not divide the image.
        channels: number of channels.
        channels_last: whether images were flattened as (height, width, channels), as arrays of other libraries are;
            otherwise as (channels, height, width), torch's layout, in which column `(c * height + i) * width + j` is
            channel c of pixel (i, j).

    Returns:
        Blocks of columns, patch by patch along the rows of the image.

    Raises:
        ValueError: a size is not positive.

    Example:
        >>> patch_blocks(2, 4, 2)
        [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    tall, wide = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    _check_positive(height=height, width=width, patch_size=min(tall, wide), channels=channels)

    shape = (height, width, channels) if channels_last else (channels, height, width)
    columns = np.arange(height * width * channels).reshape(shape)
    pixels = columns if channels_last else columns.transpose(1, 2, 0)

    return [
        sorted(pixels[i : i + tall, j : j + wide].ravel().tolist())
        for i in range(0, height, tall)
        for j in range(0, width, wide)
    ]


def lag_blocks(features: int, lags: int, *, per: str = "feature", time_first: bool = True) -> list[list[int]]:
    """Blocks of the columns of flattened windows of a time series.

    Args:
        features: number of series.
        lags: number of time steps of a window.
        per: what is drawn by itself: "feature", a series with its whole past; or "lag", a time step with all series.
        time_first: whether windows were flattened as (lags, features), column `lag * features + feature`; otherwise as
            (features, lags), column `feature * lags + lag`.

    Returns:
        Blocks of columns.

    Raises:
        ValueError: a number is not positive, or `per` is another name.

    Example:
        >>> lag_blocks(2, 3)
        [[0, 2, 4], [1, 3, 5]]
        >>> lag_blocks(2, 3, per="lag")
        [[0, 1], [2, 3], [4, 5]]
    """
    check_choice("per", per, ("feature", "lag"))
    _check_positive(features=features, lags=lags)

    columns = np.arange(features * lags)
    by_feature = columns.reshape(lags, features).T if time_first else columns.reshape(features, lags)
    return (by_feature if per == "feature" else by_feature.T).tolist()


def _check_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` must be at least 1, got {size}.")
