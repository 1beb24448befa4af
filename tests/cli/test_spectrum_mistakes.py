"""Every mistake that a user of `dropscope spectrum` can make is one line, in the words of the command line."""

import pytest
from saved_models import write_table

from dropscope.cli.wording import in_options

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
    "order": (["net.pt", "--max-order", "4"], "`--max-order` must be in 1 to 3"),
    "budget": (["net.pt", "--budget", "10"], "`--budget` must be at least"),
    "law": (["net.pt", "--inputs-law", "free"], "`--inputs-law` must be 'product' or 'joint', got 'free'"),
    "joint terms": (["net.pt", "--terms", "--inputs-law", "joint"], "leave one of them out"),
    "control variate": (["net.pt", "--control-variate", "gp"], "`--control-variate` must be 'pce', got 'gp'"),
    "logits of an estimator": (["forms:tree", "--logits"], "`--logits` is for networks and callables"),
    "logits of a classifier": (["forms:classifier", "--logits"], "a classifier, whose scores are centred already"),
    "logits of one output": (["forms:function", "--logits"], "`--logits` needs two outputs or more"),
    "probabilities": (["forms:probabilities", "--logits"], "the outputs of forms:probabilities are probabilities"),
    "two tables": (["forms:pair"], "forms:pair must give one array, got a tuple of 2: name a callable"),
    "no order": (["net.pt", "--max-order", "0"], "`--max-order` must be in 1 to 3, the number of blocks, got 0"),
    "budget of the terms": (["net.pt", "--budget", "600", "--terms"], "`--budget` must be at least"),
    "seed": (["net.pt", "--seed", 2**70], "`--seed` must be in 0 to"),
    "repeated column": (["net.pt", "--columns", "a,b,b"], "`--columns` must name a column once, got `b`"),
    "no header": (["net.pt", "--data", "headless.csv"], "headless.csv has no line of column names"),
    "TorchScript": (["script.pt"], "script.pt is a TorchScript program"),
    "pickle": (["pickle.pt"], "pickle.pt is a pickle, which runs code when it is read"),
    "module as a file": (["forms.py:function"], "write `forms:function`"),
    "no attribute named": (["forms:"], "must name a module and an attribute of it, got 'forms:'"),
    "no folder": (["net.pt", "--out", ""], "`--out` must name a folder"),
    "kind of table": (["net.pt", "--data", "net.pt"], "`--data` must end in one of .csv"),
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


def test_a_model_that_fails_late_is_named(dropscope, saved):
    write_table(saved / "late.csv", ["a", "b"], [[k % 2, k % 3] for k in range(300)] + [[7, 7]] * 100)
    code, _, err = dropscope("forms:late", "--data", "late.csv", "--budget", 2000)
    assert (code, err) == (2, "dropscope: error: forms:late fails on rows of the table, KeyError: 'seven'\n")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "`target` must be in 0 to 1, the outputs of f, got 5.",
            "`--output` must be in 0 to 1, the outputs of net, got 5.",
        ),
        ("`x0` and `x1` have rank correlation", "`age` and `target` have rank correlation"),
        (
            'ask for it (`inputs_law="joint"`), or join (`blocks=`)',
            "ask for it (`--inputs-law joint`), or join (`--blocks`)",
        ),
        ("got inf for the row [x0=1, x1=inf]", "got inf for the row [age=1, target=inf]"),
        (
            "`inputs` and `budget` must allow 50 rows to see whether f is",
            "`--data` and `--budget` must allow 50 rows to see whether net is",
        ),
        ("`f` must give\n  one array", "net must give one array"),
    ],
)
def test_the_library_is_put_in_the_words_of_the_command_line(said, told):
    assert in_options(said, "net", ["age", "target"]) == told


def test_columns_that_are_called_like_arguments_keep_their_names():
    said = "`target` and `budget` have rank correlation .9: join them (`blocks=`)"
    assert in_options(said, "net") == said.replace("blocks=", "--blocks")
