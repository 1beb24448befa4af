"""What the reference models see: gradient boosting has the categories as categories, or as networks see them."""

import numpy as np
import polars

from dropscope.study import Options
from dropscope.study.problem import pose
from dropscope.study.references import MOST_LEVELS, boosting_inputs, references


def table(seed=0, rows=6000):
    generator = np.random.default_rng(seed)
    codes = {"few": 5, "some": 300, "many": 1500}
    levels = {name: generator.integers(0, count, rows) for name, count in codes.items()}
    effects = {name: generator.normal(size=count) for name, count in codes.items()}
    y = sum(effects[name][levels[name]] for name in codes) + 0.3 * generator.normal(size=rows)
    words = {name: [f"{name}{k}" for k in levels[name]] for name in codes}
    when = polars.date_range(polars.date(2011, 1, 1), polars.date(2027, 6, 5), eager=True)[:rows]
    return polars.DataFrame({"x": generator.normal(size=rows), **words, "when": when, "y": y})


def test_every_category_reaches_gradient_boosting():
    problem = pose(table(), "y", Options())
    data = problem.seed_data(0)
    x, coded = boosting_inputs(problem, data)
    assert problem.schema.by_target == ("many",)
    assert coded == [1, 2]
    assert x[:, 1].max() == 4
    assert x[:, 2].max() == MOST_LEVELS - 1
    effects = data.x[:, [j for j, i in enumerate(data.encoder.columns) if problem.schema.features[i] == "many"]]
    assert np.array_equal(x[:, 3:4].astype(np.float32), effects)
    assert np.array_equal(x[:, 4:], problem.raw[:, problem.schema.spans["when"]])


def test_what_many_levels_say_reaches_it():
    """Half of what varies is the effect of 1,500 levels: what boosting cannot explain without them."""
    problem = pose(table().drop("some", "when"), "y", Options())
    [*_, boosting] = references(problem, [problem.seed_data(0)])
    without = pose(table().drop("some", "when", "many"), "y", Options())
    [*_, blind] = references(without, [without.seed_data(0)])
    assert boosting["select"][0]["rmse"] < 0.9 * blind["select"][0]["rmse"]
