"""Whole studies on small tables: repeatable, resumable after SIGKILL, the same through every executor."""

import json
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars
import pytest

from dropscope import study
from dropscope.errors import BadTable, StoreConflict
from dropscope.study.problem import pose

SMALL = {
    "p_input": (), "p_hidden": (0.3,), "pair": (), "epochs": 4, "width": 8, "depth": 2, "budget": 13_000,
    "batch_size": 20,
}  # fmt: skip
TIMINGS = {"seconds", "pid"}


def small_table(rows=150):
    x = np.random.default_rng(0).normal(size=(rows, 4))
    letters = [f"level{i}" for i in np.random.default_rng(1).integers(0, 3, rows)]
    return polars.DataFrame({**{f"x{j}": x[:, j] for j in range(4)}, "c": letters, "y": x[:, 0] + x[:, 1] * x[:, 2]})


def untimed(result):
    return [{name: value for name, value in trial.items() if name not in TIMINGS} for trial in result.trials]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return study.run(small_table(), "y", out=tmp_path_factory.mktemp("reference"), seeds=3, **SMALL)


class TestResults:
    def test_every_arm_has_every_seed(self, reference):
        assert [(t["p_hidden"], t["seed"]) for t in reference.trials] == [
            (0, 0), (0.3, 0), (0, 1), (0.3, 1), (0, 2), (0.3, 2),
        ]  # fmt: skip

    def test_the_result_survives_its_file(self, reference, tmp_path):
        reference.save(tmp_path / "r.json")
        again = study.StudyResult.load(tmp_path / "r.json")
        again.save(tmp_path / "again.json")
        assert (tmp_path / "r.json").read_bytes() == (tmp_path / "again.json").read_bytes()
        assert study.advise(again).sentences == reference.advice.sentences

    def test_the_kept_model_predicts_from_a_table(self, tmp_path):
        table = small_table()
        result = study.run(table, "y", out=tmp_path, seeds=2, lr=0.01, **{**SMALL, "epochs": 60})
        kept = study.load_model(tmp_path)
        predicted = kept.predict(table.drop("y"))
        assert predicted.shape == (150,)
        assert result.refit["test"]["rmse"] < table["y"].std()
        assert np.corrcoef(predicted, table["y"])[0, 1] > 0.5
        with pytest.raises(BadTable, match="lacks the column `c`"):
            kept.predict(table.drop("c"))

    def test_no_trial_can_see_the_test_rows(self, tmp_path):
        """Changing targets of test rows changes test scores and nothing else."""
        table = small_table()
        one = study.run(table, "y", out=tmp_path / "a", seeds=2, **SMALL)
        test = pose(table, "y", study.Options.of(seeds=2, **SMALL)).cutter.test
        y = table["y"].to_numpy().copy()
        y[test] += 100
        two = study.run(table.with_columns(y=y), "y", out=tmp_path / "b", seeds=2, **SMALL)
        assert one.advice.sentences == two.advice.sentences
        for a, b in zip(one.trials, two.trials, strict=True):
            assert {**a, "test": 0, "seconds": 0} == {**b, "test": 0, "seconds": 0}
            assert a["test"] != b["test"]

    def test_classification_with_one_block_has_scores_and_no_spectrum(self, tmp_path):
        x = np.random.default_rng(0).normal(size=(120, 1))
        result = study.run(x, np.where(x[:, 0] > 0, "up", "down"), out=tmp_path, seeds=2, **SMALL)
        assert result.classes == ("down", "up")
        assert result.trials[0]["spectrum"] is None
        assert 0 < result.trials[0]["select"]["log_loss"] < 1

    def test_each_arm_keeps_its_best_learning_rate(self, tmp_path):
        result = study.run(small_table(), "y", out=tmp_path, seeds=2, lr=(1e-5, 1e-2), **SMALL)
        assert len(result.trials) == 8
        assert {arm.lr for arm in result.arms} == {1e-2}


class TestExecutors:
    def test_processes_and_threads_give_the_same_records(self, reference, tmp_path):
        processes = study.run(small_table(), "y", out=tmp_path / "p", seeds=3, workers=2, **SMALL)
        assert untimed(processes) == untimed(reference)
        assert len({trial["pid"] for trial in processes.trials} - {reference.trials[0]["pid"]}) >= 1
        with ThreadPoolExecutor(2) as pool:
            threads = study.run(small_table(), "y", out=tmp_path / "t", seeds=3, executor=pool, workers=2, **SMALL)
        assert untimed(threads) == untimed(reference)


class TestStore:
    def test_a_finished_study_is_not_run_again(self, reference, tmp_path):
        first = study.run(small_table(), "y", out=tmp_path, seeds=3, **SMALL)
        second = study.run(small_table(), "y", out=tmp_path, seeds=3, **SMALL)
        assert first.trials == second.trials  # timings too: the records were read
        assert untimed(first) == untimed(reference)

    def test_other_data_are_refused(self, tmp_path):
        study.run(small_table(), "y", out=tmp_path, seeds=2, **SMALL)
        with pytest.raises(StoreConflict, match="data:"):
            study.run(small_table(160), "y", out=tmp_path, seeds=2, **SMALL)
        with pytest.raises(StoreConflict, match="width: 8 there, 9 now"):
            study.run(small_table(), "y", out=tmp_path, seeds=2, **{**SMALL, "width": 9})

    def test_more_seeds_and_rates_train_only_what_is_new(self, reference, tmp_path):
        fewer = study.run(small_table(), "y", out=tmp_path, seeds=2, **SMALL)
        more = study.run(small_table(), "y", out=tmp_path, seeds=3, **SMALL)
        assert more.trials[:4] == fewer.trials  # timings too: they were not run again
        assert untimed(more) == untimed(reference)

    def test_planned_epochs_are_kept(self, tmp_path):
        options = {**SMALL, "epochs": None, "max_seconds": 0.01}
        first = study.run(small_table(), "y", out=tmp_path, seeds=2, **options)
        assert first.epochs == 10
        assert "10 epochs are the fewest that are planned: 0.01 s may not be enough." in first.notes
        assert study.run(small_table(), "y", out=tmp_path, seeds=2, **options).epochs == 10

    def test_bad_tables_write_nothing(self, tmp_path):
        with pytest.raises(BadTable):
            study.run(small_table(40), "y", out=tmp_path / "new", seeds=2, **SMALL)
        assert not (tmp_path / "new").exists()


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from dropscope import study
from test_runner import SMALL, small_table

class Announce(study.Progress):
    def planned(self, epochs, total, done):
        print("planned", flush=True)

study.run(small_table(), "y", out={out!r}, seeds={seeds}, progress=Announce(), **SMALL)
print("done", flush=True)
"""


class TestKill:
    def test_sigkill_at_ten_random_moments_loses_at_most_the_chunk_in_flight(self, tmp_path, seed):
        seeds, folder = 40, tmp_path / "killed"
        calm = study.run(small_table(), "y", out=tmp_path / "calm", seeds=seeds, **SMALL)
        per_chunk = sum(trial["seconds"] for trial in calm.trials) / seeds
        script = SCRIPT.format(tests=str(__file__).rpartition("/")[0], out=str(folder), seeds=seeds)
        moments = random.Random(seed)

        kept: set[str] = set()
        kills = 0
        while kills < 10:
            child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
            assert child.stdout.readline() == "planned\n"
            time.sleep(moments.uniform(0, 5 * per_chunk))
            child.send_signal(signal.SIGKILL)
            finished = "done" in child.communicate()[0]
            kills += 1
            now = _keys(folder)
            assert kept <= now  # nothing that was finished is ever lost
            kept = now
            if finished:
                break

        again = study.run(small_table(), "y", out=folder, seeds=seeds, **SMALL)
        assert untimed(again) == untimed(calm)
        assert again.advice.sentences == calm.advice.sentences
        lines = (folder / "trials.jsonl").read_text().splitlines()
        assert len(lines) == 3 + 2 * seeds  # no trial stands twice: a finished chunk is never repeated
        print(f"{kills} kills, {len(kept)} of {2 * seeds} trials kept by them")


def _keys(folder):
    path = folder / "trials.jsonl"
    whole = path.read_bytes().rpartition(b"\n")[0].splitlines()
    return {line["key"] for line in map(json.loads, whole) if line["kind"] == "trial"}
