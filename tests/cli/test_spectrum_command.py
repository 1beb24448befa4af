"""`dropscope spectrum` as a user meets it: one function in every form, and one line for every mistake."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from saved_models import save_all, write_table

from dropscope import cli

# On independent bits: a and b, plus half of c. Variances 1/16 of a, b, ab and c each.
TRUTH = [3 / 4, 1 / 4, 0.0]
FORMS = [
    "net.pt", "net.pth", "dynamic.pt2", "fixed.pt2", "dynamic.onnx", "fixed.onnx", "forms:network", "forms:function",
    "forms:tree",
]  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_all(folder)
    return folder


@pytest.fixture
def dropscope(saved, monkeypatch, capsys):
    """Run the command line in the folder of models: exit code, stdout, stderr."""
    monkeypatch.chdir(saved)
    monkeypatch.syspath_prepend(saved)
    for name in ("forms", "raises"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dropscope", "spectrum", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0, *capsys.readouterr()

    return run


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_function_has_its_spectrum(dropscope, seed, form):
    code, out, _ = dropscope(form, "--data", "bits.csv", "--budget", 6000, "--seed", seed, "--json")
    assert code == 0
    found = json.loads(out.splitlines()[-1])["spectrum"]  # the seed is printed before it

    for share, low, high, truth in zip(found["share"], found["low"], found["high"], TRUTH, strict=False):
        # The half-width of a 95 % interval is 1.96 standard errors.
        assert abs(share - truth) <= 5 / 1.96 * (high - low) / 2 + 1e-6
    assert found["total"] == pytest.approx(1 / 4, rel=0.1)


def test_all_forms_agree_to_rounding_at_one_seed(dropscope, seed):
    shares = []
    for form in FORMS:
        _, out, _ = dropscope(form, "--data", "bits.csv", "--budget", 3000, "--seed", seed, "--json")
        found = json.loads(out.splitlines()[-1])["spectrum"]
        shares.append([*found["share"], *found["low"], *found["high"], found["total"], found["mean_order"]])
    assert np.ptp(shares, axis=0).max() < 1e-5


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
    assert "correlation" in note
    assert f"note: {note}" in " ".join(err.split())
    assert dropscope(*arguments, "--quiet")[2] == ""


MISTAKES = {
    "no such file": (["none.pt"], "`MODEL` must be an existing file, got none.pt"),
    "unknown kind": (["net.pkl"], "must be a file that ends in .pt, .pth, .pt2, .onnx, or `module:attribute`"),
    "state dict": (["state.pt"], "state.pt holds weights alone (a state_dict), not a module: name it as `module:"),
    "tensor": (["tensor.pt"], "tensor.pt holds a Tensor, not a module"),
    "foreign class": (["foreign.pt"], "Foreign`, and only modules of torch.nn and dropscope are read from a file"),
    "broken pt": (["broken.pt"], "broken.pt is not a module that torch.save wrote"),
    "broken pt2": (["broken.pt2"], "broken.pt2 is not a program that torch.export.save wrote"),
    "broken onnx": (["broken.onnx"], "broken.onnx is not a model that onnxruntime runs"),
    "three dimensions": (["cube.pt2"], "cube.pt2 must take floating point numbers of shape (rows, columns)"),
    "no module": (["nowhere:net"], "`nowhere` cannot be imported: ModuleNotFoundError"),
    "raising module": (["raises:net"], "`raises` cannot be imported: RuntimeError: no luck"),
    "no attribute": (["forms:functoin"], "did you mean `function`?"),
    "class": (["forms:DecisionTreeRegressor"], "name an instance of it"),
    "number": (["forms:number"], "must be a callable, a module or a fitted estimator, got int"),
    "failing callable": (["forms:fails"], "forms:fails fails on rows of 3 columns (a, b, c), KeyError: 'colour'"),
    "too wide for onnx": (
        ["fixed.onnx", "--data", "more.csv", "--drop", "word"],
        "takes 3 columns, but the table gives 4",
    ),
    "too wide for torch": (["net.pt", "--data", "more.csv", "--drop", "word"], "net fails on rows of 4 columns"),
    "too wide for sklearn": (["forms:tree", "--data", "more.csv"], "forms:tree takes 3 columns"),
    "words": (["net.pt", "--data", "more.csv", "--target", "y"], "net takes numbers, but column `word` holds String"),
    "words for onnx": (["fixed.onnx", "--data", "more.csv", "--drop", "y,a"], "column `word` holds String"),
    "gaps": (["net.pt", "--data", "gap.csv"], "column `b` has missing values"),
    "unknown target": (["net.pt", "--target", "z"], "`z` must be a column of the table"),
    "unknown column": (["net.pt", "--columns", "a,bb,c"], "did you mean `b`?"),
    "unknown block": (["net.pt", "--blocks", "a+z"], "`--blocks` must name columns of the inputs, got `z`"),
    "repeated block": (["net.pt", "--blocks", "a+b,b+c"], "`--blocks` must name a column once, got `b`"),
    "output": (["net.pt", "--output", "4"], "`--output` must be in 0 to 0, the outputs of net, got 4"),
    "order": (["net.pt", "--max-order", "4"], "`max_order` must be in 1 to 3"),
    "budget": (["net.pt", "--budget", "10"], "`budget` must be at least"),
    "law": (["net.pt", "--inputs-law", "free"], "`inputs_law` must be 'product' or 'joint', got 'free'"),
    "joint terms": (["net.pt", "--terms", "--inputs-law", "joint"], "leave one of them out"),
    "control variate": (["net.pt", "--control-variate", "gp"], "`control_variate` must be 'pce', got 'gp'"),
    "logits of an estimator": (["forms:tree", "--logits"], "`--logits` is for networks and callables"),
    "no table": (["net.pt", "--data", "none.csv"], "there is no such file"),
    "bundled name": (["net.pt", "--data", "diabets"], "did you mean `diabetes`?"),
    "out is a file": (["net.pt", "--out", "bits.csv/new"], "`--out` must be a folder"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(dropscope, tmp_path, name):
    arguments, message = MISTAKES[name]
    data = [] if "--data" in arguments else ["--data", "bits.csv"]
    out = [] if "--out" in arguments else ["--out", tmp_path / "new"]
    code, stdout, err = dropscope(*arguments, *data, *out, "--quiet")
    assert (code, stdout) == (2, "")
    assert err.startswith("dropscope: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


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
