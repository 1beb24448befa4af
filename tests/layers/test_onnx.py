"""Eval models in ONNX: no dropout is left in the graph, and ONNX Runtime computes what torch does."""

import pytest
import torch
from torch import nn

from dropscope import layers

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="torch.onnx.export is written in onnxscript, which is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

# onnxscript and torch's exporter call what they themselves have declared old
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
RANDOM = {"Dropout", "Bernoulli", "RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike"}


def image_model():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        layers.Dropout2d(0.5),
        layers.DropBlock2d(0.2, 3),
        layers.GaussianDropout(0.3),
        layers.DropPath(0.2),
        layers.DropConnect(nn.Conv2d(4, 4, 3), 0.5),
        layers.StochasticDepth(nn.Conv2d(4, 4, 3, padding=1), 0.2),
        layers.VariationalConv2d(4, 4, 3),
        nn.Flatten(),
        layers.Dropout(0.5, save="seed"),
        layers.AlphaDropout(0.1),
    )


def sequence_model():
    return nn.Sequential(
        layers.LockedDropout(0.5, batch_first=True),
        layers.UniformDropout(0.2),
        layers.TokenDropout(0.3),
        layers.LayerDrop([nn.Linear(8, 8), nn.Linear(8, 8)], 0.5),
        layers.ConcreteDropout(nn.Linear(8, 8)),
        layers.WeightDrop(nn.Linear(8, 8), ["weight"], 0.5),
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True),
        layers.VariationalLinear(8, 2),
    )


@pytest.mark.parametrize(("make", "shape"), [(image_model, (2, 3, 12, 12)), (sequence_model, (2, 5, 8))])
def test_an_eval_model_exports_without_dropout_and_runs_the_same(make, shape, tmp_path):
    model, x = make().eval(), torch.randn(shape)
    program = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
    operators = {node.op_type for node in program.model_proto.graph.node}
    assert operators
    assert not operators & RANDOM

    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), model(x), rtol=1e-4, atol=1e-5)
