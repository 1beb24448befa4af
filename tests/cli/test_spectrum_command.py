"""`dropscope spectrum` as a user meets it: one function in every form, its options, and its files."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from saved_models import write_table
from torch import nn

# On independent bits: a and b, plus half of c. Variances 1/16 of a, b, ab and c each.
TRUTH = [3 / 4, 1 / 4, 0.0]
TOTAL_ERROR = 0.008  # standard deviation of the total at 6,000 evaluations, over 1,500 seeds
FORMS = [
    "net.pt", "net.pth", "dynamic.pt2", "fixed.pt2", "dynamic.onnx", "fixed.onnx", "forms:network", "forms:function",
    "forms:tree",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_function_has_its_spectrum(dropscope, seed, form):
    code, out, _ = dropscope(form, "--data", "bits.csv", "--budget", 6000, "--seed", seed, "--json")
    assert code == 0
    found = json.loads(out.splitlines()[-1])["spectrum"]  # the seed is printed before it

    for share, low, high, truth in zip(found["share"], found["low"], found["high"], TRUTH, strict=False):
        # The half-width of a 95 % interval is 1.96 standard errors.
        assert abs(share - truth) <= 5 / 1.96 * (high - low) / 2 + 1e-6
    assert abs(found["total"] - 1 / 4) <= 5.5 * TOTAL_ERROR


def test_all_forms_agree_to_rounding_at_one_seed(dropscope, seed):
    shares = []
    for form in FORMS:
        _, out, _ = dropscope(form, "--data", "bits.csv", "--budget", 3000, "--seed", seed, "--json")
        found = json.loads(out.splitlines()[-1])["spectrum"]
        shares.append([*found["share"], *found["low"], *found["high"], found["total"], found["mean_order"]])
    assert np.ptp(shares, axis=0).max() < 1e-5


def test_whole_numbers_stay_whole_for_an_embedding(dropscope, saved):
    write_table(saved / "codes.csv", "abc", [[(i + j) % 3 for j in range(3)] for i in range(8)])
    model = nn.Sequential(nn.Embedding(3, 2), nn.Flatten(), nn.Linear(6, 1))
    torch.save(model, saved / "codes.pt")
    code, out, err = dropscope("codes.pt", "--data", "codes.csv", "--budget", 2000, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["spectrum"]["share"][0] == pytest.approx(1)  # a sum of what is looked up


def test_another_seed_draws_anew(dropscope):
    arguments = ("forms:function", "--data", "bits.csv", "--budget", 2000, "--json")
    totals = [json.loads(dropscope(*arguments, "--seed", seed)[1])["spectrum"]["total"] for seed in (0, 1, 0)]
    assert totals[0] == totals[2] != totals[1]


class TestColumns:
    def total(self, dropscope, *arguments):
        code, out, err = dropscope(*arguments, "--budget", 4000, "--json")
        assert code == 0, err
        return json.loads(out)

    def test_target_and_drop_are_no_inputs(self, dropscope):
        found = self.total(dropscope, "net.pt", "--data", "more.csv", "--target", "y", "--drop", "word")
        assert found["columns"] == ["a", "b", "c"]
        plain = self.total(dropscope, "net.pt", "--data", "bits.csv")
        assert found["spectrum"] == plain["spectrum"]

    def test_columns_choose_and_order(self, dropscope):
        arguments = ("forms:classes", "--data", "more.csv", "--output", "1")
        for order in ("a,b,c", "c,b,a"):
            found = self.total(dropscope, *arguments, "--columns", order, "--terms")
            assert found["terms"]["totals"]["members"] == [[2]]
            assert found["terms"]["names"] == order.split(",")

    def test_joined_columns_count_once(self, dropscope):
        found = self.total(dropscope, "net.pt", "--data", "bits.csv", "--blocks", "c,b+a")
        assert found["spectrum"]["blocks"] == [[0, 1], [2]] or found["spectrum"]["blocks"] == [[1, 0], [2]]
        assert found["spectrum"]["share"] == pytest.approx([1, 0], abs=1e-6)

    def test_a_callable_is_given_words_in_a_data_frame(self, dropscope):
        found = self.total(dropscope, "forms:of_words", "--data", "more.csv", "--columns", "a,word")
        assert found["spectrum"]["share"][1] > 0.2

    def test_an_estimator_takes_the_columns_it_was_fitted_on(self, dropscope, saved):
        names = "import pandas\nfrom forms import *\nframe = pandas.DataFrame(bits, columns=['a', 'b', 'c'])\n"
        names += "tree = DecisionTreeRegressor().fit(frame[['c', 'a', 'b']], tree.predict(bits))\n"
        (saved / "named.py").write_text(names)
        found = self.total(dropscope, "named:tree", "--data", "more.csv")
        assert found["columns"] == ["c", "a", "b"]

    def test_a_bundled_table_leaves_out_its_target(self, dropscope):
        found = self.total(dropscope, "forms:function", "--data", "diabetes")
        assert len(found["columns"]) == 10
        assert "target" not in found["columns"]


def test_one_output_is_measured_alone(dropscope):
    arguments = ("forms:classes", "--data", "bits.csv", "--budget", 2000, "--json")
    alone = json.loads(dropscope(*arguments, "--output", "1")[1])["spectrum"]
    assert alone["share"] == pytest.approx([1, 0, 0], abs=1e-6)
    assert json.loads(dropscope(*arguments)[1])["spectrum"]["total"] > alone["total"]


def test_logits_are_centred(dropscope):
    arguments = ("forms:classes", "--data", "bits.csv", "--budget", 20_000, "--json", "--logits")
    found = json.loads(dropscope(*arguments)[1])["spectrum"]
    # Twice half the difference: (3/16 + 9/4) / 2, of which 1/16 / 2 is the pair.
    assert found["share"][1] == pytest.approx((1 / 16) / (3 / 16 + 9 / 4), rel=0.2)
    assert found["total"] == pytest.approx((3 / 16 + 9 / 4) / 2, rel=0.05)

    found = json.loads(dropscope("forms:linear", *arguments[1:])[1])["spectrum"]
    assert found["total"] == pytest.approx((1 / 4 + 1 / 4 + 9 / 4) / 2, rel=0.05)


def test_stdout_holds_the_answer_alone(dropscope):
    _, out, err = dropscope("forms:prints", "--data", "bits.csv", "--budget", 2000, "--json")
    assert json.loads(out)["model"] == "forms:prints"
    assert "hello" in err


def test_columns_with_commas_and_pluses_stand_in_quotes(dropscope):
    arguments = ("net.pt", "--data", "odd.csv", "--budget", 2000, "--json", "--columns", '"a,b",e+f', "--columns", "c")
    found = json.loads(dropscope(*arguments, "--blocks", '"e+f"+"a,b"')[1])
    assert found["columns"] == ["a,b", "e+f", "c"]
    assert found["spectrum"]["blocks"] == [[1, 0], [2]]


def test_numbered_columns_are_names(dropscope):
    assert dropscope("net.pt", "--data", "numbered.csv", "--budget", 2000)[0] == 0


def test_terms_leave_the_spectrum_as_it_is(dropscope):
    arguments = ("net.pt", "--data", "bits.csv", "--budget", 3000, "--json")
    alone, with_terms = (json.loads(dropscope(*arguments, *more)[1])["spectrum"] for more in ([], ["--terms"]))
    assert alone == with_terms


def test_an_interrupt_is_one_line(dropscope, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dropscope.cli.measuring.measure", interrupted)
    code, out, err = dropscope("net.pt", "--data", "bits.csv")
    assert (code, out) == (130, "")
    assert "Interrupted" in err


def test_the_answer_is_printed_with_its_files(dropscope, tmp_path):
    code, out, _ = dropscope(
        "net.pt", "--data", "bits.csv", "--budget", 4000, "--terms", "--out", tmp_path / "new" / "folder"
    )
    assert code == 0
    assert out.startswith("Interactions hold ")
    assert "a × b" in out
    for name in ("spectrum.html", "shares.png", "survival.png", "terms.png", "spectrum.json"):
        assert (tmp_path / "new" / "folder" / name).exists()
        assert name in out


def test_the_joint_law_is_passed_on(dropscope, saved):
    rows = np.random.default_rng(0).integers(0, 2, (300, 3))
    write_table(saved / "many.csv", ["a", "b", "c"], rows.tolist())
    code, out, err = dropscope("net.pt", "--data", "many.csv", "--budget", 2000, "--inputs-law", "joint", "--json")
    assert code == 0, err
    assert json.loads(out)["spectrum"]["inputs_law"] == "joint"


def test_what_there_is_to_note_is_on_stderr_and_in_json(dropscope, saved):
    rows = [[a, a, c] for a in (0, 1) for c in (0, 1)] * 30
    write_table(saved / "twins.csv", ["a", "b", "c"], rows)
    arguments = ("net.pt", "--data", "twins.csv", "--budget", 2000)
    _, out, err = dropscope(*arguments, "--json")
    [note] = json.loads(out)["notes"]
    assert note.startswith("`a` and `b` have rank correlation")
    assert "(`--blocks`)" in note
    assert "(`--inputs-law joint`)" in note
    assert f"note: {note}" in " ".join(err.split())
    assert dropscope(*arguments, "--quiet")[2] == ""


def test_the_answer_is_not_lost_when_its_files_cannot_be_written(dropscope, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dropscope.report.write_spectrum", full)
    code, out, err = dropscope("net.pt", "--data", "bits.csv", "--budget", 2000, "--json", "--out", tmp_path)
    assert code == 2
    assert json.loads(out)["files"] == []
    assert err.endswith("No space left on device\n")


def test_onnxruntime_is_an_extra(dropscope, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, err = dropscope("fixed.onnx", "--data", "bits.csv")
    assert code == 2
    assert "pip install 'dropscope[onnx]'" in err


def test_help_imports_nothing_heavy():
    code = "import sys; sys.argv = ['dropscope', 'spectrum', '--help']\nfrom dropscope.cli import main\n"
    code += "try:\n    main()\nexcept SystemExit:\n    pass\n"
    code += "assert not {'torch', 'numpy', 'polars', 'sklearn', 'onnxruntime', 'plotly'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_program_is_called_on_batches_of_its_own_size():
    from dropscope.cli.programs import Program

    seen = []

    def run(rows):
        seen.append(len(rows))
        return rows.sum(1)

    rows = torch.arange(30.0).reshape(10, 3)
    assert torch.equal(Program(run, 4, 3, torch.float32)(rows), rows.sum(1))
    assert seen == [4, 4, 4]
