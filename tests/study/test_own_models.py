"""Studies of a user's own network: paired by seed, trained as by a plain loop, refused where nothing could be said."""

import math
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from own_examples import SMALL, build, load, load_batches, rows
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from dropscope import report, study, surgery
from dropscope.errors import StoreConflict
from dropscope.study.own.data import bytes_digest

TIMINGS = {"seconds", "pid"}


def untimed(result, *but):
    left_out = TIMINGS | {*but}
    return [{name: value for name, value in trial.items() if name not in left_out} for trial in result.trials]


def undropped(result):
    """The trials that no mask tells apart."""
    return [trial for trial in result.trials if trial["p_hidden"] == 0]


def same(first, second):
    """Equal plain data, nan included."""
    return repr(first) == repr(second)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return study.run_model(build, load, out=tmp_path_factory.mktemp("own"), **SMALL)


class TestTraining:
    def test_without_dropout_it_is_a_plain_loop_bitwise(self):
        batches = list(DataLoader(rows(60), 20))
        parts = batches[:2], batches[2:], batches[2:], None
        adam = partial(torch.optim.AdamW, lr=0.05)
        asked = {**SMALL, "metric": None, "optimizer": adam, "epochs": 30, "patience": 60}
        trial = study.run_model(build, lambda seed: parts, **asked).trials[2]  # seed 1, no dropout
        assert (trial["seed"], trial["p_hidden"]) == (1, 0)

        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = build()
        surgery.set_p(model, 0.0)
        optimizer, loss = adam(model.parameters()), nn.MSELoss()
        stop = []
        for _ in range(trial["epochs"]):
            for x, y in parts[0]:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                stop.append(float(loss(model(parts[1][0][0]), parts[1][0][1])))
        assert trial["stop_curve"] == stop
        assert trial["best_epoch"] < trial["epochs"]  # it learns its few rows by heart
        assert trial["select"]["loss"] == min(stop)

    def test_initial_weights_are_those_of_the_seed_for_every_rate(self, reference):
        for seed in range(2):
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                start = bytes_digest(build().state_dict())
            assert {trial["start"] for trial in reference.trials if trial["seed"] == seed} == {start}

    def test_batches_and_augmentations_of_a_seed_are_the_same_for_every_rate(self):
        seen = {}

        class Watched(Dataset):
            def __init__(self, log):
                self.log = log

            def __len__(self):
                return 8

            def __getitem__(self, row):
                drawn = (row, float(torch.rand(())), random.random(), float(np.random.rand()))  # noqa: NPY002
                self.log.append(drawn)
                return torch.full((2,), float(row)), torch.tensor([drawn[1]])

        def watched(seed):
            log = seen.setdefault(len(seen), [])
            calm = TensorDataset(torch.ones(4, 2), torch.ones(4, 1))
            return DataLoader(Watched(log), 4, shuffle=True), calm, calm, None

        def network():
            return nn.Sequential(nn.Linear(2, 4), nn.Dropout(), nn.Linear(4, 1))

        study.run_model(network, watched, **{**SMALL, "metric": None, "p": (0.2, 0.7), "epochs": 2, "patience": 9})
        _, *trials = [log[12:] for log in seen.values()]  # the first batch and all rows are looked at before
        shortest = min(map(len, trials))
        none, low, high, other = (log[:shortest] for log in trials[:4])
        assert none == low == high != other
        assert len(set(none)) == len(none)  # every epoch draws anew

    def test_masks_differ_between_rates_and_seeds(self):
        masks = {}

        class Watching(nn.Dropout):
            def forward(self, x):
                y = super().forward(x)
                if self.training and self.p:
                    masks.setdefault(self.p, []).append(y.detach() != 0)
                return y

        def network():
            return nn.Sequential(Watching(), nn.Linear(3, 1))

        study.run_model(network, load, **{**SMALL, "p": (0.4, 0.6), "epochs": 1, "patience": 1})
        (low, low_other), (high, _) = (
            [torch.stack(found[:1]), torch.stack(found[-1:])] for found in (masks[0.4], masks[0.6])
        )
        assert not torch.equal(low, low_other)
        # From one stream, what survives the larger rate would all survive the smaller one.
        assert (high & ~low).any()

    def test_the_callers_streams_are_where_they_were(self):
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
        study.run_model(build, load, **SMALL)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
        assert all(map(np.array_equal, np.random.get_state(), before[2]))  # noqa: NPY002

    def test_a_network_that_diverges_is_recorded_and_void(self, tmp_path):
        wild = partial(torch.optim.SGD, lr=1e30)
        result = study.run_model(build, load, optimizer=wild, out=tmp_path, **SMALL)
        assert all(trial["diverged"] for trial in result.trials)
        assert result.advice.kind == "void"
        assert study.StudyResult.load(tmp_path / "result.json").advice.kind == "void"

    def test_no_trial_can_see_the_test_rows(self, reference):
        def other_tests(seed):
            *parts, test = load(seed)
            return [*parts, TensorDataset(*(values + 1 for values in test.dataset.tensors))]

        changed = study.run_model(build, other_tests, **SMALL)
        apart = ("test", "reference", "n_test")
        assert same(untimed(changed, *apart), untimed(reference, *apart))
        assert changed.trials[0]["test"] != reference.trials[0]["test"]
        assert changed.advice.sentences == reference.advice.sentences


class TestScores:
    def test_a_function_scores_what_the_name_does(self, reference):
        def error(outputs, y):
            return (outputs - y).square().mean().sqrt()

        own = study.run_model(build, load, **{**SMALL, "metric": error})
        for one, other in zip(undropped(reference), undropped(own), strict=True):
            assert other["select"]["error"] == pytest.approx(one["select"]["rmse"], rel=1e-5)
        assert (own.metric, own.references[0]["name"]) == ("error", "untrained")

    def test_the_reference_is_the_mean_of_the_fit_rows(self, reference):
        fit, _, select, _ = ([y for _, y in part] for part in self.parts(0))
        error = (torch.stack(select).double() - torch.stack(fit).double().mean()).square().mean().sqrt()
        assert reference.references[0]["select"][0]["rmse"] == pytest.approx(float(error), rel=1e-6)
        assert reference.references[0]["label"] == "mean of the target"

    @staticmethod
    def parts(seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return load(seed)

    def test_class_shares_and_logits_of_classes(self):
        def labelled(seed):
            x, y = rows().tensors
            return torch.utils.data.random_split(TensorDataset(x, (y[:, 0] > 0).long()), [40, 15, 15, 10])

        def network():
            return nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 2))

        asked = {**SMALL, "loss": nn.CrossEntropyLoss()}
        result = study.run_model(network, labelled, **{**asked, "metric": "log_loss"})
        plain = study.run_model(network, labelled, **{**asked, "metric": None})
        for one, other in zip(undropped(result), undropped(plain), strict=True):
            assert one["select"]["log_loss"] == pytest.approx(other["select"]["loss"], rel=1e-5)
        assert 0.5 < result.references[0]["select"][0]["log_loss"] < 1

    def test_labels_of_two_values_may_be_bool_and_none_lies_beyond_the_logits(self):
        def labelled(kind):
            def load(seed):
                x, y = rows().tensors
                return torch.utils.data.random_split(TensorDataset(x, kind(y[:, 0] > 0)), [40, 15, 15, 10])

            return load

        def network(outputs):
            return lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, outputs))

        def loss(z, y):
            return nn.functional.cross_entropy(z, y.long().clamp(max=z.shape[1] - 1))

        asked = {**SMALL, "loss": loss, "metric": "error"}
        results = [
            study.run_model(network(2), labelled(kind), **asked) for kind in (torch.Tensor.bool, torch.Tensor.long)
        ]
        first, second = map(undropped, results)
        assert [trial["select"] for trial in first] == [trial["select"] for trial in second]
        with pytest.raises(ValueError, match="one label below it a row"):
            study.run_model(network(1), labelled(torch.Tensor.long), **asked)

    def test_spectra_are_measured_of_tables_alone(self, reference):
        assert reference.blocks == (("x0",), ("x1",), ("x2",))
        assert set(reference.trials[0]["curve"]) >= {"1", "2"}
        assert sum(reference.arms[0].share) + reference.arms[0].rest == pytest.approx(1)

        def images(seed):
            x, y = rows().tensors
            return torch.utils.data.random_split(TensorDataset(x.view(-1, 1, 3), y), [40, 15, 15, 10])

        flat = study.run_model(lambda: nn.Sequential(nn.Flatten(), *build()), images, **SMALL)
        assert flat.blocks == ()
        assert flat.notes == (
            "There are no interaction spectra: the inputs are no table of two columns or more of floats, but float32 "
            "of shape (rows, 1, 3).",
        )
        assert flat.advice.sentences[1].startswith("No interaction spectrum: the inputs are no table of numbers")
        for one, other in zip(undropped(flat), undropped(reference), strict=True):
            assert one["stop_curve"] == other["stop_curve"]


class TestExecutors:
    def test_processes_and_threads_give_the_same_records(self, reference, tmp_path):
        processes = study.run_model(build, load, workers=2, out=tmp_path, **SMALL)
        assert same(untimed(processes), untimed(reference))
        assert reference.trials[0]["pid"] not in {trial["pid"] for trial in processes.trials}
        with ThreadPoolExecutor(2) as pool:
            threads = study.run_model(build, load, executor=pool, workers=2, **SMALL)
        assert same(untimed(threads), untimed(reference))

    def test_what_cannot_reach_other_processes_is_refused_by_name(self):
        with pytest.raises(ValueError, match="`build` must be picklable with `workers` above 1"):
            study.run_model(lambda: build(), load, workers=2, **SMALL)
        with pytest.raises(ValueError, match="`load` must be picklable"):
            study.run_model(build, lambda seed: load(seed), workers=2, **SMALL)

    def test_what_an_interactive_session_defines_is_refused(self, monkeypatch):
        import sys

        monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
        monkeypatch.setattr(sys.modules["__main__"], "build", build, raising=False)
        monkeypatch.setattr(build, "__module__", "__main__")
        with pytest.raises(ValueError, match="`build` must be defined in a file"):
            study.run_model(build, load, workers=2, **SMALL)


class TestStore:
    def test_more_seeds_and_rates_train_only_what_is_new(self, tmp_path):
        fewer = study.run_model(build, load, out=tmp_path, **SMALL)
        more = study.run_model(build, load, out=tmp_path, **{**SMALL, "p": (0.2, 0.5), "seeds": 3})
        assert len(more.trials) == 9
        kept = [trial for trial in more.trials if trial["seed"] < 2 and trial["p_hidden"] != 0.2]
        assert same(kept, list(fewer.trials))  # timings too: they were not run again

    def test_another_model_rows_or_loss_is_refused(self, reference):
        out = reference.files[0].rpartition("/")[0]
        asked = {**SMALL, "out": out}
        with pytest.raises(StoreConflict, match="model:"):
            study.run_model(lambda: nn.Sequential(nn.Dropout(), nn.Linear(3, 1)), load, **asked)
        with pytest.raises(StoreConflict, match="rows:"):
            study.run_model(build, load_batches, **asked)
        with pytest.raises(StoreConflict, match='loss: "MSELoss" there, "L1Loss" now'):
            study.run_model(build, load, **{**asked, "loss": nn.L1Loss()})

    def test_epochs_are_planned_and_kept(self, tmp_path):
        asked = {**SMALL, "epochs": None, "max_seconds": 0.01, "out": tmp_path}
        first = study.run_model(build, load, **asked)
        assert first.epochs == 10
        assert study.run_model(build, load, **asked).trials == first.trials


def test_the_page_speaks_of_the_model(reference, tmp_path):
    page = report.write_report(reference, tmp_path)[0]
    text = Path(page).read_text(encoding="utf-8")
    assert "How much dropout for <em>Sequential</em>?" in text
    assert "What every network should beat" in text
    assert "Noticed in the table" not in text


def test_the_page_of_a_study_without_tests_and_spectra(tmp_path):
    def own(outputs, y):
        return (outputs - y).abs().mean()

    def images(seed):
        return [
            part and [(x.unsqueeze(1), y) for x, y in DataLoader(part, 20)]
            for part in (*load(seed)[:3], None)
        ]  # fmt: skip

    result = study.run_model(
        lambda: nn.Sequential(nn.Flatten(), *build()), images, name="mine", target="noise", **{**SMALL, "metric": own}
    )
    text = Path(report.write_report(result, tmp_path)[0]).read_text(encoding="utf-8")
    assert "How much dropout for <em>noise</em>?" in text
    assert "Law of inputs and blocks" not in text
    assert "There are no interaction spectra" in text
    assert math.isnan(result.arms[0].test)
