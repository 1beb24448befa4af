"""Halving: who stays has the numbers of the whole study bit for bit, who leaves is clearly beaten and said so."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from dropscope import study
from dropscope.errors import StoreConflict
from dropscope.study import advise, runner
from dropscope.study.decision import dunnett_point
from dropscope.study.race import CONFIDENCE, Race, beaten
from dropscope.study.result import StudyResult
from dropscope.study.trial import trials

# One rate does great harm, one next to none.
OPTIONS = {"p_input": (), "p_hidden": (0.1, 0.95), "pair": (), "seeds": 3, "epochs": 30, "width": 16, "depth": 2,
           "budget": 13_000, "batch_size": 20, "lr": 0.01, "patience": 10}  # fmt: skip
SAME = {"seconds", "pid"}


def table():
    x = np.random.default_rng(0).normal(size=(200, 4))
    return x, x[:, 0] + 0.1 * x[:, 1] * x[:, 2]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folders = [tmp_path_factory.mktemp(name) for name in ("whole", "halved")]
    return [
        study.run(*table(), out=folder, halving=halving, **OPTIONS)
        for folder, halving in zip(folders, (False, True), strict=True)
    ]


class TestBeaten:
    ARMS = ((0.0, 0.0), (0.0, 0.1), (0.0, 0.2), (0.0, 0.6), (0.2, 0.5))

    def losses(self, generator, means, noise=0.01):
        return np.array(means)[:, None] + noise * generator.normal(size=(len(means), 5)) + generator.normal(size=5)

    def test_few_leave_by_chance_alone(self, seed):
        """Of 16 arms that do equally well, none is beaten unless their means range over more than the error allows."""
        generator = np.random.default_rng(seed)
        arms = [(0.0, 0.0), *((0.0, k / 20) for k in range(1, 16))]
        tables = 1000
        lost = sum(bool(beaten(self.losses(generator, [1.0] * 16), arms)) for _ in range(tables)) / tables
        limit = stats.studentized_range.sf(math.sqrt(2) * dunnett_point(15, 60, CONFIDENCE), 16, 60)
        assert limit < 0.07
        assert lost < limit + 5 * (limit * (1 - limit) / tables) ** 0.5

    def test_references_and_the_best_arm_with_dropout_stay(self, seed):
        generator = np.random.default_rng(seed)
        assert beaten(self.losses(generator, [1, 9, 8, 9, 9]), self.ARMS) == [1, 3]
        assert beaten(self.losses(generator, [9, 1, 9, 9, 9]), self.ARMS) == [2, 3]

    def test_rungs_compare_the_best_so_far_and_forget_who_left(self):
        listed = trials([(0.0, 0.0), (0.0, 0.1), (0.0, 0.9)], (1e-3,), seeds=2)
        race = Race(listed, epochs=16)
        curves = [[1.0, 5.0], [1.01, 5.0], [5.0, 5.0], [2.0, 5.0], [2.005, 5.0], [6.0, 6.0]]
        assert race(1, curves) == set()
        assert race(2, curves) == {2, 5}
        assert race(4, curves) == set()

    @pytest.mark.parametrize(("before", "leaves"), [(3.0, True), (4.9, True), (5.1, False), (9.0, False)])
    def test_what_was_caught_up_may_be_caught_up_in_every_doubling_to_come(self, before, leaves):
        """2 behind at a quarter of the epochs: 1 and more caught up in the last doubling is enough for two to come."""
        listed = trials([(0.0, 0.0), (0.0, 0.1), (0.0, 0.9)], (1e-3,), seeds=2)
        flat = [[level] * 4 for level in (1.0, 1.0, 1.0, 1.001)]
        curves = [*flat[:2], [before - 1, before - 1, 3.0, 3.0], *flat[2:], [before - 1, before - 1, 3.0, 3.0]]
        assert Race(listed, epochs=16)(4, curves) == ({2, 5} if leaves else set())

    def test_a_diverged_network_takes_its_arm_out_of_the_race_and_no_other(self):
        listed = trials([(0.0, 0.0), (0.0, 0.1), (0.0, 0.9)], (1e-3,), seeds=2)
        curves = [[1.0] * 2, [1.01] * 2, [float("nan")], [2.0] * 2, [2.01] * 2, [9.0] * 2]
        assert Race(listed, epochs=8)(2, curves) == set()


class TestStudies:
    def test_who_stays_is_the_same_bit_for_bit(self, both):
        whole, halved = both
        stayed = [trial for trial in halved.trials if trial["left_at"] is None]
        assert 0 < len(stayed) < len(whole.trials)
        for trial in halved.trials:
            twin = next(t for t in whole.trials if t["key"] == trial["key"])
            if trial["left_at"] is None:
                assert {**trial, **dict.fromkeys(SAME)} == {**twin, **dict.fromkeys(SAME)}
            else:
                assert trial["stop_curve"] == twin["stop_curve"][: trial["left_at"]]
                assert trial["epochs"] == trial["left_at"] < twin["epochs"]
                assert trial["spectrum"] is None
                assert trial["curve"] == {}

    def test_the_advice_is_the_same_and_names_who_left(self, both):
        whole, halved = both
        assert (halved.advice.kind, halved.advice.p_hidden) == (whole.advice.kind, whole.advice.p_hidden)
        assert [arm.rates for arm in halved.arms if arm.left] == [(0.0, 0.95)]
        assert "Left training early, clearly beaten on the stop rows: (0, 0.95)." in halved.advice.sentences[1]

    def test_test_rows_take_no_part(self, both, tmp_path):
        """Other targets in the test rows change test scores, and nothing of who left or what is advised."""
        x, y = table()
        test = runner.pose(*runner.as_frame(x, y), study.Options.of(**OPTIONS)).cutter.test
        y[test] += 100
        other = study.run(x, y, out=tmp_path, halving=True, **OPTIONS)
        assert [t["left_at"] for t in other.trials] == [t["left_at"] for t in both[1].trials]
        assert other.advice.sentences == both[1].advice.sentences
        assert other.trials[0]["test"] != both[1].trials[0]["test"]

    def test_a_halved_study_survives_its_file_and_goes_on(self, both, tmp_path):
        first = study.run(*table(), out=tmp_path, halving=True, **OPTIONS)
        again = study.run(*table(), out=tmp_path, halving=True, **OPTIONS)
        assert again.trials == first.trials  # timings too: the records were read
        loaded = StudyResult.load(tmp_path / "result.json")
        assert advise(loaded).sentences == both[1].advice.sentences

    def test_a_store_with_a_part_of_a_race_runs_the_whole_race(self, both, tmp_path):
        study.run(*table(), out=tmp_path, halving=True, **OPTIONS)
        path = tmp_path / "trials.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[:-4]))
        again = study.run(*table(), out=tmp_path, halving=True, **OPTIONS)
        assert [t["left_at"] for t in again.trials] == [t["left_at"] for t in both[1].trials]

    def test_a_plain_store_is_not_mixed_with_a_race(self, tmp_path):
        study.run(*table(), out=tmp_path, **OPTIONS)
        with pytest.raises(StoreConflict, match="halving"):
            study.run(*table(), out=tmp_path, halving=True, **OPTIONS)
        study.run(*table(), out=tmp_path, halving=True, fresh=True, **OPTIONS)
        with pytest.raises(StoreConflict, match="seeds"):
            study.run(*table(), out=tmp_path, halving=True, **{**OPTIONS, "seeds": 4})

    def test_stores_of_before_are_known(self, tmp_path):
        """Options that came later are not written where they say nothing."""
        study.run(*table(), out=tmp_path, **OPTIONS)
        config = json.loads((tmp_path / "trials.jsonl").read_text().splitlines()[0])["config"]
        assert not {*config} & {*runner.LATER}

    def test_too_many_networks_for_one_stack_are_refused(self, monkeypatch, tmp_path):
        monkeypatch.setattr(runner, "STACK_BYTES", 1)
        with pytest.raises(ValueError, match="`halving` trains all networks at once"):
            study.run(*table(), out=tmp_path, halving=True, **OPTIONS)
