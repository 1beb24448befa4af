"""Studies for TensorBoard, read back through its own reader."""

import sys

import numpy as np
import pytest
import synthetic

from dropscope import integrations
from dropscope.errors import MissingExtra
from dropscope.integrations.telling import arm_numbers
from dropscope.study import StudyResult

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def result():
    return synthetic.make(seeds=2)


@pytest.fixture(scope="module")
def logged(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    assert integrations.TensorboardTracker(folder / "new").log_study(result) == str(folder / "new" / "houses")
    return folder / "new" / "houses"


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    return events.Reload()


def texts(folder, tag):
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    events = EventMultiplexer().AddRun(str(folder), "study").Reload()
    return events.Tensors("study", f"{tag}/text_summary")[0].tensor_proto.string_val[0].decode()


def test_advice_and_options_are_texts(logged, result):
    told = texts(logged, "advice")
    assert all(sentence in told for sentence in result.advice.sentences)
    assert result.advice.code in told
    assert "- width: 128" in texts(logged, "options")


def test_every_arm_has_its_curves_by_epoch(logged, result):
    assert len([folder for folder in logged.iterdir() if folder.is_dir()]) == len(result.arms)
    points = read(logged / "hidden p = 0.25").Scalars("loss on stop rows")
    kept = [t["stop_curve"] for t in result.trials if (t["p_input"], t["p_hidden"]) == (0, 0.25)]
    common = min(map(len, kept))
    assert [point.step for point in points] == [*range(1, common + 1)]
    assert [point.value for point in points] == pytest.approx(np.mean([c[:common] for c in kept], axis=0), rel=1e-6)


def test_every_arm_has_its_scores_and_rates(logged, result):
    arm = result.arms[1]
    events = read(logged / "input p = 0.05")
    assert events.Scalars("select rmse")[0].value == pytest.approx(arm.select, rel=1e-6)
    assert events.Scalars("share of order 1")[0].value == pytest.approx(arm.share[0], rel=1e-6)
    started = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"p_input" in started


def test_a_study_read_from_its_file_is_logged_alike(tmp_path):
    """Arms that left early have no spectrum: their shares are null in the file."""
    made = synthetic.make(spectra=False)
    made.save(tmp_path / "result.json")
    read = StudyResult.load(tmp_path / "result.json")
    assert [arm_numbers(read, arm) for arm in read.arms] == [arm_numbers(made, arm) for arm in made.arms]


def test_another_study_of_the_name_has_a_folder_of_its_own(result, tmp_path):
    tracker = integrations.TensorboardTracker(tmp_path)
    assert [tracker.log_study(result).rpartition("/")[2] for _ in range(2)] == ["houses", "houses-2"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`tensorboard` must be a folder that can be written"):
        integrations.TensorboardTracker(tmp_path / "file" / "runs")


def test_a_missing_client_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtra, match=r"needs `tensorboard`.*pip install 'dropscope\[trackers\]'"):
        integrations.TensorboardTracker(tmp_path)
