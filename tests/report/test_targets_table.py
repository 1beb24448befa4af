"""The table of several targets: scores of each in its own units, those of the study's own records."""

import numpy as np
import polars
import pytest

from dropscope import report, study
from dropscope.report.tables import targets_table

SMALL = {"p_input": 0.1, "p_hidden": 0.5, "pair": (), "seeds": 2, "epochs": 3, "width": 8, "depth": 1, "budget": 13_000,
         "lr": 0.01, "max_order": 1}  # fmt: skip


@pytest.fixture(scope="module")
def frame():
    x = np.random.default_rng(0).normal(size=(120, 3))
    columns = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "far": 100 * x[:, 0] ** 2, "near": x[:, 1] * x[:, 2]}
    return polars.DataFrame(columns)


def test_every_target_has_its_scores_in_its_own_units(frame, tmp_path):
    result = study.run(frame, ["far", "near"], out=tmp_path, **SMALL)
    shown = targets_table(result)
    assert shown.columns == [
        "model", "far: selection RMSE", "far: test RMSE", "near: selection RMSE", "near: test RMSE"
    ]  # fmt: skip
    [constant] = [row for row in shown.rows if row[0] == "mean of the target"]
    told = next(row for row in result.references if row["name"] == "constant")["by_target"]
    mean = np.mean([seed["far"]["rmse"] for seed in told["test"]])
    assert float(constant[2].split(" ±")[0]) == pytest.approx(mean, rel=1e-3)

    report.write_report(result, tmp_path)
    assert "Target by target" in (tmp_path / "report.html").read_text()


def test_a_single_target_needs_no_such_table(frame, tmp_path):
    result = study.run(frame.drop("near"), "far", out=tmp_path, **SMALL)
    assert targets_table(result) is None
