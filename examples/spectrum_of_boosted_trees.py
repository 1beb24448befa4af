"""Which orders of interaction does gradient boosting learn from the demand for shared bicycles, by depth of its trees?

The models predict log(1 + count), so that effects that multiply the count add up. A tree of depth k holds
interactions of k columns at most, so that stumps are additive; what deeper trees make of their freedom is measured.
Columns that move together (the season and the month, the two temperatures) are joined in blocks.

    python examples/spectrum_of_boosted_trees.py
"""

import numpy as np
import torch
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from dropscope.data import bundled
from dropscope.spectrum import interaction_spectrum, rank_terms

BLOCKS = [
    ["hr"],
    ["season", "mnth", "day", "temp", "atemp"],
    ["weekday", "workingday", "holiday"],
    ["weathersit", "hum"],
    ["windspeed"],
]


def main() -> None:
    kept = bundled("bikeshare")
    inputs = kept.table.drop(kept.target, *kept.options["drop"])
    target = np.log1p(kept.table[kept.target].to_numpy())

    names = [name for name, kind in inputs.schema.items() if not kind.is_numeric()]
    encode = make_column_transformer((OrdinalEncoder(), names), remainder="passthrough")

    for depth in (1, 2, 3, None):
        model = make_pipeline(encode, HistGradientBoostingRegressor(max_depth=depth, random_state=0))
        model.fit(inputs, target)

        generator = torch.Generator().manual_seed(0)
        spectrum = interaction_spectrum(model, inputs, blocks=BLOCKS, budget=100_000, generator=generator)
        print(f"\ntrees of depth {depth or 'any'}\n{spectrum}")

    terms = rank_terms(model, inputs, blocks=BLOCKS, budget=100_000, generator=generator)
    print(f"\n{terms}")
    strongest, share = terms.label(terms.pairs.members[0]), terms.pairs.share[0]
    print(
        f"\nThe deepest trees are {spectrum.share[0]:.0%} additive in log(1 + count): blocks mostly speak one by one."
    )
    print(f"The strongest pair, {strongest}, holds {share:.0%}: a working day has other hours than a Sunday.")


if __name__ == "__main__":
    main()
