"""`dropscope study --mlflow --tensorboard`: logged when it is done, refused before it begins."""

import sys

import numpy as np
import pytest

from dropscope import cli

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
SMALL = "--p-input 0.1 --p-hidden 0.3 --seeds 2 --epochs 2 --width 4 --depth 1 --budget 13000 --lr 0.001".split()


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Study a small table in this process: exit code, stdout, stderr."""
    x = np.random.default_rng(0).normal(size=(120, 3))
    lines = [f"{a},{b},{c},{a + b * c}" for a, b, c in x]
    (tmp_path / "houses.csv").write_text("\n".join(["rooms,age,area,price", *lines]) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")

    def study(*arguments):
        command = ["dropscope", "study", "houses.csv", "--target", "price", "--out", "s", *SMALL, *arguments]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0, *capsys.readouterr()

    return study


def test_a_study_is_logged_to_both(run, tmp_path):
    from mlflow import MlflowClient

    code, out, err = run("--mlflow", (tmp_path / "runs").as_uri(), "--tensorboard", "events")
    assert code == 0, err
    assert "report.html" in out

    client = MlflowClient(tracking_uri=(tmp_path / "runs").as_uri())
    runs = client.search_runs([client.get_experiment_by_name("dropscope").experiment_id])
    [study] = [one for one in runs if "mlflow.parentRunId" not in one.data.tags]
    assert len(runs) == 1 + 5
    assert "report.html" in {item.path for item in client.list_artifacts(study.info.run_id)}
    assert len(list((tmp_path / "events" / "houses").rglob("events*"))) == 1 + 2 * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mlflow", "nothing:at-all"), "`--mlflow` must be a tracking URI to log to, got 'nothing:at-all'"),
        (("--tensorboard", "houses.csv/events"), "`--tensorboard` must be a folder that can be written"),
    ],
)
def test_a_place_to_log_to_is_refused_before_anything_trains(run, tmp_path, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("dropscope: error: ")
    assert message in err
    assert not (tmp_path / "s").exists()
