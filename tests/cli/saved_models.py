"""One function saved in every form that `dropscope spectrum` reads, beside tables, and files that are no models."""

import pickle
import warnings

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from dropscope import layers

SOURCE = """
import numpy as np
import torch
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from torch import nn

network = torch.load({path!r}, weights_only=False)

def function(rows):
    return torch.relu(rows[:, 0] + rows[:, 1] - 1) + rows[:, 2] / 2

bits = np.array([[i >> j & 1 for j in range(3)] for i in range(8)], dtype=float)
tree = DecisionTreeRegressor().fit(bits, np.maximum(bits[:, 0] + bits[:, 1] - 1, 0) + bits[:, 2] / 2)

def of_words(frame):
    return (frame["word"] == "yes").to_numpy() * frame["a"].to_numpy()

def classes(rows):
    return torch.stack([rows[:, 0] * rows[:, 1], 3 * rows[:, 2]], 1)

linear = nn.Linear(3, 2)
with torch.no_grad():
    linear.weight.copy_(torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 3.0]]))

def fails(rows):
    raise KeyError("colour")

def late(rows):
    if (rows == 7).any():
        raise KeyError("seven")
    return rows[:, 0]

def prints(rows):
    print("hello")
    return rows[:, 0] * rows[:, 1]

def probabilities(rows):
    return torch.softmax(rows, 1)

def pair(rows):
    return rows, rows

classifier = DecisionTreeClassifier().fit(bits, bits[:, 0])

number = 3
"""


class Foreign(nn.Module):
    """A module whose class no file may name."""


def network():
    """The function as a network, with dropout that evaluation turns off."""
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), layers.Dropout(0.5), nn.Linear(2, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.5]]))
        net[0].bias.copy_(torch.tensor([-1.0, 0.0]))
        net[3].weight.fill_(1.0)
        net[3].bias.zero_()
    return net


def write_onnx(net, rows, path):
    """The network as ONNX, for a batch of `rows`, which may be a name."""
    values = {f"{part}{i}": value for i in (0, 3) for part, value in zip("wb", net[i].parameters(), strict=True)}
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["hidden"], transB=1),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "w3", "b3"], ["y"], transB=1),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 3])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 1])]
    kept = [numpy_helper.from_array(value.detach().numpy(), name) for name, value in values.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "net", inputs, outputs, kept),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 17)],
    )
    onnx.save(model, path)


def save_all(folder):
    """Fill a folder."""
    net, rows = network(), torch.rand(5, 3)
    torch.save(net, folder / "net.pt")
    torch.save(net, folder / "net.pth")
    torch.save(net.state_dict(), folder / "state.pt")
    torch.save(torch.zeros(3), folder / "tensor.pt")
    torch.save(Foreign(), folder / "foreign.pt")
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(nn.Linear(3, 1)), folder / "script.pt")
    (folder / "pickle.pt").write_bytes(pickle.dumps({"a": 1}))
    for suffix in ("pt", "pt2", "onnx"):
        (folder / f"broken.{suffix}").write_bytes(b"no model")

    write_onnx(net, "rows", folder / "dynamic.onnx")
    write_onnx(net, 7, folder / "fixed.onnx")
    net.eval()
    torch.export.save(torch.export.export(net, (rows,)), folder / "fixed.pt2")
    dynamic = torch.export.export(net, (rows,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    torch.export.save(dynamic, folder / "dynamic.pt2")
    cube = torch.export.export(nn.Flatten(), (torch.rand(5, 3, 1),))
    torch.export.save(cube, folder / "cube.pt2")

    (folder / "forms.py").write_text(SOURCE.format(path=str(folder / "net.pt")))
    (folder / "raises.py").write_text("raise RuntimeError('no luck')\n")
    bits = [[i >> j & 1 for j in range(3)] for i in range(8)]
    write_table(folder / "bits.csv", ["a", "b", "c"], bits)
    write_table(
        folder / "more.csv", ["y", "a", "b", "c", "word"], [[9, *row, "yes" if row[2] else "no"] for row in bits]
    )
    write_table(folder / "odd.csv", ['"a,b"', "e+f", "c"], bits)
    write_table(folder / "headless.csv", [0.5, 1, 0], bits)
    write_table(folder / "numbered.csv", [0, 1, 2], bits)
    write_table(folder / "gap.csv", ["a", "b", "c"], [*bits, [1, "", 0]])


def write_table(path, names, rows):
    path.write_text("\n".join(",".join(map(str, row)) for row in [names, *rows]) + "\n")
