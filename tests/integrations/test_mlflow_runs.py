"""Studies in MLflow, read back through its own client: what was logged is what the study found."""

import json
import socket
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import synthetic

from dropscope import integrations, report
from dropscope.errors import MissingExtra

# Of the client and its database library.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    made = synthetic.make(seeds=2)
    made.save(folder / "result.json")
    (folder / "report.html").write_text("<h1>How much dropout?</h1>")
    return replace(made, files=tuple(map(str, folder.iterdir())))


@pytest.fixture(scope="module")
def logged(result, tmp_path_factory):
    """The client, and the run of a study logged to a database."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("mlflow")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.chdir(folder)
        tracker = integrations.MlflowTracker(f"sqlite:///{folder}/runs.db")
        run = tracker.client.get_run(tracker.log_study(result))
        yield tracker.client, run


@pytest.fixture(scope="module")
def arms(logged):
    client, run = logged
    nested = f"tags.mlflow.parentRunId = '{run.info.run_id}'"
    return {one.info.run_name: one for one in client.search_runs([run.info.experiment_id], nested)}


def test_the_run_holds_the_advice_and_the_options(logged, result):
    _, run = logged
    assert (run.info.run_name, run.info.status) == ("houses", "FINISHED")
    assert run.data.tags["dropscope.advice"] == result.advice.kind
    assert run.data.tags["dropscope.code"] == result.advice.code
    assert run.data.tags["mlflow.note.content"] == "\n\n".join(result.advice.sentences)
    assert run.data.metrics["gain"] == pytest.approx(result.advice.gain)
    assert run.data.metrics["advised p_hidden"] == result.advice.p_hidden
    assert run.data.params["width"] == "128"
    assert run.data.params["task"] == result.task
    assert run.data.params["metric"] == result.metric
    assert run.data.params["epochs"] == str(result.epochs)
    assert run.data.params["select rows"] == "1333"


def test_every_arm_is_a_nested_run_with_its_means(arms, result):
    assert len(arms) == len(result.arms)
    for arm in result.arms:
        run = arms[report.reading.arm_name(arm)]
        assert run.data.params == {"p_input": str(arm.p_input), "p_hidden": str(arm.p_hidden), "lr": "0.001"}
        assert run.data.metrics["select rmse"] == pytest.approx(arm.select)
        assert run.data.metrics["test rmse"] == pytest.approx(arm.test)
        assert [run.data.metrics[f"share of order {k}"] for k in (1, 2, 3)] == pytest.approx(arm.share)


def test_curves_are_means_over_seeds_by_epoch(logged, arms, result):
    client, _ = logged
    arm = result.arms[1]
    history = client.get_metric_history(arms[report.reading.arm_name(arm)].info.run_id, "loss on stop rows")
    kept = [t["stop_curve"] for t in result.trials if (t["p_input"], t["p_hidden"]) == arm.rates]
    common = min(map(len, kept))
    assert [point.step for point in history] == [*range(1, common + 1)]
    assert [point.value for point in history] == pytest.approx(np.mean([curve[:common] for curve in kept], axis=0))


def test_the_page_is_an_artifact(logged):
    client, run = logged
    assert {item.path for item in client.list_artifacts(run.info.run_id)} == {"report.html", "result.json"}


def test_a_server_that_is_not_there_is_found_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    start = time.perf_counter()
    with pytest.raises(ValueError, match=f"`mlflow` must be a tracking URI to log to, got '{uri}'"):
        integrations.MlflowTracker(uri)
    assert time.perf_counter() - start < 30  # the client alone would go on for minutes


@pytest.mark.parametrize("uri", ["nothing:at-all", "sqlite:////proc/none/runs.db"])
def test_a_wrong_uri_is_refused(uri):
    with pytest.raises(ValueError, match="`mlflow` must be a tracking URI to log to"):
        integrations.MlflowTracker(uri)


def test_a_missing_client_is_named_with_its_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtra, match=r"needs `mlflow`.*pip install 'dropscope\[trackers\]'"):
        integrations.MlflowTracker("sqlite:///runs.db")


def test_a_server_that_fails_meanwhile_is_one_line(logged, result, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    tracker = integrations.MlflowTracker((tmp_path / "runs").as_uri())
    monkeypatch.setattr(tracker.client, "log_batch", lambda *_, **__: json.loads("gone"))
    with pytest.raises(RuntimeError, match="the study is finished, but could not be logged to file:"):
        tracker.log_study(result)
