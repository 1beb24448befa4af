"""Small trained networks and real images for the claims on prediction: scikit-learn's digits, MNIST and CIFAR-10.

MNIST and CIFAR-10 are read from a folder named by DROPSCOPE_DATA: `mnist` with its four idx files, gzipped, and
`cifar10_jpeg/cifar10_jpeg.tar.xz` with one JPEG per image. What is not there is left out, and said.
"""

import gzip
import io
import os
import tarfile
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

UNITS = 12  # that can be dropped from a row, in all layers together: 4,096 masks


class Images(NamedTuple):
    """Rows to train on and to test on, pixels in [0, 1], one row each, and the classes."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor

    def only(self, classes: range) -> "Images":
        """Keep the images of some classes that follow one another, numbered from 0."""
        kept, tested = (
            torch.isin(labels, torch.tensor(classes, dtype=labels.dtype)) for labels in (self.y, self.test_y)
        )
        return Images(self.x[kept], self.y[kept] - classes[0], self.test_x[tested], self.test_y[tested] - classes[0])


@cache
def digits() -> Images:
    """The 1,797 images of 8 by 8 that come with scikit-learn, 597 of them for testing."""
    found = load_digits()
    order = torch.randperm(len(found.data), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(found.data / 16).float()[order], torch.tensor(found.target)[order]
    return Images(x[:1200], y[:1200], x[1200:], y[1200:])


@cache
def mnist() -> Images | None:
    """MNIST; None without its files."""
    folder = Path(os.environ.get("DROPSCOPE_DATA", "")) / "mnist"
    if not folder.is_dir():
        return None

    def read(name: str, header: int) -> Tensor:
        return torch.tensor(np.frombuffer(gzip.decompress((folder / name).read_bytes())[header:], np.uint8))

    sets = []
    for part in ("train", "t10k"):
        images = read(f"{part}-images-idx3-ubyte.gz", 16).view(-1, 784).float() / 255
        sets += [images, read(f"{part}-labels-idx1-ubyte.gz", 8).long()]
    return Images(*sets)


@cache
def grey_cifar() -> Tensor | None:
    """The test images of CIFAR-10 in grey, the middle 28 by 28 pixels of each; None without their file."""
    path = Path(os.environ.get("DROPSCOPE_DATA", "")) / "cifar10_jpeg" / "cifar10_jpeg.tar.xz"
    if not path.is_file():
        return None
    from PIL import Image

    rows = []
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith("test/") and int(Path(member.name).stem) < 200:
                with Image.open(io.BytesIO(archive.extractfile(member).read())) as image:
                    rows.append(np.asarray(image.convert("L"), dtype=np.float32)[2:30, 2:30].ravel() / 255)
    return torch.tensor(np.stack(rows))


def left_out() -> list[str]:
    """Say which sets are not there."""
    missing = [name for name, found in (("MNIST", mnist()), ("CIFAR-10", grey_cifar())) if found is None]
    return [f"left out, as no folder holds them: {' and '.join(missing)}"] if missing else []


def network(inputs: int, widths: list[int], outputs: int, p: float, p_input: float = 0.0) -> nn.Sequential:
    """ReLU layers with dropout after each, and on the inputs if asked."""
    modules: list[nn.Module] = [nn.Dropout(p_input)] if p_input else []
    for before, after in pairwise([inputs, *widths]):
        modules += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(p)]
    return nn.Sequential(*modules, nn.Linear(widths[-1], outputs))


def few_masks(depth: int, p: float, width: int = 48) -> nn.Sequential:
    """ReLU layers for digits, whose units are dropped in groups, as channels are: 12 groups in all layers together."""
    groups, before = UNITS // depth, 64
    modules: list[nn.Module] = []
    for _ in range(depth):
        group = nn.Sequential(nn.Unflatten(1, (groups, width // groups)), nn.Dropout1d(p), nn.Flatten())
        modules += [nn.Linear(before, width), nn.ReLU(), group]
        before = width
    return nn.Sequential(*modules, nn.Linear(width, 10))


def fitted(model: nn.Module, images: Images, seed: int, steps: int, batch_size: int = 64) -> nn.Module:
    """Start a model anew from a seed and train it by Adam at 1e-3 on the cross-entropy, masks on."""
    torch.manual_seed(seed)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    model.train()
    for _ in range(steps):
        rows = torch.randint(len(images.x), (batch_size,))
        F.cross_entropy(model(images.x[rows]), images.y[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def distance(one: Tensor, other: Tensor) -> float:
    """Total variation between predicted probabilities, mean over rows."""
    return (one - other).abs().sum(-1).mean().item() / 2


def bracketed(three: tuple[float, float, float], digits: int = 4) -> str:
    """A mean with its interval."""
    return f"{three[0]:.{digits}f} [{three[1]:.{digits}f}, {three[2]:.{digits}f}]"
